"""One link of the chain: its circuit, its cache, its time limit and its retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import stamina

from bot.core.caching import COMPLETION, COMPLETION_S, News, StoredCompletion, completion_key
from bot.core.errors import CompletionFailed, CompletionRateLimited, ErrorKind
from bot.core.rendering import visible_text
from bot.core.stage_health import Outcome, Subject, outcome_of
from bot.core.structured import ModelFacts, Structured

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.caching import OnNews, SharedWork
    from bot.core.circuits import Circuits
    from bot.core.completion import Completion, CompletionTask
    from bot.core.ports import CacheTrail, CompletionModel
    from bot.core.spending import Spending, Usage
    from bot.core.stage_health import StageHealth

TOLD_CHARS: Final = 4_000
"""How much of an answer those who wait for it are told while it grows; more than any of them shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often one link is asked.

    Args:
        tries: for one request, the first included.
        wait_s: before the second; it doubles, and up to as much again is added at random.
        longest_wait_s: what a provider may ask to wait before the next link is asked rather than this one again.
    """

    tries: int = 3
    wait_s: float = 0.25
    longest_wait_s: float = 3.0


class RetryBudget:
    """Lets a share of the requests be retries, so that retries do not keep a service down that has just come back.

    (Finagle's ``RetryBudget``: each request adds a part of a token, each retry takes one.)

    Args:
        share: retries for each request, over time.
        most: tokens that can be saved up; there are so many to begin with.
    """

    def __init__(self, share: float = 0.2, most: float = 10.0) -> None:
        self._share = share
        self._most = most
        self._tokens = most

    def request(self) -> None:
        """Count a request."""
        self._tokens = min(self._most, self._tokens + self._share)

    def retry(self) -> bool:
        """Whether there may be a retry; if so, it is counted."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ChainLink:
    """Asks one model, as often as is sensible.

    An answer is cached under the link that gave it: a better link that is back is asked again. What the template makes
    is never cached, since it costs nothing and any model does better.

    Args:
        model: which is asked.
        shared: finds answers that are there, or being given.
        circuits: say whether it is worth asking.
        retries: how often it is asked for one request.
        cache_s: how long answers are cached, in seconds.
        stages: told how each request to the model went; one that was broken off says nothing.
        facts: what its operator knows of it.
        spending: told what each request took.
    """

    def __init__(  # noqa: PLR0913 - what all links share, and what is this one's
        self,
        model: CompletionModel,
        *,
        shared: SharedWork,
        circuits: Circuits,
        retries: RetryPolicy,
        cache_s: float = COMPLETION_S,
        stages: StageHealth | None = None,
        facts: ModelFacts | None = None,
        spending: Spending | None = None,
    ) -> None:
        self._model = model
        self._shared = shared
        self._circuits = circuits
        self._retries = retries
        self._budget = RetryBudget()
        self._cache_s = cache_s
        self._stages = stages
        self._facts = facts or ModelFacts()
        self._spending = spending
        self._structured = Structured(self._facts.forms, clock=lambda: asyncio.get_running_loop().time())

    @property
    def name(self) -> str:
        """As it stands in the chain."""
        return self._model.name

    @property
    def is_template(self) -> bool:
        """Whether it needs no model: it answers at once, and any model does better."""
        return not self._model.cacheable

    def key(self, task: CompletionTask) -> str:
        """Where its answer to ``task`` is cached."""
        return completion_key(task.transcript, task.mode, self.name, task.variables, task.scope, task.schema)

    async def answer(
        self,
        task: CompletionTask,
        *,
        on_text: Callable[[str], None],
        on_asked: Callable[[bool], None],
        trail: CacheTrail,
    ) -> Completion:
        """The link's answer: a cached one, one that it is giving to somebody else, or one of its own.

        Args:
            task: what to answer.
            on_text: gets all of the text so far.
            on_asked: called where the model is asked for this request, and not for another's; with True where it is a
                probe, which sees whether the model is back: it will hardly answer.
            trail: told where the answer lies in the cache.

        Raises:
            CompletionFailed: there is none.
        """
        if self.is_template:
            if task.schema is not None:
                raise CompletionFailed("an extract is no answer by a schema")
            return await self._attempt(task, on_text)
        key = self.key(task)
        took: Usage | None = None

        async def work(tell: OnNews) -> StoredCompletion:
            on_asked(await self._circuits.enter(self.name))
            await trail(key, is_new=True)
            completion = await self._asked(task, lambda text: tell(News(text=text[:TOLD_CHARS])))
            nonlocal took
            took = completion.usage
            return StoredCompletion.of(completion)

        await trail(key, is_new=False)
        stored, cached = await self._shared.once(
            key,
            COMPLETION,
            work,
            ttl_s=lambda _: min(self._cache_s, task.keep_s),
            on_news=lambda news: on_text(news.text),
        )
        return replace(stored.completion(), cached=cached, usage=took)

    async def _asked(self, task: CompletionTask, on_text: Callable[[str], None]) -> Completion:
        """Ask the model, and tell its circuit how it went."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            completion = await self._in_time(task, on_text)
        except CompletionFailed as exc:
            self._note(outcome_of(exc), clock() - began)
            await self._circuits.failed(self.name, exc)
            raise
        self._note(Outcome.OK, clock() - began)
        await self._circuits.succeeded(self.name)
        return completion

    def _note(self, outcome: Outcome, seconds: float | None = None) -> None:
        if self._stages is not None:
            self._stages.note(Subject(kind="model", name=self.name), outcome, seconds)

    async def _in_time(self, task: CompletionTask, on_text: Callable[[str], None]) -> Completion:
        self._budget.request()
        limit_s = task.mode.model.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                async for attempt in stamina.retry_context(
                    on=self._again,
                    attempts=self._retries.tries,
                    timeout=None,
                    wait_initial=self._retries.wait_s,
                    wait_jitter=self._retries.wait_s,
                ):
                    with attempt:
                        return await self._attempt(task, on_text)
        except TimeoutError:
            raise CompletionFailed(f"no answer within {limit_s:g} s") from None
        raise AssertionError("the last attempt returns or raises")

    async def gave_up(self, why: str) -> None:
        """Nobody waits for the model's answer any longer, which counts as a failure."""
        self._note(Outcome.TEMPORARY)
        await self._circuits.failed(self.name, CompletionFailed(why))

    def _again(self, exc: Exception) -> bool | float:
        """Whether another try may help, or after how many seconds it may."""
        if not isinstance(exc, CompletionFailed) or exc.kind is ErrorKind.PERMANENT:
            return False
        wait_s = float(exc.values.get("retry_after_s", 0)) if isinstance(exc, CompletionRateLimited) else 0.0
        if wait_s > self._retries.longest_wait_s or not self._budget.retry():
            return False
        return wait_s or True

    async def _attempt(self, task: CompletionTask, on_text: Callable[[str], None]) -> Completion:
        if task.schema is not None:
            completion = await self._structured.answer(
                task,
                task.schema,
                # Half of an answer in JSON is nothing to read; that there is more of it says that the model is at it.
                lambda asked: self._counted(asked, lambda _: on_text("")),
            )
            on_text(completion.result.text)
            return completion
        completion = await self._counted(task, on_text)
        text = visible_text(completion.result.text)
        if not text.strip():
            raise CompletionFailed("the answer was empty")
        return replace(completion, result=replace(completion.result, text=text))

    async def _counted(self, task: CompletionTask, on_text: Callable[[str], None]) -> Completion:
        """One answer of the model, with its price."""
        completion = await self._model.complete(task, on_text=on_text)
        usage, price = completion.usage, self._facts.price
        if usage is None:
            return completion
        if price is not None:
            usage = replace(usage, cost=price.of(usage))
        if self._spending is not None:
            self._spending.note(self.name, usage)
        return replace(completion, usage=usage)
