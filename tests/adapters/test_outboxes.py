"""One contract for answers to be delivered, on every Redis that there is and in this process."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bot.adapters.in_process.outbox import InProcessOutbox
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.outbox import IDLE_S, RedisOutbox
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock, FakeOutbox
from tests.redis_servers import MIB, SLACK, a_server, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from bot.core.jobs import Outbox, Parcel
    from tests.redis_servers import RedisProcess

ROOT: Final = Path(__file__).parents[2]
GROUP: Final = "delivery"
A, B, C = ("a" * 16, "b" * 16, "c" * 16)


class Bench:
    """An outbox, and the time that passes for it."""

    def __init__(self, outbox: Outbox, clock: FakeClock, process: RedisProcess | None = None) -> None:
        self.outbox = outbox
        self._clock = clock
        self._process = process

    def pass_time(self, seconds: float) -> None:
        """A server's clock is not to be set: what it holds is made to look older."""
        self._clock.now += seconds
        if self._process is None:
            return
        with self._process.client() as client:
            pending: Any = client.xpending_range(keys.outbox(), GROUP, "-", "+", 1_000)
            for one in pending:
                idle = one["time_since_delivered"] + round(1_000 * seconds)
                entry, taker = one["message_id"], one["consumer"]
                client.xclaim(keys.outbox(), GROUP, taker, 0, [entry], idle=idle, justid=True)

    async def take(self, consumer: str = "here", *, most: int = 10) -> list[tuple[str, int]]:
        """Which requests, and how often they were taken."""
        return [(one.request_id, one.takes) for one in await self.outbox.take(consumer, most=most, wait_s=0)]


