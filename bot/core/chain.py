"""The chain: each model in turn, down to a template that cannot fail for want of a network.

A model that is silent, at first or in the middle, is *hedged*: the next one is asked beside it, and the member reads
what comes first. The better model's answer still takes its place if it comes in time. (Dean and Barroso, "The tail at
scale", Communications of the ACM 56, 2013.)
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bot.core.caching import COMPLETION, COMPLETION_S
from bot.core.chain_link import ChainLink, RetryPolicy
from bot.core.completion import FailedAttempt
from bot.core.errors import CompletionFailed, CompletionRefused, NotCached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.core.caching import SharedWork
    from bot.core.circuits import Circuits
    from bot.core.completion import Completion, CompletionTask
    from bot.core.ports import CacheTrail, CompletionModel
    from bot.core.spending import Spending
    from bot.core.stage_health import StageHealth
    from bot.core.structured import ModelFacts

SMART: Final = "smart"
"""The alias that modes name unless they name another."""


_REFUSES: Final = "refuses: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(FailedAttempt):
    """A link that will not answer that, however often it is asked; a shorter text, perhaps."""

    def __str__(self) -> str:
        return f"{self.model}: {_REFUSES}{self.why}"


def all_refuse(detail: str) -> bool:
    """Whether nothing but refusals is among the attempts that a stage's ``detail`` names, joined by ``"; "``."""
    return all(attempt.partition(": ")[2].startswith(_REFUSES) for attempt in detail.split("; "))


async def untraced(_key: str, /, *, is_new: bool) -> None:
    """A trail that nobody follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPolicy:
    """How patient a chain is.

    Args:
        retries: with one link.
        hedge_s: seconds without a new word after which the next link is asked too; None for never.
        upgrade_s: how long a better link's answer is waited for once another's is there, in seconds.
        cache_s: how long answers are cached, in seconds.
    """

    retries: RetryPolicy = field(default_factory=RetryPolicy)
    hedge_s: float | None = 6.0
    upgrade_s: float = 30.0
    cache_s: float = COMPLETION_S


class Chain:
    """Asks models until one answers.

    Args:
        aliases: the models in the order in which they are asked, by the name that modes call the order by; `SMART`
            stands for every name that is not among them.
        shared: finds answers that are there, or being given.
        circuits: say which models are worth asking.
        policy: how patient it is.
        stages: told how each request to a model went.
        facts: what the operator knows of models, by their names.
        spending: told what each request took.
    """

    def __init__(  # noqa: PLR0913 - what all links share
        self,
        aliases: Mapping[str, Sequence[CompletionModel]],
        *,
        shared: SharedWork,
        circuits: Circuits,
        policy: ChainPolicy,
        stages: StageHealth | None = None,
        facts: Mapping[str, ModelFacts] | None = None,
        spending: Spending | None = None,
    ) -> None:
        facts = facts or {}
        links = {
            model.name: ChainLink(
                model,
                shared=shared,
                circuits=circuits,
                retries=policy.retries,
                cache_s=policy.cache_s,
                stages=stages,
                facts=facts.get(model.name),
                spending=spending,
            )
            for models in aliases.values()
            for model in models
        }
        self._links = {alias: tuple(links[model.name] for model in models) for alias, models in aliases.items()}
        self._shared = shared
        self._policy = policy

    async def run(
        self, task: CompletionTask, *, on_text: Callable[[str], None], trail: CacheTrail = untraced
    ) -> Completion:
        """Answer ``task``.

        Args:
            task: what to make of what was said.
            on_text: gets all of the text so far, of the answer that is best to read now.
            trail: told where answers lie in the cache.

        Raises:
            NotCached: with ``task.only_cached``, where a model would have to be asked.
            CompletionFailed: no link gave an answer; its detail names each and why.
            CompletionRefused: likewise, and one of them at least refuses: it may answer a shorter text.
        """
        links = self._links.get(task.mode.model.chain) or self._links[SMART]
        if task.only_cached:
            return await self._finished(links, task, on_text, trail)
        return await _Race(links, self._policy, task, on_text, trail).run()

    async def _finished(
        self, links: Sequence[ChainLink], task: CompletionTask, on_text: Callable[[str], None], trail: CacheTrail
    ) -> Completion:
        """What can be had without asking a model. Where there are none, the template's answer is that."""
        keys = [link.key(task) for link in links if not link.is_template]
        found = await self._shared.first_cached(keys, COMPLETION)
        if found is not None:
            key, stored = found
            await trail(key, is_new=False)
            return replace(stored.completion(), cached=True)
        if links and links[0].is_template and task.schema is None:
            return await links[0].answer(task, on_text=on_text, on_asked=lambda _: None, trail=trail)
        raise NotCached("no link's answer is cached")


class _Runner:
    """A link at work. From ``silent_at`` on, it has said nothing new for too long."""

    def __init__(self, rank: int, link: ChainLink) -> None:
        self.rank = rank
        self.link = link
        self.silent_at = math.inf
        self.asked = False
        self.text = ""


