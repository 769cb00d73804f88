"""What a link of the chain is asked, and what it answers. The chain itself is ``bot.core.chain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.core.models import ModeResult, Note, Transcript
    from bot.core.modes import Mode
    from bot.core.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTask:
    """What a link of the chain gets: the prompt for those that read prompts, the rest for those that do not.

    ``scope`` names those who may share the answer; ``only_cached`` asks for an answer that is there already;
    ``keep_s`` is the longest that the answer may be cached, in seconds.
    """

    mode: Mode
    transcript: Transcript
    prompt: Prompt
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    scope: str = "local"
    only_cached: bool = False
    keep_s: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """A link that gave no answer, and why, in a few words for an operator."""

    model: str
    why: str

    def __str__(self) -> str:
        return f"{self.model}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer, and what there is to say about it.

    ``model`` names the link that gave it; ``failed`` are the better links that gave none, ``cached`` says that nobody
    was asked for it now: both are filled in by the chain.
    """

    model: str
    result: ModeResult
    notes: tuple[Note, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()
    cached: bool = False
