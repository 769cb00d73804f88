"""One contract for progress on its way, over every Redis that there is and in this process."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from bot.adapters.in_process.progress_bus import InProcessProgressBus
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.progress_bus import LONGEST_TEXT, RedisProgressBus
from bot.core.models import Progress, Stage
from tests.fakes import FakeObserver, FakeProgressBus
from tests.redis_servers import SLACK, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from bot.core.jobs import ProgressBus
    from tests.redis_servers import RedisProcess

A, B = ("a" * 16, "b" * 16)
FETCHING: Final = Progress(stage=Stage.FETCH, waiting=True)
HEARING: Final = Progress(stage=Stage.TRANSCRIBE, fraction=0.5, transcript_text="Grüße 🎧\n\x00")
DONE: Final = Progress(stage=Stage.COMPLETE, fraction=1.0, transcript_text="Hello.", result_text="All is well.")


class Bench:
    """A bus as the process of a job has it, and as the one that shows it does; ``process`` lies between."""

    def __init__(self, there: ProgressBus, here: ProgressBus, process: RedisProcess | None = None) -> None:
        self.there = there
        self.here = here
        self._process = process

    async def subscribe(self, request_id: str, observer: Callable[[Progress], None]) -> Callable[[], None]:
        end = self.here.subscribe(request_id, observer)
        if self._process is not None:
            await listened(self._process)
        return end


async def listened(process: RedisProcess, count: int = 1) -> None:
    """Wait until so many listen."""
    with process.client() as client:

        def are() -> bool:
            found: Any = client.client_list(_type="pubsub")
            return [one["psub"] for one in found] == ["1"] * count

        await until(are)


@asynccontextmanager
async def a_bus(url: str, origin: str, *, slack: float = SLACK, **options: float) -> AsyncGenerator[RedisProgressBus]:
    server = RedisServer(url, role="store", clock=time.monotonic, slack=slack)
    try:
        async with RedisProgressBus(server, origin=origin, **options) as bus:
            yield bus
    finally:
        await server.aclose()


@pytest.fixture(params=["fake", "in process", *servers()])
async def bench(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[Bench]:
    if request.param in ("fake", "in process"):
        bus = FakeProgressBus() if request.param == "fake" else InProcessProgressBus()
        yield Bench(bus, bus)
        return
    process = processes(request.param)
    async with a_bus(process.url, "there") as there, a_bus(process.url, "here") as here:
        yield Bench(there, here, process)
    assert process.keys_without_ttl() == []


# --- the contract -------------------------------------------------------------------------------------------------


async def test_progress_reaches_whoever_shows_that_request(bench: Bench) -> None:
    one, two, other = FakeObserver(), FakeObserver(), FakeObserver()
    await bench.subscribe(A, one)
    await bench.subscribe(A, two)
    await bench.subscribe(B, other)
    for progress in (FETCHING, HEARING, DONE):
        bench.there.publish(A, progress)
        await until(lambda progress=progress: one.seen[-1:] == two.seen[-1:] == [progress])
    assert one.seen == two.seen == [FETCHING, HEARING, DONE]
    assert other.seen == []


async def test_what_is_shown_no_more_is_not_told(bench: Bench) -> None:
    stays, leaves = FakeObserver(), FakeObserver()
    await bench.subscribe(A, stays)
    end = await bench.subscribe(A, leaves)
    bench.there.publish(A, FETCHING)
    await until(lambda: stays.seen and leaves.seen)
    end()
    end()
    bench.there.publish(A, DONE)
    await until(lambda: stays.seen == [FETCHING, DONE])
    assert leaves.seen == [FETCHING]


async def test_one_that_raises_harms_nobody(bench: Bench) -> None:
    calls: list[Progress] = []

    def broken(progress: Progress) -> None:
        calls.append(progress)
        raise RuntimeError

    observer = FakeObserver()
    await bench.subscribe(A, broken)
    await bench.subscribe(A, observer)
    bench.there.publish(A, FETCHING)
    await until(lambda: observer.seen == [FETCHING])
    bench.there.publish(A, DONE)
    await until(lambda: observer.seen == [FETCHING, DONE])
    assert calls == [FETCHING, DONE]


async def test_one_may_leave_while_it_is_told(bench: Bench) -> None:
    told: list[Progress] = []
    ends: list[Callable[[], None]] = []

    def once(progress: Progress) -> None:
        told.append(progress)
        ends[0]()

    observer = FakeObserver()
    ends.append(await bench.subscribe(A, once))
    await bench.subscribe(A, observer)
    for progress in (FETCHING, DONE):
        bench.there.publish(A, progress)
        await until(lambda progress=progress: observer.seen[-1:] == [progress])
    assert told == [FETCHING]


async def test_the_newest_always_comes(bench: Bench) -> None:
    observer = FakeObserver()
    await bench.subscribe(A, observer)
    for number in range(1, 1_001):
        bench.there.publish(A, Progress(stage=Stage.TRANSCRIBE, fraction=number / 1_000))
    await until(lambda: observer.seen[-1:] == [Progress(stage=Stage.TRANSCRIBE, fraction=1.0)])
    fractions = [progress.fraction or 0.0 for progress in observer.seen]
    assert fractions == sorted(set(fractions)), "in its order, and nothing twice"


# --- Redis --------------------------------------------------------------------------------------------------------


async def test_it_is_told_no_more_often_than_is_of_use(store_process: RedisProcess) -> None:
    observer = FakeObserver()
    async with a_bus(store_process.url, "there") as there, a_bus(store_process.url, "here") as here:
        here.subscribe(A, observer)
        await listened(store_process)
        began, number = time.monotonic(), 0
        while len(observer.seen) < 4:
            number += 1
            there.publish(A, Progress(stage=Stage.COMPLETE, result_text=str(number)))
            await asyncio.sleep(0.005)
        assert time.monotonic() - began > 3 * 0.3 * 0.9
    assert number > len(observer.seen)


async def test_requests_do_not_wait_for_one_another(store_process: RedisProcess) -> None:
    observers = {f"{number:08x}": FakeObserver() for number in range(300)}
    async with a_bus(store_process.url, "there") as there, a_bus(store_process.url, "here") as here:
        for request_id, observer in observers.items():
            here.subscribe(request_id, observer)
        await listened(store_process)
        for progress in (FETCHING, HEARING):  # the second comes before the first is on its way
            for request_id in observers:
                there.publish(request_id, progress)
        await until(lambda: all(observer.seen == [HEARING] for observer in observers.values()))


async def test_who_is_in_the_same_process_is_told_at_once_and_once(store_process: RedisProcess) -> None:
    near, far = FakeObserver(), FakeObserver()
    async with a_bus(store_process.url, "here") as here, a_bus(store_process.url, "there") as there:
        here.subscribe(A, near)
        there.subscribe(A, far)
        await listened(store_process, 2)
        for progress in (FETCHING, HEARING):
            here.publish(A, progress)
        assert near.seen == [FETCHING, HEARING]
        await until(lambda: HEARING in far.seen)
        there.publish(A, DONE)
        await until(lambda: DONE in near.seen)
        assert near.seen == [FETCHING, HEARING, DONE]


async def test_as_much_of_the_texts_is_told_as_is_shown_and_can_be_written(store_process: RedisProcess) -> None:
    observer = FakeObserver()
    async with a_bus(store_process.url, "there") as there, a_bus(store_process.url, "here") as here:
        here.subscribe(A, observer)
        await listened(store_process)
        long = "x" + "\x01" * LONGEST_TEXT  # six bytes each, as JSON writes it
        there.publish(A, Progress(stage=Stage.COMPLETE, fraction=1.01, transcript_text=long, result_text="a\ud83d"))
        await until(lambda: observer.seen)
        result = "\x01" * LONGEST_TEXT + "x"
        there.publish(
            A, Progress(stage=Stage.COMPLETE, fraction=float("nan"), result_text=result, transcript_text=long)
        )
        await until(lambda: len(observer.seen) == 2)
    cut = "\x01" * LONGEST_TEXT
    assert observer.seen == [
        Progress(stage=Stage.COMPLETE, fraction=1.0, transcript_text=cut, result_text="a?"),
        Progress(stage=Stage.COMPLETE, transcript_text=cut, result_text=cut),
    ]


SOUND: Final = {
    "schema_version": 1,
    "origin": "elsewhere",
    "stage": "fetch",
    "fraction": 0.25,
    "waiting": False,
    "transcript_text": "",
    "result_text": "",
}


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[" * 50_000,
        b'{"stage": "fetch"}',
        json.dumps({**SOUND, "fraction": 7}).encode(),
        json.dumps({**SOUND, "fraction": float("nan")}).encode(),
        json.dumps({**SOUND, "stage": "dance"}).encode(),
        json.dumps({**SOUND, "schema_version": 2}).encode(),
        json.dumps({**SOUND, "more": 1}).encode(),
        json.dumps({**SOUND, "result_text": "x" * (LONGEST_TEXT + 1)}).encode(),
        json.dumps({**SOUND, "result_text": "\ud800"}).encode(),
        json.dumps(SOUND).encode() + b" " * (64 << 10),
    ],
)
async def test_what_is_no_progress_is_dropped(store_process: RedisProcess, hostile: bytes) -> None:
    observer = FakeObserver()
    async with a_bus(store_process.url, "here") as here:
        here.subscribe(A, observer)
        await listened(store_process)
        with store_process.client() as client:
            client.publish(keys.progress(A), hostile)
            client.publish(keys.PROGRESS, json.dumps(SOUND))
            client.publish(keys.progress(A) + "\xff", json.dumps(SOUND))
            client.publish(keys.progress(A), json.dumps(SOUND))
        await until(lambda: observer.seen)
    assert observer.seen == [Progress(stage=Stage.FETCH, fraction=0.25)]


@pytest.mark.parametrize("how", ["dead", "silent", "cut off"])
async def test_after_an_absence_all_comes_by_itself(own_store: RedisProcess, how: str) -> None:
    near, far = FakeObserver(), FakeObserver()
    async with (
        a_bus(own_store.url, "there", slack=1) as there,
        a_bus(own_store.url, "here", slack=1, ping_s=0.2) as here,
    ):
        here.subscribe(A, far)
        there.subscribe(A, near)
        await listened(own_store, 2)
        leave(own_store, how)
        there.publish(A, FETCHING)
        assert near.seen == [FETCHING]
        come_back(own_store, how)

        def is_seen() -> bool:
            there.publish(A, DONE)
            return DONE in far.seen

        await until(is_seen, within=30)


def leave(store: RedisProcess, how: str) -> None:
    if how == "cut off":
        with store.client() as client:
            client.client_kill_filter(_type="pubsub")
    else:
        store.kill() if how == "dead" else store.pause()


def come_back(store: RedisProcess, how: str) -> None:
    if how != "cut off":
        store.start() if how == "dead" else store.resume()


async def test_what_was_told_during_a_short_absence_comes_after_it(own_store: RedisProcess) -> None:
    observer = FakeObserver()
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    async with RedisProgressBus(server, origin="there") as there, a_bus(own_store.url, "here") as here:
        here.subscribe(A, observer)
        await listened(own_store)
        own_store.pause()
        there.publish(A, FETCHING)
        there.publish(A, DONE)
        await until(lambda: server.failures)
        own_store.resume()
        await until(lambda: observer.seen == [DONE])
    await server.aclose()


@asynccontextmanager
async def a_network(process: RedisProcess, deaf: set[int]) -> AsyncGenerator[tuple[str, list[int]]]:
    """A way to a server that drops what is sent on ``deaf`` connections; gives its URL and its connections."""
    path = process.url.removeprefix("unix://")
    numbers: list[int] = []
    pumps: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while data := await reader.read(65_536):
            if number not in deaf:
                writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(numbers)
        numbers.append(number)
        up_reader, up_writer = await asyncio.open_unix_connection(path)
        pumps.append(asyncio.create_task(pump(reader, up_writer, number)))
        pumps.append(asyncio.create_task(pump(up_reader, writer, number)))

    network = await asyncio.start_server(connect, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{network.sockets[0].getsockname()[1]}/0", numbers
    network.close()
    await asyncio.gather(*pumps)


async def test_a_connection_that_has_fallen_silent_is_replaced(own_store: RedisProcess) -> None:
    observer, deaf = FakeObserver(), set[int]()
    async with (
        a_network(own_store, deaf) as (url, connections),
        a_bus(own_store.url, "there") as there,
        a_bus(url, "here", ping_s=0.2) as here,
    ):
        here.subscribe(A, observer)
        await listened(own_store)
        assert connections == [0]
        deaf.add(0)

        def is_seen() -> bool:
            there.publish(A, DONE)
            return DONE in observer.seen

        await until(is_seen, within=30)
        assert len(connections) > 1


async def test_an_idle_connection_is_kept(own_store: RedisProcess) -> None:
    async with a_bus(own_store.url, "here", ping_s=0.02) as here:
        here.subscribe(A, FakeObserver())
        await listened(own_store)
        with own_store.client() as client:

            def pings() -> int:
                stats: Any = client.info("commandstats")
                return stats.get("cmdstat_ping", {"calls": 0})["calls"]

            def connections() -> list[int]:
                found: Any = client.client_list(_type="pubsub")
                return [one["id"] for one in found]

            before, asked = connections(), pings()
            await until(lambda: pings() >= asked + 5)
            assert connections() == before


async def test_a_long_absence_leaves_no_pile(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    async with a_bus(f"unix://{tmp_path}/nobody", "there") as there:
        for number in range(100):
            there.publish(f"{number:08x}", DONE)
        assert len(asyncio.all_tasks() - tasks) == 100
        await until(lambda: asyncio.all_tasks() == tasks)


async def test_nothing_goes_on_after_its_end(store_process: RedisProcess) -> None:
    observer, tasks = FakeObserver(), asyncio.all_tasks()
    async with a_bus(store_process.url, "here") as here:
        here.subscribe(A, observer)
        await listened(store_process)
        here.publish(A, FETCHING)
        here.publish(B, FETCHING)
    assert asyncio.all_tasks() == tasks
    here.publish(A, DONE)
    here.subscribe(B, observer)()
    await here.aclose()
    assert asyncio.all_tasks() == tasks
    assert observer.seen == [FETCHING, DONE], "within the process it is told all the same"
