"""The chain: each model in turn, down to a template that cannot fail for want of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.core.models import ModeResult, Note, Transcript
    from bot.core.modes import Mode
    from bot.core.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTask:
    """What a link of the chain gets: the prompt for those that read prompts, the rest for those that do not."""

    mode: Mode
    transcript: Transcript
    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer, and what there is to say about it. ``model`` names the link that gave it."""

    model: str
    result: ModeResult
    notes: tuple[Note, ...] = ()