class _Race:
    """One request's way along the chain.

    The links at work are in the order of the chain. As soon as one of them has answered, those behind it are broken
    off, and those before it may still do better.
    """

    def __init__(
        self,
        links: Sequence[ChainLink],
        policy: ChainPolicy,
        task: CompletionTask,
        on_text: Callable[[str], None],
        trail: CacheTrail,
    ) -> None:
        self._waiting = deque(enumerate(links))
        self._policy = policy
        self._task = task
        self._on_text = on_text
        self._trail = trail
        self._clock = asyncio.get_running_loop().time
        self._running: dict[_Runner, asyncio.Task[Completion]] = {}
        self._best: tuple[_Runner, Completion] | None = None
        self._give_up_at = math.inf
        self._failed: dict[int, FailedAttempt] = {}
        self._changed = asyncio.Event()
        self._shown = ""

    async def run(self) -> Completion:
        """Give the best answer; see `Chain.run`."""
        try:
            self._start_next()
            while self._running:
                await self._change()
                for runner, work in list(self._running.items()):
                    if work.done() and runner in self._running:
                        del self._running[runner]
                        await self._ended(runner, work)
                if self._clock() >= self._give_up_at:
                    await self._give_up()
                if self._next_is_due():
                    self._start_next()
                self._show()
        finally:
            await self._break_off(set(self._running))
        failed = [self._failed[rank] for rank in sorted(self._failed)]
        if self._best is None:
            kind = CompletionRefused if any(isinstance(attempt, Refusal) for attempt in failed) else CompletionFailed
            raise kind("; ".join(map(str, failed)) or "the chain has no links")
        runner, completion = self._best
        return replace(completion, failed=tuple(failed[: sum(rank < runner.rank for rank in self._failed)]))

    def _next_is_due(self) -> bool:
        """Whether another link is to be asked: nobody is at work, or all who are have been silent for too long."""
        return self._best is None and bool(self._waiting) and self._clock() >= self._all_silent_at()

    def _all_silent_at(self) -> float:
        return max((runner.silent_at for runner in self._running), default=-math.inf)

    def _start_next(self) -> None:
        if not self._waiting:
            return
        runner = _Runner(*self._waiting.popleft())
        patience_s = math.inf if self._policy.hedge_s is None else self._policy.hedge_s

        def told(text: str) -> None:
            runner.text = text
            runner.silent_at = self._clock() + patience_s
            self._show()

        def asked(is_probe: bool) -> None:
            runner.asked = True
            if is_probe:
                runner.silent_at = self._clock()  # nobody waits for a model that has just failed
                self._changed.set()

        runner.silent_at = self._clock() + patience_s
        work = asyncio.create_task(runner.link.answer(self._task, on_text=told, on_asked=asked, trail=self._trail))
        work.add_done_callback(lambda _: self._changed.set())
        self._running[runner] = work

    async def _change(self) -> None:
        """Wait until a link has ended, or all have been silent for too long."""
        at = self._all_silent_at() if self._best is None and self._waiting else self._give_up_at
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if at == math.inf else at):
                await self._changed.wait()
        self._changed.clear()

    async def _ended(self, runner: _Runner, work: asyncio.Task[Completion]) -> None:
        try:
            completion = work.result()
        except CompletionFailed as exc:
            kind = Refusal if isinstance(exc, CompletionRefused) else FailedAttempt
            self._failed[runner.rank] = kind(model=runner.link.name, why=exc.detail or str(exc))
            return
        self._best = runner, completion
        if not runner.link.is_template:  # any model is worth more patience than that
            self._give_up_at = self._clock() + self._policy.upgrade_s
        await self._break_off({other for other in self._running if other.rank > runner.rank})

    async def _give_up(self) -> None:
        """Break off those who are still silent; whoever speaks by now may end."""
        self._give_up_at = math.inf
        silent = {runner for runner in self._running if self._clock() >= runner.silent_at}
        await self._break_off(silent)
        for runner in silent:
            if runner.asked:
                await runner.link.gave_up("silent for too long")

    async def _break_off(self, runners: set[_Runner]) -> None:
        works = [self._running.pop(runner) for runner in runners]
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works)
        for runner, work in zip(runners, works, strict=True):
            if work.cancelled() or work.exception() is not None:
                self._failed.setdefault(runner.rank, FailedAttempt(model=runner.link.name, why="too slow, broken off"))

    def _show(self) -> None:
        """Show what is best to read now: an answer stays until there is a better one, an extract gives way at once."""
        speakers = [runner for runner in self._running if runner.text]
        speakers.sort(key=lambda runner: self._clock() >= runner.silent_at)  # the first of those who go on speaking
        spoken = speakers[0].text if speakers else ""
        text = spoken
        if self._best is not None and not (self._best[0].link.is_template and spoken):
            text = self._best[1].result.text
        if text not in ("", self._shown):
            self._shown = text
            self._on_text(text)
