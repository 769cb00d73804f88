"""What the cleanup mends, what it takes away, and who does it."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from bot.adapters.redis import keys
from bot.adapters.redis.cleanup import RELIEVE_ABOVE, RELIEVE_TO, TICK_S, Cleanup
from bot.adapters.redis.connections import STEADY, RedisServer, Way
from bot.adapters.redis.policies import memory_of, memory_share
from bot.adapters.redis.turn import LEASE, LEASE_S, Turn
from bot.core.errors import StoreUnavailable
from bot.core.quotas import DAY_S, HOUR_S, BucketId
from tests.fakes import FakeClock
from tests.redis_servers import MIB, SLACK, a_server, servers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.redis_servers import RedisProcess

GUILD = 7


class OneLease:
    """`Leases` in memory; they end only when they are released."""

    def __init__(self, *, away: bool = False) -> None:
        self.owners: dict[str, str] = {}
        self.away = away

    async def take(self, name: str, owner: str, *, ttl_s: float) -> bool:
        if self.away:
            raise StoreUnavailable("away")
        assert ttl_s == LEASE_S
        return self.owners.setdefault(name, owner) == owner

    async def release(self, name: str, owner: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        if self.owners.get(name) == owner:
            del self.owners[name]


class FaultyServer(RedisServer):
    """A server that is well, and the code that asks it is not, so many times."""

    faults = 0

    async def call(self, operation: Callable[[Any], Awaitable[Any]], *, way: Way = STEADY) -> Any:
        if self.faults > 0:
            self.faults -= 1
            raise ZeroDivisionError
        return await super().call(operation, way=way)


class FaultyLease(OneLease):
    """Likewise, once."""

    faulty = True

    async def take(self, name: str, owner: str, *, ttl_s: float) -> bool:
        if self.faulty:
            self.faulty = False
            raise ZeroDivisionError
        return await super().take(name, owner, ttl_s=ttl_s)


class EnoughError(Exception):
    """A test has seen enough of what runs for ever."""


class Time:
    """A clock that moves only by sleeping, and ends a test after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.clock = FakeClock()
        self._end = self.clock.now + seconds

    async def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        await asyncio.sleep(0)
        if self.clock.now >= self._end:
            raise EnoughError


async def no_worker() -> bool:
    return False


def turn(
    leases: OneLease | None = None, owner: str = "me", *, worker: bool = False, worker_lives: bool = False
) -> Turn:
    async def lives() -> bool:
        return worker_lives

    return Turn(leases=leases or OneLease(), owner=owner, prefer_me=worker, worker_lives=lives)


