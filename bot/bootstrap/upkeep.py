"""What a process does for its state beside its work: it sees whether the servers are well, and cleans up."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.redis.cleanup import Cleanup
from bot.adapters.redis.policies import PolicyRefused, ServerFacts, check_cache, check_store, memory_share
from bot.adapters.redis.turn import Turn
from bot.bootstrap.processes import WORKER, Heartbeats, every
from bot.bootstrap.services import StartFailed, now
from bot.core.errors import StoreUnavailable
from bot.core.health import Health, Reading, State
from bot.core.stage_health import LONG, SHORT, StageHealth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.adapters.redis.connections import RedisServer
    from bot.adapters.spool import FileSpool
    from bot.bootstrap.state import BotState, Servers
    from bot.core.ports import LoadEstimate

STORE: Final = "store"
CACHE: Final = "cache"
LOAD: Final = "load"
STAGES: Final = "stages"
STATE_PARTS: Final = (STORE, CACHE)
"""Parts of health."""

WATCH_S: Final = 1.0
SWEEP_S: Final = 3_600.0
FULL_SHARE: Final = 0.70
"""Share of the store's memory from which new work is refused: a full store refuses every write."""
ROOM_SHARE: Final = 0.65
"""Share below which it is taken again."""


class StateWatch:
    """Sees whether the store and the cache answer, are set as they must be, and have room.

    Args:
        state: the process's.
        health: told of each change.
    """

    def __init__(self, state: BotState, health: Health) -> None:
        self._state = state
        self._health = health
        self._store_facts: ServerFacts | None = None
        self._checked = False
        self._refused: str | None = None
        self.store_share: float | None = None
        """Share of its memory that the store uses; None where it is not known."""
        self.filling_up = False
        """Whether the store has too little room for new work."""

    async def check(self) -> None:
        """Look at the servers' policies. One that is away is looked at when it is back.

        Raises:
            StartFailed: the store may lose what must last.
        """
        if self._state.servers is None:
            self._checked = True
            return
        try:
            if self._store_facts is None:  # what is wrong with the store is said once, however long the cache is away
                self._store_facts = await check_store(self._state.servers.store)
                self._refused = None
            await check_cache(self._state.servers.cache, self._store_facts)
        except StoreUnavailable:
            return
        except PolicyRefused as exc:
            self._refused = str(exc)
            raise StartFailed(str(exc)) from exc
        self._checked = True

    async def run(self) -> None:
        """Go on looking until cancelled."""
        servers = self._state.servers
        if servers is None:
            for part in STATE_PARTS:
                self._health.report(part, State.OK, "in this process")
            return
        await every(WATCH_S, partial(self._look, servers))

    async def _look(self, servers: Servers) -> None:
        for part, server in ((STORE, servers.store), (CACHE, servers.cache)):
            with suppress(StoreUnavailable):
                await server.ping()
            self._report(part, server)
        if servers.store.why_away is not None:
            self.filling_up = False  # nobody knows, and without it the bot goes on
            return
        if not self._checked:
            told = self._refused
            try:
                await self.check()
            except StartFailed as exc:  # too late to refuse to start; it is set right while this waits
                if str(exc) != told:
                    logger.error("{}", exc)
        with suppress(StoreUnavailable):
            self.store_share = await memory_share(servers.store)
            self.filling_up = (self.store_share or 0.0) > (ROOM_SHARE if self.filling_up else FULL_SHARE)

    def _report(self, part: str, server: RedisServer) -> None:
        if server.why_away is not None:
            self._health.report(part, State.DEGRADED, f"cannot be reached: {server.why_away}")
        elif part == STORE and self._refused is not None:
            self._health.report(part, State.FAILED, self._refused)
        elif part == STORE and self.filling_up:
            self._health.report(part, State.DEGRADED, f"{self.store_share or 0:.0%} full: new work is refused")
        else:
            self._health.report(part, State.OK)

    def readings(self) -> Iterator[Reading]:
        """Figures of the state."""
        state = self._state
        for verdict, count in sorted(state.limiter.decisions.items()):
            here = state.limiter.made_here[verdict]
            for made_by, part in (("process", here), ("redis", count - here)):
                yield Reading(
                    name="limiter_decisions",
                    help="Verdicts on requests that cost tokens, and who gave them.",
                    kind="counter",
                    value=part,
                    labels={"verdict": verdict, "made_by": made_by},
                )
        for outcome, count in sorted(state.cache.counts.items()):
            yield Reading(
                name="cache_looks",
                help="Looks into the cache.",
                kind="counter",
                value=count,
                labels={"outcome": outcome},
            )
        if state.servers is None:
            if isinstance(state.cache, InProcessCache):
                yield Reading(
                    name="cache_bytes", help="Bytes in the cache.", kind="gauge", value=float(state.cache.size)
                )
            return
        for server in state.servers:
            yield Reading(
                name="redis_up",
                help="Whether a server answers.",
                kind="gauge",
                value=float(server.why_away is None),
                labels={"role": server.role},
            )
            yield Reading(
                name="redis_failures",
                help="Calls that failed.",
                kind="counter",
                value=server.failures,
                labels={"role": server.role},
            )
        for what in ("scanned", "mended", "deleted"):
            yield Reading(
                name="cleanup_keys",
                help="Keys that this process has looked at, given an end that they lacked, or deleted.",
                kind="counter",
                value=state.cleaned[what],
                labels={"what": what},
            )
        yield Reading(
            name="cleanup_freed_bytes",
            help="Memory of keys that this process has deleted from a cache that was nearly full.",
            kind="counter",
            value=state.cleaned["freed_bytes"],
        )
        if self.store_share is not None:
            yield Reading(name="store_memory_share", help="Used share of memory.", kind="gauge", value=self.store_share)


