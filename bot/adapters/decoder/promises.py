"""How long a file says it is; an estimate that FFmpeg makes of its size would say nothing about what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.adapters.decoder.heads import (
    HEAD_BYTES,
    PLACEHOLDER_BYTES,
    mp3_counts_its_frames,
    mp3_frames_begin,
    wav_promise_s,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    from bot.adapters.decoder.section import Section

_STATE_THEIR_LENGTH = frozenset({"aiff", "ape", "asf", "au", "avi", "caf", "flac", "flv", "tta", "w64", "wav", "wv"})
_FAMILIES = ("mov,", "matroska,", "ogg")
"""These state their length, as does MP3 with a count of its frames. Others are estimated by FFmpeg from their size."""
_LONGEST_S = 48 * 3600.0
_MICROSECONDS = 1_000_000
_FIRST_FRAME_BYTES = 4096


def promised_s(container: InputContainer, stream: AudioStream, source: Section) -> float | None:
    """Seconds of audio that the file promises, None where it makes no promise or an absurd one."""
    position = source.tell()  # FFmpeg reads on from here
    try:
        source.seek(0)
        promise_s = _promise_s(container, stream, source)
    finally:
        source.seek(position)
    return promise_s if promise_s is not None and 0 < promise_s <= _LONGEST_S else None


def _promise_s(container: InputContainer, stream: AudioStream, source: Section) -> float | None:
    name = container.format.name
    if name == "mp3":
        source.seek(mp3_frames_begin(source.read(HEAD_BYTES)))
        return _duration_s(container, stream) if mp3_counts_its_frames(source.read(_FIRST_FRAME_BYTES)) else None
    if name not in _STATE_THEIR_LENGTH and not name.startswith(_FAMILIES):
        return None
    is_pcm = stream.codec_context is not None and stream.codec_context.name.startswith("pcm_")  # pyright: ignore[reportUnnecessaryComparison]  # it may
    if name == "wav" and is_pcm:
        return wav_promise_s(source.read(HEAD_BYTES))
    duration_s = _duration_s(container, stream)
    if duration_s is not None and is_pcm and duration_s * (stream.bit_rate or 0) / 8 >= PLACEHOLDER_BYTES:
        return None
    return duration_s


def _duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Of the track, if it has its own: a video's picture may go on when its sound has ended."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / _MICROSECONDS
