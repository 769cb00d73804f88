"""Jobs where there is no store: they end with this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from bot.core.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.jobs import Handler


@dataclass(slots=True)
class _Line:
    """A lane: ``waiting`` says which entries of ``queue`` still count."""

    queue: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    waiting: set[str] = field(default_factory=set[str])
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])

    def add(self, request_id: str) -> None:
        if request_id not in self.waiting and request_id not in self.running:
            self.waiting.add(request_id)
            self.queue.put_nowait(request_id)


class InProcessJobs:
    """`bot.core.jobs.JobQueue`, and what works it off; as `DocketJobs`, within one process."""

    def __init__(self) -> None:
        self._lines = {lane: _Line() for lane in Lane}
        self._stopping = asyncio.Event()

    async def submit(self, request_id: str, lane: Lane) -> None:
        """Let a job be run; see the port."""
        self._lines[lane].add(request_id)

    async def cancel(self, request_id: str, lane: Lane) -> None:
        """Take a job out of the queue, or cancel its handler."""
        line = self._lines[lane]
        line.waiting.discard(request_id)
        if (task := line.running.pop(request_id, None)) is not None:
            task.cancel()

    def stop(self) -> None:
        """End all `work`, as a cancellation of each would."""
        self._stopping.set()

    async def work(
        self,
        lane: Lane,
        handler: Handler,
        *,
        places: int,
        name: str,
        grace_s: float,
        room: Callable[[], int] | None = None,  # noqa: ARG002 - nobody else could do them
    ) -> None:
        """Run the jobs of a lane, ``places`` at a time, until it is cancelled or stopped.

        Then it takes no more, and gives those under way ``grace_s`` seconds. The rest is cancelled and queued again.
        """
        line, mine = self._lines[lane], set[asyncio.Task[None]]()
        takers = [asyncio.create_task(_take(line, handler, mine), name=f"{name} {number}") for number in range(places)]
        try:
            await self._stopping.wait()
        finally:
            for taker in takers:
                taker.cancel()
            try:
                if mine:
                    await asyncio.wait(set(mine), timeout=grace_s)
            finally:
                await _give_back(line, mine)


async def _take(line: _Line, handler: Handler, mine: set[asyncio.Task[None]]) -> None:
    """One place: do one job after the other. A job outlives the end of its place."""
    while True:
        request_id = await line.queue.get()
        if request_id not in line.waiting:
            continue
        line.waiting.discard(request_id)
        task = asyncio.create_task(_do(request_id, handler), name=f"job: {request_id}")
        line.running[request_id] = task
        mine.add(task)
        task.add_done_callback(partial(_ended, line, mine, request_id))
        await asyncio.wait([task])


def _ended(line: _Line, mine: set[asyncio.Task[None]], request_id: str, task: asyncio.Task[None]) -> None:
    mine.discard(task)
    if line.running.get(request_id) is task:
        del line.running[request_id]


async def _do(request_id: str, handler: Handler) -> None:
    try:
        await handler(request_id)
    except Exception:  # noqa: BLE001 - a slip, that would only be repeated
        logger.exception("a job failed where none may")


async def _give_back(line: _Line, mine: set[asyncio.Task[None]]) -> None:
    """End what is left of ``mine``, and queue again what that leaves unfinished."""
    left = {request_id: task for request_id, task in line.running.items() if task in mine}
    for task in mine:
        task.cancel()
    if mine:
        await asyncio.wait(set(mine))
    for request_id, task in left.items():
        if task.cancelled():
            line.add(request_id)
