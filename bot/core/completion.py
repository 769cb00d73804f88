"""The chain: each model in turn, down to a template that cannot fail for want of a network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bot.core.caching import COMPLETION, COMPLETION_S, News, StoredCompletion, completion_key
from bot.core.errors import CompletionFailed, CompletionUnavailable, NotCached
from bot.core.rendering import visible_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.core.caching import OnNews, SharedWork
    from bot.core.models import ModeResult, Note, Transcript
    from bot.core.modes import Mode
    from bot.core.ports import CacheTrail, CompletionModel
    from bot.core.prompts import Prompt

TOLD_CHARS = 4_000
"""How much of an answer those who wait for it are told while it grows; more than any of them shows."""

UNAVAILABLE_S = 600.0
"""How long a model without a valid key, or one that is not there, is passed over, in seconds."""


async def untraced(_key: str, /, *, is_new: bool) -> None:
    """A trail that nobody follows."""


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
    keep_s: float = COMPLETION_S


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

    ``model`` names the link that gave it; ``failed`` are the links that were asked before, ``cached`` says that nobody
    was asked for it now: both are filled in by the chain.
    """

    model: str
    result: ModeResult
    notes: tuple[Note, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()
    cached: bool = False


class Chain:
    """Asks one model after another until one answers.

    A model that was found to be unavailable is passed over for `UNAVAILABLE_S`, so that a wrong key costs a request
    once and not for every member.

    An answer is cached under the link that gave it: a better link that is back is asked again. What the template makes
    is never cached, since it costs nothing and any model does better.

    Args:
        models: in the order in which they are asked.
        shared: finds answers that are there, or being given.
        clock: seconds on a clock that never goes back, such as ``time.monotonic``.
        cache_s: how long answers are cached, in seconds.
    """

    def __init__(
        self,
        models: Sequence[CompletionModel],
        *,
        shared: SharedWork,
        clock: Callable[[], float],
        cache_s: float = COMPLETION_S,
    ) -> None:
        self._models = tuple(models)
        self._shared = shared
        self._clock = clock
        self._cache_s = cache_s
        self._passed_over: dict[str, tuple[float, str]] = {}

    async def run(
        self,
        task: CompletionTask,
        *,
        on_text: Callable[[str], None],
        trail: CacheTrail = untraced,
    ) -> Completion:
        """Answer ``task``.

        Args:
            task: what to make of what was said.
            on_text: gets all of the text so far, from whichever model is at work.
            trail: told where answers lie in the cache.

        Raises:
            NotCached: with ``task.only_cached``, where a model would have to be asked.
            CompletionFailed: no link gave an answer; its detail names each and why.
        """
        if task.only_cached:
            return await self._finished(task, on_text, trail)
        failed: list[FailedAttempt] = []
        for model in self._models:
            if (why := self._reason_to_pass_over(model)) is not None:
                if (found := await self._cached([model], task, trail)) is not None:
                    return replace(found, failed=tuple(failed))
                failed.append(FailedAttempt(model=model.name, why=f"passed over: {why}"))
                continue
            try:
                completion = await self._answer(model, task, on_text, trail)
            except CompletionFailed as exc:
                failed.append(FailedAttempt(model=model.name, why=str(exc)))
                if isinstance(exc, CompletionUnavailable):
                    self._passed_over[model.name] = (self._clock() + UNAVAILABLE_S, str(exc))
            else:
                return replace(completion, failed=tuple(failed))
        raise CompletionFailed("; ".join(map(str, failed)) or "the chain has no links")

    async def _answer(
        self, model: CompletionModel, task: CompletionTask, on_text: Callable[[str], None], trail: CacheTrail
    ) -> Completion:
        """The link's answer: a cached one, one that it is giving to somebody else, or one of its own."""
        if not model.cacheable:
            return await _attempt(model, task, on_text)

        key = _key(model, task)

        async def work(tell: OnNews) -> StoredCompletion:
            await trail(key, is_new=True)
            return StoredCompletion.of(await _attempt(model, task, lambda text: tell(News(text=text[:TOLD_CHARS]))))

        await trail(key, is_new=False)
        stored, cached = await self._shared.once(
            key,
            COMPLETION,
            work,
            ttl_s=lambda _: min(self._cache_s, task.keep_s),
            on_news=lambda news: on_text(news.text),
        )
        return replace(stored.completion(), cached=cached)

    async def _finished(self, task: CompletionTask, on_text: Callable[[str], None], trail: CacheTrail) -> Completion:
        """What can be had without asking a model. Where there are none, the template's answer is that."""
        if (found := await self._cached(self._models, task, trail)) is not None:
            return found
        if self._models and not self._models[0].cacheable:
            return await _attempt(self._models[0], task, on_text)
        raise NotCached("no link's answer is cached")

    async def _cached(
        self, models: Sequence[CompletionModel], task: CompletionTask, trail: CacheTrail
    ) -> Completion | None:
        keys = [_key(model, task) for model in models if model.cacheable]
        found = await self._shared.first_cached(keys, COMPLETION)
        if found is None:
            return None
        key, stored = found
        await trail(key, is_new=False)
        return replace(stored.completion(), cached=True)

    def _reason_to_pass_over(self, model: CompletionModel) -> str | None:
        until, why = self._passed_over.get(model.name, (None, ""))
        if until is None:
            return None
        if self._clock() < until:
            return why
        del self._passed_over[model.name]
        return None


def _key(model: CompletionModel, task: CompletionTask) -> str:
    return completion_key(task.transcript, task.mode, model.name, task.variables, task.scope)


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
