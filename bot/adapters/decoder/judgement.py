"""What the end of the child means: a report that can be believed, or an error of the tree."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from bot.adapters.decoder.report import Outcome, Report
from bot.core.errors import (
    AudioEmpty,
    AudioEncrypted,
    AudioTooLong,
    DecodeFailed,
    EarshotError,
    NoAudioTrack,
    NotAudio,
    SpoolFull,
)
from bot.core.models import BYTES_PER_SAMPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPORT = TypeAdapter(Report)
_REFUSALS: Mapping[Outcome, type[EarshotError]] = {
    Outcome.EMPTY: AudioEmpty,
    Outcome.NOT_AUDIO: NotAudio,
    Outcome.NO_AUDIO_TRACK: NoAudioTrack,
    Outcome.ENCRYPTED: AudioEncrypted,
    Outcome.NO_ROOM: SpoolFull,
    Outcome.FAILED: DecodeFailed,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the child ended.

    Args:
        status: as of ``subprocess``: negative for a signal.
        report: the beginning of its standard output.
        complaint: the beginning of its standard error.
    """

    status: int
    report: bytes
    complaint: str = ""


def judge(ended: Ended, *, written_bytes: int, limit_minutes: float) -> Report:
    """The report of a child that decoded something; it is believed in nothing that can be checked.

    Args:
        ended: how the child ended.
        written_bytes: size of the file that it wrote.
        limit_minutes: for the message of `AudioTooLong`.

    Raises:
        AudioEmpty, NotAudio, NoAudioTrack, AudioEncrypted, AudioTooLong: the member can cure it.
        SpoolFull: no room for the samples.
        DecodeFailed: the child crashed, ran into a limit, or tells nonsense.
    """
    if ended.status != 0:
        raise DecodeFailed(f"{_described_status(ended.status)}: {ended.complaint}")
    try:
        report = _REPORT.validate_json(ended.report)
    except ValidationError as exc:
        raise DecodeFailed(f"no report that makes sense: {ended.report[:200]!r}") from exc
    detail = f"{report.detail} ({report.codec or 'no codec'} in {report.container or 'no container'})"
    if report.outcome is Outcome.TOO_LONG:
        raise AudioTooLong(detail, limit_minutes=limit_minutes)
    if report.outcome is not Outcome.DECODED:
        raise _REFUSALS[report.outcome](detail)
    if report.samples < 1 or written_bytes != report.samples * BYTES_PER_SAMPLE:
        raise DecodeFailed(f"{report.samples} samples in {written_bytes} bytes")
    return report


def _described_status(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "out of CPU time"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with {status}"
