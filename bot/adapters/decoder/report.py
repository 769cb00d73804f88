"""What the decoder's parent and child tell each other. Standard library alone: the child starts in a moment.

Both are one JSON object. The parent believes nothing: it validates the report against these types.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Outcome(StrEnum):
    """How decoding ended."""

    DECODED = "decoded"
    EMPTY = "empty"
    NOT_AUDIO = "not_audio"
    NO_AUDIO_TRACK = "no_audio_track"
    ENCRYPTED = "encrypted"
    TOO_LONG = "too_long"
    NO_ROOM = "no_room"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the child is to do, and within what.

    Args:
        parent_pid: the child ends when this process does.
        sink_fd: an open descriptor for the samples; the encoded file is standard input.
        sample_rate: of the output, in hertz.
        max_samples: more than this is too long.
        memory_bytes: address space.
        cpu_s: CPU seconds.
    """

    parent_pid: int
    sink_fd: int
    sample_rate: int
    max_samples: int
    memory_bytes: int
    cpu_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it went.

    Args:
        outcome: how decoding ended.
        samples: samples that were written.
        declared_s: seconds that the file promises, None where it makes no promise worth repeating.
        container: FFmpeg's name of the container.
        codec: FFmpeg's name of the decoder.
        damaged: packets that could not be decoded and were left out.
        syscalls_filtered: whether the kernel confined the child as well.
        detail: a few words for an operator.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    outcome: Outcome
    samples: int = 0
    declared_s: float | None = None
    container: str = ""
    codec: str = ""
    damaged: int = 0
    syscalls_filtered: bool = False
    detail: str = ""