def a_cleanup(
    store: RedisServer,
    cache: RedisServer,
    *,
    counts: Counter[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Cleanup:
    return Cleanup(store, cache, turn=turn(), counts=Counter() if counts is None else counts, clock=clock)


async def run(
    store: RedisServer,
    cache: RedisServer,
    *,
    whose: Turn,
    seconds: float,
) -> Counter[str]:
    """What a cleanup did in so many seconds."""
    passing, counts = Time(seconds), Counter[str]()
    cleanup = Cleanup(store, cache, turn=whose, counts=counts, clock=passing.clock, sleep=passing.sleep)
    with suppress(EnoughError):
        await cleanup.run_forever()
    return counts


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged from WARNING up."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(sink)


# --- what has no end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "seconds"),
    [
        (keys.flight_lock("work"), keys.FLIGHT_NEWS_S),
        (keys.flight_news("work"), keys.FLIGHT_NEWS_S),
        (keys.lease("cleanup"), LEASE_S),
        (keys.request("1"), keys.DELIVERY_S),
        (keys.transcript("1"), keys.DELIVERY_S),
        (keys.bucket(BucketId(guild_id=GUILD, member_id=1)), keys.DELIVERY_S),
        (keys.settings(GUILD), keys.SETTINGS_S),
        (keys.cached("1"), DAY_S),
    ],
)
async def test_what_should_have_an_end_gets_one(
    store_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer, key: str, seconds: float
) -> None:
    with store_process.client() as client:
        client.set(key, "x")
        report = await a_cleanup(store_server, cache_server).once()
        assert seconds - 5 < float(str(client.ttl(key))) <= seconds
    assert (report.scanned, report.mended, report.deleted) == (1, 1, 0)


async def test_what_has_an_end_or_is_not_ours_stays_as_it_is(
    own_store: RedisProcess, cache_server: RedisServer, warnings: list[str]
) -> None:
    endless = ["docket:stream", "earshots", "earshotter:1"]
    store = RedisServer(own_store.url, role="store", clock=time.monotonic)
    with own_store.client() as client:
        for key in endless:
            client.set(key, "x")
        client.set(keys.request("1"), "x", ex=1_000)
        report = await a_cleanup(store, cache_server).once()
        assert [client.ttl(key) for key in endless] == [-1] * 3
        assert 990 < float(str(client.ttl(keys.request("1")))) <= 1_000
    await store.aclose()
    assert (report.scanned, report.mended, report.deleted) == (1, 0, 0)
    assert warnings == []


async def test_thousands_of_keys_are_all_seen_and_told_in_one_line(
    store_process: RedisProcess, cache_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    told: list[str] = []
    sink = logger.add(lambda message: told.append(message.record["message"]), level="INFO")
    for process, name in ((store_process, keys.request), (cache_process, keys.cached)):
        with process.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(3_000):
                pipeline.set(name(str(number)), "x")
            pipeline.execute()
    report = await a_cleanup(store_server, cache_server).once()
    logger.remove(sink)
    assert (report.scanned, report.mended) == (6_000, 6_000)
    assert len(told) == 1
    assert told[0].startswith("6000 keys had no end")


async def test_a_look_that_takes_too_long_is_gone_on_with_an_hour_later(
    store_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    clock = FakeClock()

    def slow() -> float:
        clock.now += 25
        return clock.now

    with store_process.client() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(3_000):
            pipeline.set(keys.request(str(number)), "x")
        pipeline.execute()
    counts = Counter[str]()
    cleanup = a_cleanup(store_server, cache_server, counts=counts, clock=slow)
    first = await cleanup.once()
    assert 0 < first.mended < 1_500
    looks = 1
    while counts["mended"] < 3_000:
        await cleanup.once()
        looks += 1
        assert looks < 20
    assert store_process.keys_without_ttl() == []


async def test_what_is_over_leaves_its_index(
    store_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    indexes = [keys.member(GUILD, 1), keys.member(None, 1), keys.deliveries(GUILD, 1), keys.heartbeats("worker")]
    with store_process.client() as client:
        now = int(client.time()[0])  # pyright: ignore[reportIndexIssue]
        for index in indexes:
            client.zadd(index, {"over": now - 2 * HOUR_S, "just over": now - 60, "lasts": now + 60})
            client.expire(index, 600)
        gone = keys.deliveries(GUILD, 2)
        client.zadd(gone, {"over": now - 2 * HOUR_S})
        client.expire(gone, 600)
        client.set(keys.member(GUILD, 3), "not an index at all", ex=600)
        report = await a_cleanup(store_server, cache_server).once()
        # Clocks of two machines differ: what has only just ended by this one may be alive by another.
        assert [client.zrange(index, 0, -1) for index in indexes] == [[b"just over", b"lasts"]] * 4
        assert not client.exists(gone)
    assert (report.scanned, report.mended, report.deleted) == (6, 0, 5)


# --- room in the cache --------------------------------------------------------------------------------------------


def filled(process: RedisProcess, idle_s: dict[str, int], *, size: int = MIB) -> None:
    """Put keys into a cache that were last used so many seconds ago."""
    with process.client() as client:
        client.set("pattern", b"x" * size, ex=60)
        payload: Any = client.dump("pattern")
        client.delete("pattern")
        for key, seconds in idle_s.items():
            client.restore(keys.cached(key), 600_000, payload, idletime=seconds)


def names(process: RedisProcess) -> set[str]:
    with process.client() as client:
        found: list[Any] = list(client.scan_iter(count=1_000))
    return {key.decode().rpartition(":")[2] for key in found}


async def test_a_cache_with_room_is_left_alone(
    cache_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    filled(cache_process, {f"{number}": 1_000 for number in range(20)})
    assert await a_cleanup(store_server, cache_server).relieve() is None
    assert len(names(cache_process)) == 20


async def test_the_cold_go_first(
    cache_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    filled(cache_process, {f"cold-{number}": 5_000 + number for number in range(20)})
    filled(cache_process, {f"warm-{number}": 10 for number in range(34)})
    report = await a_cleanup(store_server, cache_server).relieve()
    share = await memory_share(cache_server)
    assert report is not None
    assert share is not None
    assert 0.6 < share < 0.7, "not more than needed"
    left = names(cache_process)
    assert sum(name.startswith("warm") for name in left) == 34
    assert "cold-19" not in left
    assert "cold-0" in left
    assert report.deleted == 54 - len(left)
    assert report.deleted * MIB <= report.freed_bytes <= report.deleted * 1.1 * MIB


async def test_of_what_is_as_cold_the_large_go_first(
    cache_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    filled(cache_process, {f"small-{number}": 1_000 for number in range(400)}, size=64 * 1_024)
    filled(cache_process, {f"large-{number}": 1_000 for number in range(28)})
    await a_cleanup(store_server, cache_server).relieve()
    left = names(cache_process)
    assert sum(name.startswith("small") for name in left) == 400
    assert 0 < sum(name.startswith("large") for name in left) < 28


async def test_what_was_just_used_still_has_a_size(
    cache_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    filled(cache_process, {f"{number}": 0 for number in range(54)})
    await a_cleanup(store_server, cache_server).relieve()
    assert 35 < len(names(cache_process)) < 46


async def test_what_is_not_ours_stays(own_cache: RedisProcess, store_server: RedisServer) -> None:
    server = RedisServer(own_cache.url, role="cache", clock=time.monotonic)
    with own_cache.client() as client:
        for number in range(54):
            client.set(f"another:{number}", b"x" * MIB)
    report = await a_cleanup(store_server, server).relieve()
    await server.aclose()
    assert report is not None
    assert (report.scanned, report.deleted) == (0, 0)
    assert len(names(own_cache)) == 54


@pytest.mark.parametrize("unknown", ["sizes", "idle times"])
async def test_what_the_server_does_not_tell_is_done_without(
    own_cache: RedisProcess, store_server: RedisServer, unknown: str
) -> None:
    url = own_cache.url
    with own_cache.client() as client:
        if unknown == "sizes":
            client.execute_command("ACL", "SETUSER", "tenant", "on", ">secret", "~*", "&*", "+@all", "-memory")
            url = url.replace("unix://", "unix://tenant:secret@")
        else:
            client.config_set("maxmemory-policy", "allkeys-lfu")
        for number in range(54):
            client.set(keys.cached(f"{number}"), b"x" * MIB, ex=600)
    server = RedisServer(url, role="cache", clock=time.monotonic)
    await a_cleanup(store_server, server).relieve()
    share = await memory_share(server)
    await server.aclose()
    assert share is not None
    assert 0.6 < share < 0.7


def fill_up(process: RedisProcess, share: float, *, value: bytes) -> int:
    """Put keys of one size into a cache until so much of its memory is used; how many there are."""
    with process.client() as client:
        limit: Any = client.config_get("maxmemory")["maxmemory"]  # pyright: ignore[reportIndexIssue]
        count = 0
        while used_memory(client) < share * int(limit):
            with client.pipeline(transaction=False) as pipeline:
                for _ in range(500):
                    pipeline.set(keys.cached(str(count)), value, ex=600)
                    count += 1
                pipeline.execute()
        return count


def used_memory(client: Any) -> int:
    return client.info("memory")["used_memory"]


@pytest.fixture(params=servers())
def each_cache(request: pytest.FixtureRequest) -> Iterator[RedisProcess]:
    """A cache of the test's own, of each kind that there is."""
    with a_server("cache", name=request.param) as process:
        yield process


async def test_a_huge_cache_is_judged_by_a_part_at_a_time(each_cache: RedisProcess, store_server: RedisServer) -> None:
    server = RedisServer(each_cache.url, role="cache", clock=time.monotonic, slack=SLACK)
    count = fill_up(each_cache, RELIEVE_ABOVE + 0.02, value=b"x" * 1_000)
    cleanup = a_cleanup(store_server, server, clock=FakeClock())  # however long it takes
    report = await cleanup.relieve()
    memory = await memory_of(server)
    await server.aclose()
    assert report is not None
    assert memory is not None
    assert memory.used < RELIEVE_TO * memory.limit
    assert count > 40_000
    assert 20_000 <= report.scanned < 21_000, "half of one part is enough, and a remainder is no cause for another"
    assert report.deleted <= 0.5 * report.scanned + 1


async def test_where_one_part_is_not_enough_the_next_one_is_judged(
    own_cache: RedisProcess, store_server: RedisServer
) -> None:
    server = RedisServer(own_cache.url, role="cache", clock=time.monotonic, slack=SLACK)
    count = fill_up(own_cache, 0.95, value=b"x" * 500)
    report = await a_cleanup(store_server, server, clock=FakeClock()).relieve()
    share = await memory_share(server)
    await server.aclose()
    assert report is not None
    assert share is not None
    assert share < RELIEVE_TO
    assert report.deleted > 10_500, "more than the half of one part"
    assert 40_000 <= report.scanned < count


async def test_small_keys_whose_size_is_not_told_are_looked_at_once(
    each_cache: RedisProcess, store_server: RedisServer
) -> None:
    with each_cache.client() as client:
        client.execute_command("ACL", "SETUSER", "tenant", "on", ">secret", "~*", "&*", "+@all", "-memory")
    url = each_cache.url.replace("unix://", "unix://tenant:secret@")
    server = RedisServer(url, role="cache", clock=time.monotonic, slack=SLACK)
    count = fill_up(each_cache, RELIEVE_ABOVE + 0.02, value=b"x" * 20_000)
    report = await a_cleanup(store_server, server, clock=FakeClock()).relieve()
    share = await memory_share(server)
    await server.aclose()
    assert report is not None
    assert share is not None
    assert RELIEVE_TO - 0.02 < share < RELIEVE_TO, "not more than needed, though each counted for much more"
    assert report.scanned == count


# --- who does it --------------------------------------------------------------------------------------------------


async def test_one_process_at_a_time(
    store_process: RedisProcess, store_server: RedisServer, cache_server: RedisServer
) -> None:
    with store_process.client() as client:
        client.set(keys.request("1"), "x", ex=600)
    leases = OneLease()
    assert await turn(leases, "other").mine()
    idle = await run(store_server, cache_server, whose=turn(leases), seconds=3 * HOUR_S)
    assert idle == {}
    await leases.release(LEASE, "other")
    busy = await run(store_server, cache_server, whose=turn(leases), seconds=3 * HOUR_S)
    assert busy["scanned"] == 3, "once an hour"
    assert leases.owners == {}, "given back"


async def test_others_give_way_to_a_worker() -> None:
    leases = OneLease()
    assert await turn(leases, "bot").mine()
    assert not await turn(leases, "worker", worker=True).mine()
    assert not await turn(leases, "bot", worker_lives=True).mine()
    assert await turn(leases, "worker", worker=True, worker_lives=True).mine()
    assert not await turn(leases, "bot").mine(), "its lease has to end first"


async def test_what_fails_unexpectedly_hinders_nothing_else(
    store_process: RedisProcess, store_server: RedisServer, cache_process: RedisProcess, warnings: list[str]
) -> None:
    with store_process.client() as client:
        client.set(keys.request("1"), "x", ex=600)
    cache = FaultyServer(cache_process.url, role="cache", clock=time.monotonic, slack=SLACK)
    cache.faults = 1
    done = await run(store_server, cache, whose=turn(FaultyLease()), seconds=2 * TICK_S)
    await cache.aclose()
    assert done["scanned"] == 1, "the first tick had no turn, the second no relief"
    assert warnings == ["a cleanup failed"] * 2


async def test_a_store_that_is_away_is_waited_for_in_silence(
    own_store: RedisProcess, cache_server: RedisServer, warnings: list[str]
) -> None:
    leases, passing, counts = OneLease(away=True), Time(3 * TICK_S), Counter[str]()
    store = RedisServer(own_store.url, role="store", clock=time.monotonic)
    with own_store.client() as client:
        client.set(keys.request("1"), "x", ex=600)
    cleanup = Cleanup(store, cache_server, turn=turn(leases), counts=counts, clock=passing.clock, sleep=passing.sleep)
    with suppress(EnoughError):
        await cleanup.run_forever()
    assert (counts, warnings) == ({}, [])
    leases.away = False
    with suppress(EnoughError):
        await cleanup.run_forever()
    await store.aclose()
    assert counts["scanned"] == 1


async def test_a_cache_that_is_away_does_not_keep_the_store_waiting(
    store_process: RedisProcess, store_server: RedisServer, own_cache: RedisProcess
) -> None:
    cache = RedisServer(own_cache.url, role="cache", clock=time.monotonic)
    own_cache.stop()
    with store_process.client() as client:
        client.set(keys.request("1"), "x")
    done = await run(store_server, cache, whose=turn(), seconds=TICK_S)
    await cache.aclose()
    assert done["mended"] == 1


@pytest.mark.parametrize("name", servers())
async def test_every_server_can_be_cleaned(name: str) -> None:
    with a_server("cache", name=name) as process:
        server = RedisServer(process.url, role="cache", clock=time.monotonic)
        filled(process, {f"{number}": 1_000 for number in range(54)})
        with process.client() as client:
            client.set(keys.request("1"), "x")
        cleanup = a_cleanup(server, server)
        report = await cleanup.relieve()
        assert report is not None
        assert report.deleted > 5
        assert (await cleanup.once()).mended == 1
        await server.aclose()
