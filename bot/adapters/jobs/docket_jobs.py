"""Jobs in the store, by docket: a docket for each lane, since docket knows no priorities.

docket is asked over connections of ours. With its own, one that breaks ends its loop, which then takes nothing new, and
holds no leases, until the last job under way has ended; and a server that is silent is waited for without end.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self, cast

from docket import Docket, Execution, ExecutionState, Worker
from docket.dependencies import current_execution
from loguru import logger
from redis.exceptions import RedisError

from bot.adapters.redis import keys
from bot.adapters.redis.connections import STEADY, Way
from bot.core.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from docket._redis import RedisClient
    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer
    from bot.core.jobs import Handler

REDELIVERY_S: Final = 30.0
"""A worker that is not heard of for so long is dead, and its jobs are somebody else's."""

_WORKING: Final = Way(name="jobs", timeout_s=5.0, connect_s=1.0, retries=-1, connections=1_000)
"""For workers: they try until the server is back, and go on where they were."""
_CHECK_S: Final = 0.025
"""How soon a worker whose places were all taken sees that one is free."""
_AGAIN_S: Final = 1.0
_TRIES: Final = 3
_JOB: Final = "job"


class DocketJobs:
    """`bot.core.jobs.JobQueue`, and what works it off. To be entered before it is used.

    Args:
        server: the store.
        url: the same server, for docket's pub/sub.
        redelivery_s: how long the jobs of a worker that died wait at most before another has them, give or take a
            third.
    """

    def __init__(self, server: RedisServer, url: str, *, redelivery_s: float = REDELIVERY_S) -> None:
        self._server = server
        self._url = url
        self._redelivery = timedelta(seconds=redelivery_s)
        self._dockets = {lane: _Docket(lane, url, server.client(STEADY), _job) for lane in Lane}
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        for docket in self._dockets.values():
            await self._stack.enter_async_context(docket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._stack.aclose()

    async def submit(self, request_id: str, lane: Lane) -> None:
        """Let a job be run; see the port."""
        docket = self._dockets[lane]

        async def operation(_client: Redis) -> None:
            await docket.add(_JOB, key=request_id)(request_id)

        await self._server.call(operation)

    async def cancel(self, request_id: str, lane: Lane) -> None:
        """Take a job out of the queue. To a worker that is at it, it goes by pub/sub, which may be missed."""
        docket = self._dockets[lane]

        async def operation(_client: Redis) -> None:
            await docket.cancel(request_id)

        await self._server.call(operation)

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
        room: Callable[[], int] | None = None,
    ) -> None:
        """Run the jobs of a lane, ``places`` at a time, until it is cancelled or stopped.

        Then it takes no more, and gives those under way ``grace_s`` seconds. The rest is cancelled and queued again.

        Args:
            lane: whose jobs.
            handler: does one.
            places: how many at a time.
            name: of this worker, and of no other that lives.
            grace_s: how long the end waits for jobs.
            room: how many of the places are to be used now; all of them, if None.
        """
        hands = _Hands(handler)
        client = self._server.client(_WORKING)
        async with (
            _Docket(lane, self._url, client, hands.do) as docket,
            Worker(
                docket,
                name=name,
                concurrency=min(places, room()) if room else places,
                redelivery_timeout=self._redelivery,
                reconnection_delay=timedelta(seconds=_AGAIN_S),
                minimum_check_interval=timedelta(seconds=_CHECK_S),
                scheduling_resolution=timedelta(seconds=1),  # nothing is scheduled, but clocks may differ
                schedule_automatic_tasks=False,
            ) as worker,
        ):
            running = asyncio.create_task(_run(docket, worker), name=f"jobs: {lane}")
            using = asyncio.create_task(_use(worker, places, room)) if room else None
            try:
                await self._stopping.wait()
            finally:
                if using is not None:
                    using.cancel()
                worker.concurrency = 0  # it takes no more, and goes on to hold the leases
                try:
                    await asyncio.sleep(2 * _CHECK_S)  # a read that is under way still brings some
                    await hands.rest(grace_s)
                finally:
                    await _end(running, hands)
                    await _give_back(docket, name)


