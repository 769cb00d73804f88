"""Encoded audio becomes samples: FFmpeg, held by the hand.

It reads one open file and opens no other (playlists and the like are refused by name, as is every protocol), knows
the containers and the audio codecs that people post, and decodes no picture.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import av
from av.error import FFmpegError

from bot.adapters.decoder.heads import HEAD_BYTES, is_picture, is_protected_asf, is_protected_matroska
from bot.adapters.decoder.ogg import links
from bot.adapters.decoder.promises import promised_s
from bot.adapters.decoder.report import Outcome, Report
from bot.adapters.decoder.section import Section
from bot.adapters.decoder.track import DECODER_NAMES, Refused, Samples, Track

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_OPTIONS = {
    "format_whitelist": (
        "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,loas,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
    ),
    "codec_whitelist": DECODER_NAMES,
    "protocol_whitelist": "none",
}
_MOST_LINKS = 1_000
_SEVERITY = (
    Outcome.EMPTY,
    Outcome.NOT_AUDIO,
    Outcome.NO_AUDIO_TRACK,
    Outcome.ENCRYPTED,
    Outcome.DECODED,
    Outcome.TOO_LONG,
)
"""Of several tracks, or links, that end differently the last of these is what is said."""


def decode(source: BinaryIO, sink: BinaryIO, *, sample_rate: int, max_samples: int) -> Report:
    """Write the first audio track of ``source`` that gives sound to ``sink``: raw float32, native byte order, mono.

    Args:
        source: the encoded file, seekable.
        sink: an empty file, seekable.
        sample_rate: of the output, in hertz.
        max_samples: more than this is too long.

    Raises:
        MemoryError, OSError: a limit of this process, or of the disk.
    """
    samples = Samples(sink, sample_rate=sample_rate, max_samples=max_samples)
    reports: list[Report] = []
    try:
        for section in _sections(source):
            reports.append(_decode_section(section, samples))
            if reports[-1].outcome is Outcome.TOO_LONG:
                break
    except Refused as refusal:
        return Report(outcome=refusal.outcome, detail=refusal.detail)
    return _together(reports)


def _sections(source: BinaryIO) -> list[Section]:
    """What is one file to FFmpeg."""
    size = source.seek(0, os.SEEK_END)
    if size == 0:
        raise Refused(Outcome.EMPTY, "no bytes")
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if is_picture(head):
        raise Refused(Outcome.NO_AUDIO_TRACK, "a picture")
    if is_protected_asf(head):
        raise Refused(Outcome.ENCRYPTED, "ASF with content encryption")
    if is_protected_matroska(head):
        raise Refused(Outcome.ENCRYPTED, "Matroska with content encryption")
    sections = links(source) if head.startswith(b"OggS") else [Section(source, 0, size)]
    if len(sections) > _MOST_LINKS:
        raise Refused(Outcome.NOT_AUDIO, f"a chain of {len(sections)} links")
    return sections


def _decode_section(source: Section, samples: Samples) -> Report:
    """Decode the first track that gives sound, or tell why none does."""
    reports: list[Report] = []
    before = samples.count
    try:
        while True:
            samples.rewind(before)
            source.seek(0)
            with _open(source) as container:
                tracks = _audio_tracks(container)
                track = tracks[len(reports)]
                promise_s = promised_s(container, track, source)
                report = Track(container, track, samples).decode(promise_s=promise_s, size=source.size)
            reports.append(report)
            if report.outcome in {Outcome.DECODED, Outcome.TOO_LONG} or len(reports) == len(tracks):
                break
    except Refused as refusal:
        return Report(outcome=refusal.outcome, detail=refusal.detail)
    worst = _worst(reports)
    if worst.outcome is not Outcome.DECODED:
        samples.rewind(before)
    return worst


def _open(source: Section) -> InputContainer:
    try:
        return av.open(
            source, "r", container_options=_OPTIONS, metadata_errors="replace", io_open=_refuse_to_open_another_file
        )
    except MemoryError:
        raise
    except FFmpegError as exc:
        raise Refused(Outcome.NOT_AUDIO, f"cannot be opened: {exc.strerror}") from exc


def _refuse_to_open_another_file(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    del url, flags, options
    raise PermissionError("a media file may not refer to another")


def _audio_tracks(container: InputContainer) -> tuple[AudioStream, ...]:
    tracks = container.streams.audio
    if tracks:
        return tracks
    if container.streams.video:
        raise Refused(Outcome.NO_AUDIO_TRACK, f"{container.format.name} without audio")
    raise Refused(Outcome.NOT_AUDIO, f"{container.format.name} with neither audio nor video")


def _together(reports: list[Report]) -> Report:
    """One report for all links of a chain."""
    promises = [report.declared_s for report in reports]
    return replace(
        _worst(reports),
        samples=sum(report.samples for report in reports),
        declared_s=None if None in promises else sum(promise for promise in promises if promise is not None),
        damaged=sum(report.damaged for report in reports),
    )


def _worst(reports: list[Report]) -> Report:
    return max(reports, key=lambda report: _SEVERITY.index(report.outcome))