async def clean_up(state: BotState, spool: FileSpool, *, is_worker: bool) -> None:
    """Go on cleaning up until cancelled: this machine's disk, and in turn with others what all share."""
    sweep = partial(asyncio.to_thread, spool.sweep)
    if state.servers is None:
        await every(SWEEP_S, sweep)
        return
    heartbeats = Heartbeats(state.documents, now)
    turn = Turn(
        leases=state.leases,
        owner=secrets.token_hex(8),
        prefer_me=is_worker,
        worker_lives=lambda: heartbeats.lives(WORKER),
    )
    servers = state.servers
    cleanup = Cleanup(servers.store, servers.cache, turn=turn, counts=state.cleaned, clock=time.monotonic)
    async with asyncio.TaskGroup() as both:
        both.create_task(every(SWEEP_S, sweep))
        both.create_task(cleanup.run_forever())


class StrainedLoad:
    """A `LoadEstimate` in which a store that fills up, or a transcriber that hears nothing, counts as too long a queue.

    Args:
        loads: the queues; the longest counts.
        watch: knows the store.
        stages: know the transcriber.
        full_s: the expected wait that either stands for, in seconds.
    """

    def __init__(
        self, loads: tuple[LoadEstimate, ...], watch: StateWatch, stages: StageHealth, *, full_s: float
    ) -> None:
        self._loads = loads
        self._watch = watch
        self._stages = stages
        self._full_s = full_s

    def expected_wait_s(self) -> float:
        """Seconds until a request that came now would be begun."""
        strained = self._watch.filling_up or self._stages.is_deaf
        return max(*(load.expected_wait_s() for load in self._loads), self._full_s if strained else 0.0)


async def watch_stages(stages: StageHealth, health: Health) -> None:
    """Go on telling the other processes, and health, how the stages are doing."""

    async def look() -> None:
        await stages.look()
        strained = stages.strains.values()
        health.report(STAGES, State.DEGRADED if strained else State.OK, "; ".join(map(str, strained)))

    await every(WATCH_S, look)


def stage_readings(stages: StageHealth) -> Iterator[Reading]:
    """Figures of the stages and the models: counters are of this process, all else of all."""
    for (subject, outcome), count in stages.totals.items():
        yield Reading(
            name=f"{subject.kind}_attempts",
            help="How attempts that this process made ended.",
            kind="counter",
            value=count,
            labels={subject.kind: subject.name, "class": outcome},
        )
    for length in (SHORT, LONG):
        for subject, tally in stages.tallies(length).items():
            labels = {subject.kind: subject.name, "window": f"{length}m"}
            yield Reading(
                name=f"{subject.kind}_failure_share",
                help="Share of attempts that failed.",
                kind="gauge",
                value=tally.share,
                labels=labels,
            )
            for outcome, quantile in product(tally.powers, (0.5, 0.95)):
                yield Reading(
                    name=f"{subject.kind}_seconds",
                    help="How long that share of the attempts took at most.",
                    kind="gauge",
                    value=tally.seconds(outcome, quantile) or 0.0,
                    labels={**labels, "class": outcome, "quantile": str(quantile)},
                )
    for subject in stages.strains:
        yield Reading(
            name=f"{subject.kind}_strained",
            help="Those that fail too often.",
            kind="gauge",
            value=1.0,
            labels={subject.kind: subject.name},
        )
