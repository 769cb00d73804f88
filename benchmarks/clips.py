"""The recordings that transcription is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SPEECH, _CORPUS = ROOT / "tests" / "data" / "speech", ROOT / "benchmarks" / "corpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording with what is said in it."""

    path: Path
    reference: str


def human_clips() -> tuple[Clip, ...]:
    """Give six recordings of human speech, 3 to 11 s each."""
    return tuple(_clip(path) for path in sorted(_SPEECH.glob("*.wav")))


def minute() -> Clip:
    """Give a synthetic meeting of a minute."""
    return _clip(_CORPUS / "minute.ogg")


def meeting() -> Clip:
    """Give a synthetic meeting of eleven minutes."""
    return _clip(_CORPUS / "meeting.ogg")


def _clip(path: Path) -> Clip:
    return Clip(path=path, reference=path.with_suffix(".txt").read_text(encoding="utf-8"))
