"""One contract for jobs, on every Redis that there is, in this process and on the fake; then what a crash does."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from bot.adapters.jobs import DocketJobs, InProcessJobs
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.inspection import mend
from bot.core.errors import StoreUnavailable
from bot.core.jobs import JobQueue, Lane
from tests.fakes import FakeJobQueue
from tests.redis_servers import SLACK, a_server, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from tests.redis_servers import RedisProcess

HERE: Final = Lane.INTERACTIVE
FOREVER: Final = 1_000.0
SOON: Final = 1.0
"""Seconds until the jobs of a dead worker are somebody else's, in tests about that."""


class Crew:
    """A handler: jobs called ``long`` something go on until they are let go, one called ``stubborn`` also where it is
    cancelled, and one called ``broken`` fails."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.most = 0
        self.release = asyncio.Event()

    async def __call__(self, request_id: str) -> None:
        self.began.append(request_id)
        self.most = max(self.most, len(self.began) - len(self.ended) - len(self.cancelled))
        try:
            if request_id == "broken":
                raise ZeroDivisionError
            if request_id.startswith("long"):
                await self.release.wait()
            while request_id == "stubborn" and not self.release.is_set():
                with suppress(asyncio.CancelledError):
                    await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request_id)
            raise
        self.ended.append(request_id)


class Shop:
    """A queue, and those who work it off, each for itself."""

    def __init__(self, new_jobs: Callable[[], DocketJobs | InProcessJobs], stack: AsyncExitStack) -> None:
        self._new_jobs = new_jobs
        self._stack = stack
        self._names = 0

    async def open(self) -> DocketJobs | InProcessJobs:
        """A queue as another process has it."""
        jobs = self._new_jobs()
        if isinstance(jobs, DocketJobs):
            await self._stack.enter_async_context(jobs)
        return jobs

    @asynccontextmanager
    async def worker(
        self,
        crew: Crew,
        lane: Lane = HERE,
        *,
        places: int = 4,
        grace_s: float = FOREVER,
        room: Callable[[], int] | None = None,
    ) -> AsyncGenerator[asyncio.Task[None]]:
        self._names += 1
        jobs = await self.open()
        name = f"worker-{self._names}"
        work = asyncio.create_task(jobs.work(lane, crew, places=places, room=room, name=name, grace_s=grace_s))
        try:
            yield work
        finally:
            crew.release.set()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


@asynccontextmanager
async def a_shop(process: RedisProcess, *, redelivery_s: float = 30.0, slack: float = SLACK) -> AsyncGenerator[Shop]:
    """Workers on a Redis of the test's."""
    server = RedisServer(process.url, role="store", clock=time.monotonic, slack=slack)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.aclose)
        yield Shop(lambda: DocketJobs(server, process.url, redelivery_s=redelivery_s), stack)


