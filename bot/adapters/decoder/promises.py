"""How long a file says it is; an estimate that FFmpeg makes of its size would say nothing about what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from bot.adapters.decoder.signatures import HEAD_BYTES, mp3_counts_its_frames, mp3_frames_begin

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_STATE_THEIR_LENGTH = frozenset({"aiff", "ape", "asf", "au", "avi", "caf", "flac", "flv", "tta", "w64", "wav", "wv"})
"""And the families of MP4, Matroska, Ogg and, with a count of its frames, MP3. Others are estimated from their size."""
_LONGEST_S = 48 * 3600.0
_PLACEHOLDER_BYTES = 0x7FFF0000
"""A sound written to a pipe has its size filled in at once, with the largest number that fits 31 or 32 bits."""
_MICROSECONDS = 1_000_000
_FIRST_FRAME_BYTES = 4096


def promised_s(container: InputContainer, stream: AudioStream, source: BinaryIO) -> float | None:
    """Seconds of audio that the file promises, None where it makes no promise or an absurd one."""
    if not _states_its_length(container, source):
        return None
    duration_s = _duration_s(container, stream)
    if duration_s is None or not 0 < duration_s <= _LONGEST_S:
        return None
    context = stream.codec_context
    if context.name.startswith("pcm_") and duration_s * (context.bit_rate or 0) / 8 >= _PLACEHOLDER_BYTES:
        return None
    return duration_s


def _duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Of the track, if it has its own: a video's picture may go on when its sound has ended."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / _MICROSECONDS


def _states_its_length(container: InputContainer, source: BinaryIO) -> bool:
    name = container.format.name
    if name != "mp3":
        return name in _STATE_THEIR_LENGTH or name.startswith(("mov,", "matroska,", "ogg"))
    position = source.tell()
    source.seek(0)
    source.seek(mp3_frames_begin(source.read(HEAD_BYTES)))
    first_frame = source.read(_FIRST_FRAME_BYTES)
    source.seek(position)
    return mp3_counts_its_frames(first_frame)
