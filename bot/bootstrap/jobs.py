"""Jobs in this process: the engine, the line in front of it, and the work itself."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bot.adapters.in_process.outbox import InProcessOutbox
from bot.adapters.in_process.progress_bus import InProcessProgressBus
from bot.adapters.jobs import DocketJobs, InProcessJobs
from bot.adapters.jobs.docket_jobs import REDELIVERY_S
from bot.adapters.redis.outbox import RedisOutbox
from bot.adapters.redis.progress_bus import RedisProgressBus
from bot.bootstrap.processes import every
from bot.bootstrap.services import now
from bot.core.admission import Admission
from bot.core.dispatch import Dispatch
from bot.core.jobs import LINES, Lane
from bot.core.runner import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from bot.bootstrap.services import Core
    from bot.bootstrap.state import BotState
    from bot.core.desk import Desk
    from bot.core.jobs import Outbox, ProgressBus
    from bot.core.line import Line
    from bot.settings import Settings

ANNOUNCE_S: Final = 5.0
ANNOUNCED_S: Final = 20.0
"""How long a worker that says nothing is taken for one that lives."""
LOOK_S: Final = 1.0
SWEEP_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What takes jobs, does them, and gives their answers out; ``name`` is this process among all."""

    name: str
    queue: DocketJobs | InProcessJobs
    admission: Admission
    dispatch: Dispatch
    runner: Runner
    outbox: Outbox
    bus: ProgressBus

    @property
    def outlive_the_process(self) -> bool:
        """Whether a job goes on where this process ends."""
        return isinstance(self.queue, DocketJobs)


def lanes_of(settings: Settings, *, default: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """The lanes whose jobs a process does."""
    if settings.job_lanes is None:
        return default
    return tuple(Lane(name) for name in settings.job_lanes if name != "none")


@asynccontextmanager
async def open_jobs(
    core: Core, state: BotState, desk: Desk, line: Line, *, redelivery_s: float = REDELIVERY_S
) -> AsyncGenerator[Jobs]:
    """Reach the job engine, which is the store's; jobs of a process that was killed wait so long for another.

    ``line`` is told how the line stands.
    """
    name = secrets.token_hex(8)
    async with AsyncExitStack() as stack:
        queue: DocketJobs | InProcessJobs = InProcessJobs()
        outbox: Outbox = InProcessOutbox(clock=time.monotonic)
        bus: ProgressBus = InProcessProgressBus()
        if state.servers is not None:
            store = state.servers.store
            queue = await stack.enter_async_context(
                DocketJobs(store, state.servers.store_url, redelivery_s=redelivery_s)
            )
            outbox = RedisOutbox(store)
            bus = await stack.enter_async_context(RedisProgressBus(store, origin=name))
        admission = Admission(state.ledgers, queue, now=now, seen=line.see)
        yield Jobs(
            name=name,
            queue=queue,
            admission=admission,
            dispatch=Dispatch(
                desk,
                core.pipeline,
                requests=state.requests,
                admission=admission,
                queue=queue,
                flags=state.flags,
                fetcher=core.fetcher,
                depot=core.depot,
                spool=core.spool,
                now=now,
            ),
            runner=Runner(
                desk,
                requests=state.requests,
                transcripts=state.transcripts,
                admission=admission,
                outbox=outbox,
                bus=bus,
                flags=state.flags,
                depot=core.depot,
                now=now,
            ),
            outbox=outbox,
            bus=bus,
        )


async def do_jobs(
    jobs: Jobs, core: Core, lanes: Iterable[Lane], *, places: int, listeners: int, grace_s: float
) -> None:
    """Do jobs of ``lanes`` until cancelled or stopped; those that are not done within ``grace_s`` are left to others.

    Args:
        jobs: where they are.
        core: knows how fast it is.
        lanes: of which.
        places: jobs at a time, in each.
        listeners: transcriptions at a time.
        grace_s: seconds for those under way at the end.
    """

    async def announce(lane: Lane) -> None:
        await jobs.admission.announce(lane, jobs.name, listeners, core.load.speed, ANNOUNCED_S)

    async def work(lane: Lane, room: Callable[[], int] | None = None) -> None:
        handler, name = partial(jobs.runner.run, lane=lane), f"{jobs.name}-{lane}"
        await jobs.queue.work(lane, handler, places=places, room=room, name=name, grace_s=grace_s)

    async def work_off(lane: Lane) -> None:
        announcing = asyncio.create_task(every(ANNOUNCE_S, partial(announce, lane), patient=True))
        try:
            # No more than are heard, and the next: another worker may have nothing to do.
            await work(lane, lambda: listeners + 1 + jobs.runner.past_listening(lane))
        finally:
            announcing.cancel()
            await jobs.admission.retire(lane, jobs.name)

    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(work_off(lane), name=f"jobs: {lane}")
            if lane is Lane.INTERACTIVE:
                group.create_task(work(Lane.READY), name=f"jobs: {Lane.READY}")


async def keep_line(jobs: Jobs, core: Core, line: Line) -> None:
    """See to it that whoever is next is let in, until cancelled."""

    async def look() -> None:
        for lane in LINES:
            await jobs.admission.let_in(lane)
        await line.look()

    async with asyncio.TaskGroup() as group:
        group.create_task(every(LOOK_S, look, patient=True))
        group.create_task(every(SWEEP_S, core.depot.sweep, patient=True))