@pytest.fixture(params=["fake", "in process", *servers()])
async def bench(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[Bench]:
    clock = FakeClock()
    if request.param in ("fake", "in process"):
        yield Bench(FakeOutbox(clock) if request.param == "fake" else InProcessOutbox(clock=clock), clock)
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    server = RedisServer(process.url, role="store", clock=time.monotonic, slack=SLACK)
    yield Bench(RedisOutbox(server), clock, process)
    await server.aclose()
    assert process.keys_without_ttl() == []


@pytest.fixture
def outbox(bench: Bench) -> Outbox:
    return bench.outbox


# --- the contract -------------------------------------------------------------------------------------------------


async def test_nothing_is_there_at_first(bench: Bench) -> None:
    assert await bench.take() == []


async def test_what_is_posted_is_taken_once_in_its_order(bench: Bench) -> None:
    await bench.outbox.post(A)
    await bench.outbox.post(B)
    await bench.outbox.post(A)
    assert await bench.take(most=2) == [(A, 1), (B, 1)]
    assert await bench.take("there") == [(A, 1)], "a request may have several"
    assert await bench.take() == await bench.take("there") == []


async def test_one_who_waits_gets_what_comes(outbox: Outbox) -> None:
    waiting = asyncio.create_task(outbox.take("here", most=10, wait_s=60))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await outbox.post(A)
    (parcel,) = await asyncio.wait_for(waiting, 10)
    assert (parcel.request_id, parcel.takes) == (A, 1)


async def test_of_several_who_wait_each_gets_another(outbox: Outbox) -> None:
    waiting = [asyncio.create_task(outbox.take(str(number), most=1, wait_s=60)) for number in range(3)]
    for request_id in (A, B, C):
        await outbox.post(request_id)
    async with asyncio.timeout(10):
        found = await asyncio.gather(*waiting)
    assert sorted(parcel.request_id for parcels in found for parcel in parcels) == [A, B, C]


async def test_waiting_ends(outbox: Outbox) -> None:
    began = time.monotonic()
    assert await outbox.take("here", most=10, wait_s=0.2) == []
    assert 0.15 < time.monotonic() - began < 5


async def test_one_that_keeps_still_loses_what_it_took(bench: Bench) -> None:
    await bench.outbox.post(A)
    assert await bench.take() == [(A, 1)]
    bench.pass_time(IDLE_S - 1)
    assert await bench.take("there") == []
    bench.pass_time(1)
    await bench.outbox.post(B)
    assert await bench.take("there", most=1) == [(A, 2)], "before what is new"
    assert await bench.take("there") == [(B, 1)]
    bench.pass_time(IDLE_S)
    assert await bench.take("there") == [(A, 3), (B, 2)], "its own too"


async def test_one_who_waits_gets_what_another_drops(bench: Bench) -> None:
    await bench.outbox.post(A)
    await bench.take()
    waiting = asyncio.create_task(bench.outbox.take("there", most=10, wait_s=60))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    bench.pass_time(IDLE_S)
    (parcel,) = await asyncio.wait_for(waiting, 10)
    assert (parcel.request_id, parcel.takes) == (A, 2)


async def test_one_that_is_at_it_keeps_what_it_took(bench: Bench) -> None:
    await bench.outbox.post(A)
    (parcel,) = await bench.outbox.take("here", most=1, wait_s=0)
    for _ in range(3):
        bench.pass_time(IDLE_S - 1)
        await bench.outbox.keep("here", parcel.entry)
    assert await bench.take("there") == await bench.take() == []
    bench.pass_time(IDLE_S)
    assert await bench.take("there") == [(A, 2)], "keeping is no taking"


async def test_one_that_lost_it_keeps_nothing(bench: Bench) -> None:
    await bench.outbox.post(A)
    (parcel,) = await bench.outbox.take("here", most=1, wait_s=0)
    bench.pass_time(IDLE_S)
    await bench.take("there")
    bench.pass_time(IDLE_S - 1)
    await bench.outbox.keep("here", parcel.entry)
    bench.pass_time(1)
    assert await bench.take("elsewhere") == [(A, 3)]


async def test_what_is_done_never_comes_again(bench: Bench) -> None:
    for request_id in (A, B, C):
        await bench.outbox.post(request_id)
    first, second, _ = await bench.outbox.take("here", most=3, wait_s=0)
    await bench.outbox.done(first.entry, second.entry)
    await bench.outbox.done(first.entry)
    await bench.outbox.done()
    await bench.outbox.keep("here", first.entry)
    await bench.outbox.keep("here")
    bench.pass_time(IDLE_S)
    assert await bench.take() == [(C, 2)]


async def test_to_cancel_one_who_waits_loses_nothing(bench: Bench) -> None:
    posted, found = 40, list[str]()
    for number in range(posted):
        waiting = asyncio.create_task(bench.outbox.take("here", most=10, wait_s=60))
        await asyncio.sleep(0)
        await bench.outbox.post(f"{number:08x}")
        for _ in range(number):  # at another moment each time
            await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            found += [parcel.request_id for parcel in await waiting]
    while len(found) < posted:  # no time passes: what never reached its taker is not waited for
        more = await bench.take()
        assert more
        found += [request_id for request_id, _ in more]
    assert sorted(found) == [f"{number:08x}" for number in range(posted)]
    assert await bench.take() == []


# --- Redis --------------------------------------------------------------------------------------------------------

TAKER: Final = """
import asyncio, sys, time
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.outbox import RedisOutbox

async def main():
    server = RedisServer(sys.argv[1], role="store", clock=time.monotonic)
    taken = await RedisOutbox(server).take("taker", most=10, wait_s=30)
    print(*(parcel.request_id for parcel in taken), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def an_outbox(url: str, **options: float) -> AsyncGenerator[RedisOutbox]:
    server = RedisServer(url, role="store", clock=time.monotonic, slack=SLACK)
    try:
        yield RedisOutbox(server, **options)
    finally:
        await server.aclose()


@pytest.fixture(params=[*servers()])
def process(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> Iterator[RedisProcess]:
    """Every server that there is."""
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    yield process
    assert process.keys_without_ttl() == []


def requests(parcels: list[Parcel]) -> list[str]:
    return [parcel.request_id for parcel in parcels]


async def test_a_group_that_is_lost_is_made_again(process: RedisProcess) -> None:
    async with an_outbox(process.url) as outbox:
        await outbox.post(A)
        await outbox.post(B)
        await outbox.take("here", most=1, wait_s=0)
        with process.client() as client:
            client.xgroup_destroy(keys.outbox(), GROUP)
        await outbox.keep("here", "1-1")
        assert requests(await outbox.take("here", most=10, wait_s=0)) == [A, B], "what is not done is there"


@pytest.mark.parametrize("lost", ["group", "stream"])
async def test_one_who_waits_gets_what_comes_after_a_loss(process: RedisProcess, lost: str) -> None:
    async with an_outbox(process.url) as outbox:
        waiting = asyncio.create_task(outbox.take("here", most=10, wait_s=60))
        with process.client() as client:
            await until(lambda: blocked(client.info("clients")))
            client.xgroup_destroy(keys.outbox(), GROUP) if lost == "group" else client.delete(keys.outbox())
        await outbox.post(A)
        assert requests(await asyncio.wait_for(waiting, 20)) == [A]


def blocked(info: Any) -> bool:
    return info["blocked_clients"] > 0


async def test_what_names_no_request_is_dropped(process: RedisProcess) -> None:
    hostile = [{"request": "../../etc"}, {"request": b"\xff\x00" * 40}, {"other": A}, {"request": ""}]
    async with an_outbox(process.url) as outbox:
        with process.client() as client:
            for fields in hostile:
                client.xadd(keys.outbox(), fields)  # pyright: ignore[reportArgumentType] - bytes are allowed
            await outbox.post(A)
            assert requests(await outbox.take("here", most=10, wait_s=0)) == [A]
            waiting = asyncio.create_task(outbox.take("here", most=10, wait_s=60))
            await until(lambda: blocked(client.info("clients")))
            client.xadd(keys.outbox(), {"request": "z" * 16})
            await outbox.post(B)
            assert requests(await asyncio.wait_for(waiting, 10)) == [B]
            length: Any = client.xlen(keys.outbox())
            pending: Any = client.xpending(keys.outbox(), GROUP)
    assert (length, pending["pending"]) == (2, 2), "the two that were taken"


async def test_what_somebody_deleted_is_passed_over(process: RedisProcess) -> None:
    async with an_outbox(process.url, idle_s=0.001) as outbox:
        await outbox.post(A)
        await outbox.post(B)
        first, _ = await outbox.take("here", most=10, wait_s=0)
        with process.client() as client:
            client.xdel(keys.outbox(), first.entry)
            assert requests(await outbox.take("there", most=10, wait_s=10)) == [B]
            pending: Any = client.xpending(keys.outbox(), GROUP)
    assert pending["pending"] == 1


async def test_one_that_starts_again_gets_what_it_had(process: RedisProcess) -> None:
    async with an_outbox(process.url) as before, an_outbox(process.url) as after:
        await before.post(A)
        await before.take("here", most=10, wait_s=0)
        assert requests(await after.take("there", most=10, wait_s=0)) == []
        assert requests(await after.take("here", most=10, wait_s=0)) == [A]


async def test_nothing_stays_in_memory_of_what_others_did(process: RedisProcess) -> None:
    async with an_outbox(process.url, idle_s=0.001) as slow, an_outbox(process.url) as quick:
        await slow.post(A)
        await slow.take("slow", most=10, wait_s=0)
        (parcel,) = await slow.take("quick", most=10, wait_s=10)  # `slow` has the shorter patience
        await quick.done(parcel.entry)
        await slow.take("slow", most=10, wait_s=0)
        await slow.take("quick", most=10, wait_s=0)
        assert slow._takers == {}  # pyright: ignore[reportPrivateUsage] - it shows nowhere else


async def test_consumers_that_are_gone_leave_nothing(process: RedisProcess) -> None:
    async with an_outbox(process.url) as outbox, an_outbox(process.url, gone_s=0.001) as tidy:
        await outbox.post(A)
        await outbox.take("busy", most=10, wait_s=0)
        await outbox.take("gone", most=10, wait_s=0)
        await outbox.take("gone too", most=10, wait_s=0)
        with process.client() as client:
            await until(lambda: all(one["idle"] > 1 for one in consumers(client)))
            await tidy.take("here", most=10, wait_s=0)
            names = {one["name"] for one in consumers(client)}
        assert {b"gone", b"gone too"}.isdisjoint(names)
        assert b"busy" in names
        assert requests(await outbox.take("here", most=10, wait_s=0.01)) == [], "it is not yet taken for dead"


def consumers(client: Any) -> list[Any]:
    return client.xinfo_consumers(keys.outbox(), GROUP)


async def test_each_answer_makes_the_outbox_last(process: RedisProcess) -> None:
    async with an_outbox(process.url) as outbox:
        await outbox.post(A)
        with process.client() as client:
            client.expire(keys.outbox(), 10)
            await outbox.post(B)
            ttl: Any = client.ttl(keys.outbox())
    assert keys.DELIVERY_S - 60 < ttl <= keys.DELIVERY_S


@pytest.mark.parametrize("name", servers())
async def test_a_server_that_is_killed_loses_nothing(name: str) -> None:
    posted = [f"{number:08x}" for number in range(300)]
    with a_server("store", name=name) as process:
        async with an_outbox(process.url) as outbox:
            for request_id in posted:
                await outbox.post(request_id)
            done, taken = await outbox.take("here", most=2, wait_s=0)
            await outbox.done(done.entry)
        process.kill()
        process.start()
        async with an_outbox(process.url) as outbox:
            (again,) = await outbox.take("here", most=1, wait_s=0)
            found = requests(await outbox.take("there", most=1_000, wait_s=0))
            assert (again.request_id, again.takes) == (taken.request_id, 2)
            assert found == posted[2:]
        assert process.keys_without_ttl() == []


async def test_a_process_that_is_killed_leaves_what_it_took(process: RedisProcess) -> None:
    async with an_outbox(process.url, idle_s=0.5) as outbox:
        await outbox.post(A)
        await outbox.post(B)
        taker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", TAKER, process.url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert taker.stdout is not None
        assert (await taker.stdout.readline()).split() == [A.encode(), B.encode()]
        taker.kill()
        await taker.communicate()
        parcels = await outbox.take("here", most=10, wait_s=30)
        assert [(one.request_id, one.takes) for one in parcels] == [(A, 2), (B, 2)]


@pytest.mark.parametrize("name", servers())
async def test_answers_leave_a_store_that_is_full(name: str) -> None:
    with a_server("store", name=name, maxmemory=8 * MIB) as process:
        async with an_outbox(process.url) as outbox:
            await outbox.post(A)
            await outbox.post(B)
            (parcel,) = await outbox.take("here", most=1, wait_s=0)
            with process.client() as client:
                client.set("filler", b"x" * MIB, ex=600)
                client.config_set("maxmemory", "1mb")
            with pytest.raises(StoreUnavailable):
                await outbox.post(C)
            await outbox.keep("here", parcel.entry)
            await outbox.done(parcel.entry)
            (parcel,) = await outbox.take("there", most=10, wait_s=5)
            await outbox.done(parcel.entry)
            assert parcel.request_id == B


@pytest.mark.parametrize("how", ["dead", "silent"])
async def test_a_store_that_goes_is_told_and_comes_back(own_store: RedisProcess, how: str) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    outbox = RedisOutbox(server)
    await outbox.post(A)
    await outbox.take("here", most=10, wait_s=0)
    waiting = asyncio.create_task(outbox.take("here", most=10, wait_s=60))
    with own_store.client() as client:
        await until(lambda: blocked(client.info("clients")))
    own_store.kill() if how == "dead" else own_store.pause()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(waiting, 20)
    with pytest.raises(StoreUnavailable):
        await outbox.post(B)
    own_store.start() if how == "dead" else own_store.resume()
    found: list[str] = []
    async with asyncio.timeout(20):
        while B not in found:
            with suppress(StoreUnavailable):
                await outbox.post(B)
                found += requests(await outbox.take("here", most=10, wait_s=1))
    assert A not in found, "it is still being delivered"
    await server.aclose()
    assert own_store.keys_without_ttl() == []


async def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    async with an_outbox(f"unix://{tmp_path}/nobody") as outbox:
        with pytest.raises(StoreUnavailable):
            await outbox.post(A)
        with pytest.raises(StoreUnavailable):
            await outbox.take("here", most=10, wait_s=60)
        with pytest.raises(StoreUnavailable):
            await outbox.keep("here", "1-1")
        with pytest.raises(StoreUnavailable):
            await outbox.done("1-1")
