"""Encoded audio becomes samples: FFmpeg, held by the hand.

It reads one open file and opens no other (playlists and the like are refused by name, as is every protocol), knows
the containers and the audio codecs that people post, and decodes no picture.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import av
from av.error import FFmpegError

from bot.adapters.decoder.promises import promised_s
from bot.adapters.decoder.report import Outcome, Report
from bot.adapters.decoder.resampling import Resampler
from bot.adapters.decoder.signatures import HEAD_BYTES, is_picture, is_protected_asf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_CONTAINERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,loas,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
_DECODER_NAMES = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,eac3,flac,gsm,gsm_ms,mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,opus,"
    "speex,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice,"
    "adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,g722,g726,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd"
)
_DECODERS = frozenset(_DECODER_NAMES.split(","))
_OPTIONS = {
    "format_whitelist": _CONTAINERS,
    "codec_whitelist": _DECODER_NAMES,
    "protocol_whitelist": "none",
}
_PROTECTED_TAGS = frozenset({"aavd", "drms", "enca"})
"""Sample entries of MP4: Audible, FairPlay, and common encryption (ISO/IEC 14496-12, 8.12)."""
_SAMPLE_RATES = range(1_000, 1_000_000)
_RESYNCHRONISATIONS = 100
"""How often a container may be broken before what follows is given up."""
_CLEARLY_LONGER = 1.2
_LEAST_BIT_RATE = 2_000
"""Bits per second; a file that promises so much that it would have less is not believed without being read."""

_SEVERITY = (Outcome.EMPTY, Outcome.NOT_AUDIO, Outcome.ENCRYPTED, Outcome.TOO_LONG, Outcome.DECODED)


class _Refused(Exception):
    """The file, or a track of it, cannot be used."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


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
    try:
        size = _check_head(source)
        best: Report | None = None
        track = 0
        while True:
            source.seek(0)
            sink.seek(0)
            sink.truncate()
            with _open(source) as container:
                tracks = _audio_tracks(container)
                promise = promised_s(container, tracks[track], source)
                work = _Track(container, tracks[track], _Samples(sink, sample_rate, max_samples))
                report = work.report(promise, size)
            if best is None or _SEVERITY.index(report.outcome) > _SEVERITY.index(best.outcome):
                best = report
            track += 1
            if track == len(tracks) or best.outcome in {Outcome.TOO_LONG, Outcome.DECODED}:
                return best
    except _Refused as refusal:
        return Report(outcome=refusal.outcome, detail=refusal.detail)


def _check_head(source: BinaryIO) -> int:
    """The size in bytes of a file that is worth opening."""
    size = source.seek(0, os.SEEK_END)
    if size == 0:
        raise _Refused(Outcome.EMPTY, "no bytes")
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if is_picture(head):
        raise _Refused(Outcome.NO_AUDIO_TRACK, "a picture")
    if is_protected_asf(head):
        raise _Refused(Outcome.ENCRYPTED, "ASF with content encryption")
    return size


def _open(source: BinaryIO) -> InputContainer:
    try:
        return av.open(
            source, "r", container_options=_OPTIONS, metadata_errors="replace", io_open=_refuse_to_open_another_file
        )
    except MemoryError:
        raise
    except FFmpegError as exc:
        raise _Refused(Outcome.NOT_AUDIO, f"cannot be opened: {exc.strerror}") from exc