# --- the contract -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "in process", *servers()])
async def shop(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[Shop]:
    if request.param in ("fake", "in process"):
        one = FakeJobQueue() if request.param == "fake" else InProcessJobs()
        async with AsyncExitStack() as stack:
            yield Shop(lambda: one, stack)
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    async with a_shop(process) as the_shop:
        yield the_shop
    assert process.keys_without_ttl() == []


@pytest.fixture
async def jobs(shop: Shop) -> JobQueue:
    return await shop.open()


@pytest.fixture
def crew() -> Crew:
    return Crew()


async def test_jobs_run_whether_they_come_before_the_worker_or_after(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    await jobs.submit("early", HERE)
    async with shop.worker(crew):
        await until(lambda: crew.ended == ["early"])
        await jobs.submit("late", HERE)
        await until(lambda: crew.ended == ["early", "late"])


async def test_what_waits_or_runs_is_one_job_however_often_it_comes(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    await jobs.submit("long", HERE)
    await jobs.submit("long", HERE)
    async with shop.worker(crew):
        await until(lambda: crew.began)
        await jobs.submit("long", HERE)
        await jobs.submit("other", HERE)
        await until(lambda: crew.ended == ["other"])
        crew.release.set()
        await until(lambda: "long" in crew.ended)
        await jobs.submit("last", HERE)
        await until(lambda: "last" in crew.ended)
    assert Counter(crew.began) == {"long": 1, "other": 1, "last": 1}


async def test_what_has_ended_runs_again(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    async with shop.worker(crew):
        for times in range(1, 4):
            await until_ended(crew, jobs, "a", times)
    assert crew.began == ["a"] * 3


async def until_ended(crew: Crew, jobs: JobQueue, request_id: str, times: int) -> None:
    """A job's end is known a little later than its handler's: until then, it is the same job."""
    async with asyncio.timeout(10):
        while crew.ended.count(request_id) < times:
            await jobs.submit(request_id, HERE)
            await asyncio.sleep(0.01)


async def test_what_is_cancelled_in_the_queue_never_runs(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    await jobs.submit("unwanted", HERE)
    await jobs.submit("wanted", HERE)
    await jobs.cancel("unwanted", HERE)
    async with shop.worker(crew, places=1):
        await until(lambda: crew.ended == ["wanted"])
    assert crew.began == ["wanted"]


async def test_what_is_cancelled_while_it_runs_is_ended(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    await jobs.submit("long", HERE)
    async with shop.worker(crew):
        await until(lambda: crew.began)
        await jobs.cancel("long", HERE)
        await until(lambda: crew.cancelled == ["long"])
        await jobs.submit("next", HERE)
        await until(lambda: crew.ended == ["next"])
    assert crew.began == ["long", "next"], "and not begun again"


async def test_what_was_cancelled_can_be_submitted_anew(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    await jobs.cancel("a", HERE)
    await jobs.submit("a", HERE)
    await jobs.cancel("a", HERE)
    await jobs.submit("a", HERE)
    async with shop.worker(crew):
        await until(lambda: crew.ended == ["a"])
        await jobs.cancel("a", HERE)
    assert crew.began == ["a"]


async def test_what_was_cancelled_and_goes_on_does_not_undo_what_came_later(
    shop: Shop, jobs: JobQueue, crew: Crew
) -> None:
    await jobs.submit("stubborn", HERE)
    async with shop.worker(crew, places=1):
        await until(lambda: crew.began)
        await jobs.cancel("stubborn", HERE)
        await jobs.submit("stubborn", HERE)
        crew.release.set()
        await until(lambda: crew.ended == ["stubborn"] * 2)


async def test_lanes_do_not_wait_for_one_another(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    other = Crew()
    await jobs.submit("long", Lane.RECORDINGS)
    await jobs.submit("a", HERE)
    async with shop.worker(other, Lane.RECORDINGS, places=1), shop.worker(crew, places=1):
        await until(lambda: crew.ended == ["a"] and other.began == ["long"])
        assert (crew.began, other.ended) == (["a"], [])


async def test_no_more_run_at_a_time_than_there_are_places(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    for number in range(9):
        await jobs.submit(f"long-{number}", HERE)
    async with shop.worker(crew, places=3):
        await until(lambda: len(crew.began) == 3)
        crew.release.set()
        await until(lambda: len(crew.ended) == 9)
    assert crew.most == 3


async def test_a_handler_that_fails_is_not_called_again_and_ends_nothing(
    shop: Shop, jobs: JobQueue, crew: Crew
) -> None:
    async with shop.worker(crew, places=1):
        await jobs.submit("broken", HERE)
        await jobs.submit("a", HERE)
        await until(lambda: crew.ended == ["a"])
    assert crew.began == ["broken", "a"]


async def test_the_end_waits_for_what_is_under_way_and_takes_nothing_more(
    shop: Shop, jobs: JobQueue, crew: Crew
) -> None:
    other = Crew()
    await jobs.submit("long", HERE)
    async with shop.worker(crew) as work:
        await until(lambda: crew.began)
        work.cancel()
        await asyncio.wait([work], timeout=0.2)  # from now on, it takes none
        await jobs.submit("next", HERE)
        async with shop.worker(other):
            await until(lambda: other.ended == ["next"])
            crew.release.set()
            await until(work.done)
            assert crew.ended == crew.began == ["long"]
            await jobs.submit("last", HERE)
            await until(lambda: "last" in other.ended)
    assert other.began == ["next", "last"], "what was waited for has ended"


async def test_what_the_end_does_not_wait_for_runs_elsewhere_at_once(shop: Shop, jobs: JobQueue, crew: Crew) -> None:
    other = Crew()
    await jobs.submit("long-1", HERE)
    await jobs.submit("long-2", HERE)
    async with shop.worker(crew, grace_s=0.05) as work:
        await until(lambda: len(crew.began) == 2)
        work.cancel()
        await until(work.done)
        assert sorted(crew.cancelled) == ["long-1", "long-2"]
        other.release.set()
        async with shop.worker(other):
            await until(lambda: sorted(other.ended) == ["long-1", "long-2"])  # long before it would be redelivered
    assert len(other.began) == 2


async def test_to_stop_ends_the_work_of_all_lanes(shop: Shop, crew: Crew) -> None:
    jobs = await shop.open()
    works = [asyncio.create_task(jobs.work(lane, crew, places=2, name=f"one-{lane}", grace_s=FOREVER)) for lane in Lane]
    for lane in Lane:
        await jobs.submit(f"a-{lane}", lane)
    await until(lambda: len(crew.ended) == len(Lane))
    jobs.stop()
    await asyncio.gather(*works)


# --- a store that is away -----------------------------------------------------------------------------------------


async def crash(store: RedisProcess) -> None:
    """End it once all is in its file: it answers before that while the disk is busy, for two seconds at most."""
    with store.client() as client:
        await until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
    store.kill()


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_a_store_that_is_away_says_so_and_keeps_nobody(own_store: RedisProcess, how: str) -> None:
    async with a_shop(own_store, slack=1.0) as shop:
        jobs = await shop.open()
        await jobs.submit("a", HERE)
        own_store.kill() if how == "gone" else own_store.pause()
        for _ in range(3):
            async with asyncio.timeout(10):
                with pytest.raises(StoreUnavailable):
                    await jobs.submit("b", HERE)
                with pytest.raises(StoreUnavailable):
                    await jobs.cancel("b", HERE)


@pytest.mark.parametrize("server", servers())
async def test_a_store_that_crashes_and_comes_back_costs_no_job(server: str, crew: Crew) -> None:
    with a_server("store", name=server) as store:
        async with a_shop(store, redelivery_s=SOON) as shop, shop.worker(crew, places=2), shop.worker(crew, places=2):
            jobs = await shop.open()
            for number in range(2):
                await jobs.submit(f"long-{number}", HERE)
            await until(lambda: len(crew.began) == 2)
            for number in range(20):
                await jobs.submit(f"a-{number}", HERE)
            await crash(store)
            back_at = time.monotonic() + 2 * SOON
            await until(lambda: time.monotonic() > back_at)
            crew.release.set()  # these end while there is nobody to tell
            await until(lambda: {"long-0", "long-1"} <= {*crew.ended})
            store.start()
            await until(lambda: len({*crew.ended}) == 22)
            await jobs.submit("next", HERE)
            await until(lambda: "next" in crew.ended)
        assert not crew.cancelled


async def test_a_job_under_way_keeps_no_worker_from_going_on_when_the_store_is_back(
    own_store: RedisProcess, crew: Crew
) -> None:
    async with a_shop(own_store, redelivery_s=SOON) as shop, shop.worker(crew):
        jobs = await shop.open()
        await jobs.submit("long", HERE)
        await until(lambda: crew.began)
        await crash(own_store)
        back_at = time.monotonic() + 2 * SOON
        await until(lambda: time.monotonic() > back_at)
        own_store.start()
        await jobs.submit("next", HERE)
        await until(lambda: crew.ended == ["next"])
        crew.release.set()
        await until(lambda: crew.ended == ["next", "long"])
    assert crew.began == ["long", "next"]


async def test_the_end_does_not_wait_for_a_store_that_is_away(own_store: RedisProcess, crew: Crew) -> None:
    other = Crew()
    async with a_shop(own_store, redelivery_s=SOON) as shop:
        jobs = await shop.open()
        await jobs.submit("long", HERE)
        async with shop.worker(crew, grace_s=0.05) as work:
            await until(lambda: crew.began)
            await crash(own_store)
            work.cancel()
            await until(work.done)
            assert crew.cancelled == ["long"]
        own_store.start()
        other.release.set()
        async with shop.worker(other):
            await until(lambda: other.ended == ["long"])


async def come_again(store: RedisProcess) -> None:
    """Bring the only job again to ``worker-1``, who is at it, as where its lease could not be renewed for long."""
    with store.client() as client:

        def came() -> bool:
            stream, group = f"{keys.jobs(HERE)}:stream", "docket-workers"
            (held,) = client.xpending_range(stream, group, "-", "+", 10)
            client.xclaim(stream, group, "worker-1", 0, [held["message_id"]], idle=60_000, justid=True)
            return held["times_delivered"] == 2

        await until(came)


async def test_a_job_is_not_begun_twice_by_the_worker_that_is_at_it(own_store: RedisProcess, crew: Crew) -> None:
    async with a_shop(own_store, redelivery_s=SOON) as shop, shop.worker(crew):
        jobs = await shop.open()
        await jobs.submit("long", HERE)
        await until(lambda: crew.began)
        await come_again(own_store)
        await jobs.submit("next", HERE)
        await until(lambda: crew.ended == ["next"])
        crew.release.set()
        await until(lambda: crew.ended == ["next", "long"])
    assert crew.began == ["long", "next"]


@pytest.mark.parametrize("end", ["cancelled", "let go"])
async def test_a_job_that_came_again_ends_as_one(own_store: RedisProcess, crew: Crew, end: str) -> None:
    other = Crew()
    other.release.set()
    async with a_shop(own_store, redelivery_s=SOON) as shop, shop.worker(crew, grace_s=0.05) as work:
        jobs = await shop.open()
        await jobs.submit("long", HERE)
        await until(lambda: crew.began)
        await come_again(own_store)
        if end == "cancelled":
            await jobs.cancel("long", HERE)
        else:
            work.cancel()
        await until(lambda: crew.cancelled == ["long"])
        await jobs.submit("next", HERE)
        work.cancel()
        await until(work.done)
        async with shop.worker(other, places=1):
            await until(lambda: "next" in [*other.ended, *crew.ended])
            await until(lambda: ("long" in other.ended) == (end == "let go"))


# --- a worker that dies -------------------------------------------------------------------------------------------


def _work_until_killed(url: str) -> None:
    async def work() -> None:
        server = RedisServer(url, role="store", clock=time.monotonic, slack=SLACK)
        async with DocketJobs(server, url, redelivery_s=SOON) as jobs:
            await jobs.work(HERE, Crew(), places=2, name="doomed", grace_s=FOREVER)

    asyncio.run(work())


@pytest.mark.parametrize("server", servers())
async def test_the_jobs_of_a_killed_process_are_somebody_elses_soon(server: str, crew: Crew) -> None:
    with a_server("store", name=server) as store:
        process = multiprocessing.get_context("spawn").Process(target=_work_until_killed, args=(store.url,))
        async with a_shop(store, redelivery_s=SOON) as shop:
            jobs = await shop.open()
            await jobs.submit("long", HERE)
            process.start()
            with store.client() as client:
                await until(lambda: client.hget(f"{keys.jobs(HERE)}:runs:long", "state") == b"running", within=60)
                process.kill()
                await asyncio.to_thread(process.join)
                process.close()
                crew.release.set()
                async with shop.worker(crew):
                    await until(lambda: crew.ended == ["long"])
                    await until(lambda: client.xlen(f"{keys.jobs(HERE)}:stream") == 0)
        assert store.keys_without_ttl() == []


async def test_a_job_that_lasts_stays_with_its_worker_while_that_lives(own_store: RedisProcess, crew: Crew) -> None:
    other = Crew()
    async with a_shop(own_store, redelivery_s=SOON) as shop, shop.worker(crew):
        jobs = await shop.open()
        await jobs.submit("long", HERE)
        await until(lambda: crew.began)
        async with shop.worker(other):
            until_s = time.monotonic() + 3 * SOON
            await until(lambda: time.monotonic() > until_s)
            crew.release.set()
            await until(lambda: crew.ended == ["long"])
    assert other.began == []


async def test_the_end_holds_the_leases_for_as_long_as_it_waits(own_store: RedisProcess, crew: Crew) -> None:
    other = Crew()
    async with a_shop(own_store, redelivery_s=SOON) as shop, shop.worker(crew) as work, shop.worker(other, places=1):
        jobs = await shop.open()
        await jobs.submit("long-1", HERE)
        await jobs.submit("long-2", HERE)
        await until(lambda: len(crew.began) + len(other.began) == 2)
        held, freed = [*crew.began], other.release
        work.cancel()
        freed.set()
        until_s = time.monotonic() + 3 * SOON
        await until(lambda: time.monotonic() > until_s)
        crew.release.set()
        await until(work.done)
        assert crew.ended == held
        assert not {*held} & {*other.began}


async def test_what_cannot_be_read_keeps_no_lane_from_its_work(own_store: RedisProcess, crew: Crew) -> None:
    async with a_shop(own_store) as shop:
        jobs = await shop.open()
        with own_store.client() as client:
            client.xadd(f"{keys.jobs(HERE)}:stream", {"who": "knows"})
            await jobs.submit("a", HERE)
            async with shop.worker(crew):
                await until(lambda: crew.ended == ["a"])
                await until(lambda: client.xlen(f"{keys.jobs(HERE)}:stream") == 0)


# --- keys and addresses -------------------------------------------------------------------------------------------


async def test_the_cleanup_leaves_jobs_alone_and_nothing_of_those_that_ended_stays(
    store_process: RedisProcess, store_server: RedisServer
) -> None:
    crew = Crew()
    async with a_shop(store_process) as shop:
        jobs = await shop.open()
        await jobs.submit("waiting", Lane.RECORDINGS)
        await jobs.submit("broken", HERE)
        await jobs.submit("ended", HERE)
        async with shop.worker(crew, places=1):
            await until(lambda: crew.ended)
        seen = await store_server.call(lambda client: mend(client, cursor=0))
        assert (seen.count, seen.mended) == (0, [])
        with store_process.client() as client:
            ttls = {key.decode(): client.ttl(key) for key in client.scan_iter()}
    waiting, worked = keys.jobs(Lane.RECORDINGS), keys.jobs(HERE)
    endless = {f"{waiting}:stream", f"{waiting}:runs:waiting", f"{worked}:stream"}
    ended = {f"{worked}:runs:broken", f"{worked}:runs:ended"}
    assert {key for key, ttl in ttls.items() if ttl == -1} == endless
    assert ttls.keys() - {f"{worked}:leases:redelivery-sweep"} == endless | ended
    assert all(0 < ttls[key] <= keys.ENDED_JOB_S for key in ended)


@pytest.mark.parametrize("scheme", ["redis", "unix"])
async def test_a_password_and_a_database_are_part_of_the_address(scheme: str, crew: Crew, unused_tcp_port: int) -> None:
    port = unused_tcp_port if scheme == "redis" else None
    with a_server("store", port=port) as store:
        with store.client() as client:
            client.config_set("requirepass", "s3cret")
        rest = store.url.partition("://")[2]
        url = f"redis://:s3cret@127.0.0.1:{port}/3" if port else f"unix://:s3cret@{rest}?db=3"
        server = RedisServer(url, role="store", clock=time.monotonic, slack=SLACK)
        async with DocketJobs(server, url) as jobs:
            work = asyncio.create_task(jobs.work(HERE, crew, places=1, name="one", grace_s=FOREVER))
            await jobs.submit("long", HERE)
            await until(lambda: crew.began)
            await jobs.cancel("long", HERE)
            await until(lambda: crew.cancelled == ["long"])  # which pub/sub carries
            jobs.stop()
            await work
        await server.aclose()


async def test_nobody_there_is_no_hindrance_to_start(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody"
    server = RedisServer(url, role="store", clock=time.monotonic)
    async with DocketJobs(server, url) as jobs:
        with pytest.raises(StoreUnavailable):
            await jobs.submit("a", HERE)
    await server.aclose()


# --- room -----------------------------------------------------------------------------------------------------------


async def test_a_worker_takes_what_it_has_room_for_and_leaves_the_rest_to_others(own_store: RedisProcess) -> None:
    crew, other, room = Crew(), Crew(), 1
    async with a_shop(own_store) as shop, shop.worker(crew, room=lambda: room):
        jobs = await shop.open()
        for number in range(3):
            await jobs.submit(f"long {number}", HERE)
        await until(lambda: len(crew.began) == 1)
        async with shop.worker(other, places=1):
            await until(lambda: len(other.began) == 1)
            room = 2
            await until(lambda: len(crew.began) == 2)
            assert sorted((*crew.began, *other.began)) == ["long 0", "long 1", "long 2"]
