"""The chain: each model in turn, down to a template that cannot fail for want of a network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bot.core.errors import CompletionFailed, CompletionUnavailable
from bot.core.rendering import visible_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.core.models import ModeResult, Note, Transcript
    from bot.core.modes import Mode
    from bot.core.ports import CompletionModel
    from bot.core.prompts import Prompt

UNAVAILABLE_S = 600.0
"""How long a model without a valid key, or one that is not there, is passed over, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTask:
    """What a link of the chain gets: the prompt for those that read prompts, the rest for those that do not."""

    mode: Mode
    transcript: Transcript
    prompt: Prompt


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

    ``model`` names the link that gave it; ``failed`` are the links that were asked before, filled in by the chain.
    """

    model: str
    result: ModeResult
    notes: tuple[Note, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()


class Chain:
    """Asks one model after another until one answers.

    A model that was found to be unavailable is passed over for `UNAVAILABLE_S`, so that a wrong key costs a request
    once and not for every member.

    Args:
        models: in the order in which they are asked.
        clock: seconds on a clock that never goes back, such as ``time.monotonic``.
    """

    def __init__(self, models: Sequence[CompletionModel], *, clock: Callable[[], float]) -> None:
        self._models = tuple(models)
        self._clock = clock
        self._passed_over: dict[str, tuple[float, str]] = {}

    async def run(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        """Answer ``task``; ``on_text`` gets all of the text so far, from whichever model is at work.

        Raises:
            CompletionFailed: no link gave an answer; its detail names each and why.
        """
        failed: list[FailedAttempt] = []
        for model in self._models:
            if (why := self._reason_to_pass_over(model)) is not None:
                failed.append(FailedAttempt(model=model.name, why=f"passed over: {why}"))
                continue
            try:
                completion = await _attempt(model, task, on_text)
            except CompletionFailed as exc:
                failed.append(FailedAttempt(model=model.name, why=str(exc)))
                if isinstance(exc, CompletionUnavailable):
                    self._passed_over[model.name] = (self._clock() + UNAVAILABLE_S, str(exc))
            else:
                return replace(completion, failed=tuple(failed))
        raise CompletionFailed("; ".join(map(str, failed)) or "the chain has no links")

    def _reason_to_pass_over(self, model: CompletionModel) -> str | None:
        until, why = self._passed_over.get(model.name, (None, ""))
        if until is None:
            return None
        if self._clock() < until:
            return why
        del self._passed_over[model.name]
        return None


async def _attempt(model: CompletionModel, task: CompletionTask, on_text: Callable[[str], None]) -> Completion:
    limit_s = task.mode.model.timeout_s
    try:
        async with asyncio.timeout(limit_s):
            completion = await model.complete(task, on_text=on_text)
    except TimeoutError:
        raise CompletionFailed(f"no answer within {limit_s:g} s") from None
    text = visible_text(completion.result.text)
    if not text.strip():
        raise CompletionFailed("the answer was empty")
    return replace(completion, result=replace(completion.result, text=text))