def _refuse_to_open_another_file(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    del url, flags, options
    raise PermissionError("a media file may not refer to another")


def _audio_tracks(container: InputContainer) -> tuple[AudioStream, ...]:
    tracks = container.streams.audio
    if tracks:
        return tracks
    if container.streams.video:
        raise _Refused(Outcome.NO_AUDIO_TRACK, f"{container.format.name} without audio")
    raise _Refused(Outcome.NOT_AUDIO, f"{container.format.name} with neither audio nor video")


class _Samples:
    """Takes frames of any kind and writes samples."""

    def __init__(self, sink: BinaryIO, sample_rate: int, max_samples: int) -> None:
        self._sink = sink
        self._sample_rate = sample_rate
        self._max_samples = max_samples
        self._resampler: Resampler | None = None
        self.count = 0

    @property
    def limit_s(self) -> float:
        return self._max_samples / self._sample_rate

    def add(self, frame: AudioFrame) -> None:
        if self._resampler is None or not self._resampler.fits(frame):
            self.flush()
            if frame.sample_rate not in _SAMPLE_RATES:
                raise _Refused(Outcome.NOT_AUDIO, f"a sample rate of {frame.sample_rate} Hz")
            self._resampler = Resampler(frame, sample_rate=self._sample_rate)
        self._write(self._resampler.feed(frame))

    def flush(self) -> None:
        """Write what a resampler still holds."""
        if self._resampler is not None:
            self._write(self._resampler.feed(None))
            self._resampler = None

    def _write(self, pieces: Iterator[memoryview]) -> None:
        for piece in pieces:
            self.count += piece.nbytes // 4
            if self.count > self._max_samples:
                raise _Refused(Outcome.TOO_LONG, "longer than the limit")
            self._sink.write(piece)


class _Track:
    """One audio track at work."""

    def __init__(self, container: InputContainer, stream: AudioStream, samples: _Samples) -> None:
        self._container = container
        self._stream = stream
        self._samples = samples
        self._sound = 0
        self._damaged = 0

    def report(self, promise_s: float | None, size: int) -> Report:
        """Decode it all; ``size`` is that of the file, in bytes."""
        codec = ""
        try:
            codec = self._codec()
            self._check_promise(promise_s, size)
            self._decode()
            outcome, detail = self._outcome()
        except _Refused as refusal:
            outcome, detail = refusal.outcome, refusal.detail
        return Report(
            outcome=outcome,
            samples=self._samples.count if outcome is Outcome.DECODED else 0,
            declared_s=promise_s,
            container=self._container.format.name,
            codec=codec,
            damaged=self._damaged,
            detail=detail,
        )

    def _codec(self) -> str:
        context = self._stream.codec_context
        if context is None or context.name not in _DECODERS:  # pyright: ignore[reportUnnecessaryComparison]  # it may
            raise _Refused(Outcome.NOT_AUDIO, "no decoder for this codec")
        if context.codec_tag in _PROTECTED_TAGS:
            raise _Refused(Outcome.ENCRYPTED, f"a track of kind {context.codec_tag}")
        context.thread_type = "NONE"
        context.thread_count = 1
        return context.name

    def _check_promise(self, promise_s: float | None, size: int) -> None:
        """Refuse at once what says itself that it is far too long, if its size agrees."""
        if promise_s is None or promise_s < self._samples.limit_s * _CLEARLY_LONGER:
            return
        if size * 8 / promise_s >= _LEAST_BIT_RATE:
            raise _Refused(Outcome.TOO_LONG, f"promises {promise_s:.0f} s")

    def _decode(self) -> None:
        for packet in self._packets():
            if packet.has_sidedata("encryption_info"):
                raise _Refused(Outcome.ENCRYPTED, "encrypted packets")
            try:
                for frame in packet.decode():
                    self._samples.add(frame)
                self._sound += 1
            except MemoryError:
                raise
            except FFmpegError:
                self._damaged += 1
        self._samples.flush()

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        for _ in range(_RESYNCHRONISATIONS):
            try:
                yield from self._container.demux(self._stream)
            except MemoryError:
                raise
            except FFmpegError:
                continue
            return

    def _outcome(self) -> tuple[Outcome, str]:
        if self._damaged > self._sound:
            return Outcome.NOT_AUDIO, "most of it cannot be decoded"
        if self._samples.count == 0:
            return Outcome.EMPTY, "no samples"
        return Outcome.DECODED, ""