class _Docket(Docket):
    """One lane, on connections of ours."""

    def __init__(self, lane: Lane, url: str, client: Redis, job: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(
            name=keys.jobs(lane),
            url=url,
            heartbeat_interval=timedelta(seconds=15),  # nobody asks docket who lives
            execution_ttl=timedelta(seconds=keys.ENDED_JOB_S),
        )
        self.url = ""  # read once more, for the list of tasks that docket is to refuse: without it, none is looked for
        self.tasks = {_JOB: job}
        self._client = cast("RedisClient", client)

    @asynccontextmanager
    async def redis(self) -> AsyncGenerator[RedisClient]:
        """What docket asks, pub/sub apart."""
        yield self._client


class _Hands:
    """The jobs that one worker is at, each in a task of docket's that goes on until the job's end is written down."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: dict[bytes | None, asyncio.Task[None]] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def do(self, request_id: str) -> None:
        """Do a job. One that this worker is at comes again where its lease ran out: then the first is waited for."""
        entry = current_execution.get().message_id
        if self._is_over:
            raise asyncio.CancelledError
        if (first := self._tasks.get(entry)) is not None:
            return await _joined(first)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks[entry] = task
        task.add_done_callback(lambda _: self._tasks.pop(entry))
        self._busy.add(task)
        try:
            await self._handler(request_id)
        except Exception:  # noqa: BLE001 - a slip, that would only be repeated
            logger.exception("a job failed where none may")
        finally:
            self._busy.discard(task)

    async def rest(self, grace_s: float) -> None:
        """Wait for all jobs, but only for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._tasks:
                    await asyncio.wait(self._tasks.values())

    def drop(self) -> None:
        """Leave all jobs unfinished."""
        self._is_over = True
        for task in self._busy:
            task.cancel()


async def _joined(first: asyncio.Task[None]) -> None:
    """End as ``first`` does; docket cancels the later of two, and means both."""
    try:
        await asyncio.wait([first])
    except asyncio.CancelledError:
        first.cancel()
        raise
    if first.cancelled():
        raise asyncio.CancelledError


async def _job(request_id: str) -> None:
    """What is submitted; where it runs, a handler stands in its place."""


async def _use(worker: Worker, places: int, room: Callable[[], int]) -> None:
    """Let ``worker`` take no more than there is ``room`` for; docket looks at it each time that it takes some."""
    while True:
        worker.concurrency = min(places, room())
        await asyncio.sleep(_CHECK_S)


async def _run(docket: Docket, worker: Worker) -> None:
    """Run ``worker``; what ends it is a slip, and the lane goes on."""
    while True:
        try:
            return await worker.run_forever()
        except Exception:  # noqa: BLE001 - whatever it is
            logger.exception("the job engine failed: it starts again")
        await _give_back(docket, worker.name)
        await asyncio.sleep(_AGAIN_S)


async def _end(running: asyncio.Task[None], hands: _Hands) -> None:
    """End a worker and what it is at, unfinished.

    docket lets go of a job whose task is cancelled once the worker's is. More than once: up to Python 3.11, redis-py's
    ``asyncio.wait_for`` can swallow a cancellation, and where the store is away, docket waits for it.
    """
    for _ in range(_TRIES):
        running.cancel()
        hands.drop()
        if (await asyncio.wait([running], timeout=_AGAIN_S))[0]:
            return
    logger.warning("a worker does not end")


async def _give_back(docket: Docket, name: str) -> None:
    """Queue again what the worker of that name holds; where that cannot be done, its leases run out."""
    stream, group = docket.stream_key, docket.worker_group_name
    with suppress(RedisError, OSError):
        async with asyncio.timeout(_AGAIN_S), docket.redis() as redis:
            for held in await redis.xpending_range(stream, group, "-", "+", 1_000, name):
                entry = held["message_id"]
                for _, message in await redis.xrange(stream, entry, entry):
                    try:
                        execution = await Execution.from_message(docket, message, message_id=entry, sync=False)
                    except Exception:  # noqa: BLE001 - whatever it is, it would end every worker in turn
                        logger.error("what stood among the jobs was none: {}", sorted(message))
                        await redis.xack(stream, group, entry)
                        await redis.xdel(stream, entry)
                        continue
                    await execution.sync()
                    if execution.state is not ExecutionState.CANCELLED:
                        await execution.schedule(reschedule_message=entry, expected_generation=execution.generation)
