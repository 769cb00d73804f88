"""One contract for documents, wherever they are kept."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters.documents import Entry, Line
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.documents import RedisDocuments
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock
from tests.redis_servers import SLACK, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bot.adapters.documents import Documents
    from tests.redis_servers import RedisProcess

NOW: Final = 1_700_000_000.0
A: Final = keys.request("a" * 16)
B: Final = keys.request("b" * 16)
INDEX: Final = keys.member(1, 2)
LIST: Final = keys.audit(1)
SETTINGS: Final = keys.settings(1)
LEASE: Final = keys.lease("commands")


class Bench:
    """Documents, and the time that passes for them."""

    def __init__(self, documents: Documents, clock: FakeClock, process: RedisProcess | None = None) -> None:
        self.documents = documents
        self.now = clock
        self._process = process

    def pass_time(self, seconds: float) -> None:
        """Let every clock go on; a server's own is not to be set, so its keys grow older instead."""
        self.now.now += seconds
        if self._process is None:
            return
        with self._process.client() as client:
            found: list[Any] = list(client.scan_iter())
            for key in found:
                ttl: Any = client.pttl(key)
                if ttl >= 0:
                    client.pexpire(key, int(ttl - seconds * 1_000))  # deletes it where nothing is left


@pytest.fixture(params=["in process", *servers()])
async def bench(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[Bench]:
    clock = FakeClock(NOW)
    if request.param == "in process":
        yield Bench(InProcessDocuments(now=clock), clock)
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    server = RedisServer(process.url, role="store", clock=time.monotonic, slack=SLACK)
    yield Bench(RedisDocuments(server, now=clock), clock, process)
    await server.aclose()
    assert process.keys_without_ttl() == []


@pytest.fixture
def documents(bench: Bench) -> Documents:
    return bench.documents


# --- documents ------------------------------------------------------------------------------------------------------


async def test_what_was_put_comes_back_until_its_time_is_over(bench: Bench) -> None:
    value = bytes(range(256)) * 4
    assert await bench.documents.put(A, value, 100.0)
    assert await bench.documents.get(A) == value
    bench.pass_time(90.0)
    assert await bench.documents.get(A) == value
    bench.pass_time(10.0)
    assert await bench.documents.get(A) is None


async def test_several_are_read_in_their_order(documents: Documents) -> None:
    await documents.put(A, b"a", 100.0)
    await documents.put(B, b"bb", 100.0)
    assert await documents.get_many([B, keys.request("c" * 16), A]) == [b"bb", None, b"a"]
    assert await documents.sizes([B, keys.request("c" * 16), A]) == [2, 0, 1]
    assert (await documents.get_many([]), await documents.sizes([])) == ([], [])


async def test_a_large_value_is_kept_whole(documents: Documents) -> None:
    value = b"\x00\xff\r\n" * (2 << 20)
    assert await documents.put(A, value, 100.0, unless=b"no", entry=Entry(index=INDEX, member="a", until=NOW + 100))
    assert await documents.swap(A, value, value[1:], 100.0)
    assert await documents.get(A) == value[1:]


async def test_what_shall_stay_is_not_written_over(documents: Documents) -> None:
    entry = Entry(index=INDEX, member="a", until=NOW + 100)
    await documents.put(A, b"stone", 100.0)
    assert not await documents.put(A, b"new", 100.0, unless=b"stone", entry=entry)
    assert await documents.get(A) == b"stone"
    assert await documents.members(INDEX) == [], "nor is it named anywhere"
    assert await documents.put(A, b"new", 100.0, unless=b"another", entry=entry)
    assert (await documents.get(A), await documents.members(INDEX)) == (b"new", ["a"])


async def test_all_are_overwritten_whether_they_were_there_or_not(bench: Bench) -> None:
    await bench.documents.put(A, b"much " * 1_000, 1_000.0)
    await bench.documents.overwrite([A, B], b"x", 100.0)
    await bench.documents.overwrite([], b"x", 100.0)
    assert await bench.documents.get_many([A, B]) == [b"x", b"x"]
    bench.pass_time(100.0)
    assert await bench.documents.get_many([A, B]) == [None, None]


async def test_anything_can_be_deleted(documents: Documents) -> None:
    await documents.put(A, b"a", 100.0)
    await documents.add(Entry(index=INDEX, member="a", until=NOW + 100))
    await documents.append(Line(key=LIST, value=b"line", keep=3, ttl_s=100.0))
    assert await documents.delete(A, B, INDEX, LIST) == 3
    assert await documents.delete() == 0
    assert (await documents.get(A), await documents.members(INDEX), await documents.tail(LIST, 9)) == (None, [], [])


async def test_a_key_can_be_made_to_end_sooner_and_later(bench: Bench) -> None:
    documents = bench.documents
    assert not await documents.expire(SETTINGS, 100.0)
    await documents.put(SETTINGS, b"set", 10.0)
    assert await documents.expire(SETTINGS, 1_000.0)
    bench.pass_time(100.0)
    assert await documents.get(SETTINGS) == b"set"
    assert await documents.expire(SETTINGS, 100.0)
    bench.pass_time(100.0)
    assert await documents.get(SETTINGS) is None


# --- compare and set ------------------------------------------------------------------------------------------------


async def test_a_swap_counts_only_where_nobody_was_faster(documents: Documents) -> None:
    assert not await documents.swap(A, b"old", b"new", 100.0)
    assert await documents.swap(A, None, b"old", 100.0)
    assert not await documents.swap(A, None, b"new", 100.0)
    assert not await documents.swap(A, None, b"old", 100.0), "the same value is no permission"
    assert await documents.swap(A, b"old", b"new", 100.0)
    assert await documents.get(A) == b"new"


async def test_an_empty_document_is_not_none(documents: Documents) -> None:
    await documents.put(A, b"", 100.0)
    assert not await documents.swap(A, None, b"new", 100.0)
    assert await documents.swap(A, b"", b"new", 100.0)


async def test_what_is_swapped_in_has_an_end_of_its_own(bench: Bench) -> None:
    await bench.documents.swap(A, None, b"a", 100.0)
    await bench.documents.swap(SETTINGS, None, b"s", 100.0)
    assert await bench.documents.swap(SETTINGS, b"s", b"t", 200.0)
    bench.pass_time(100.0)
    assert await bench.documents.get_many([A, SETTINGS]) == [None, b"t"]


async def test_of_many_swaps_at_once_each_counts_once(documents: Documents) -> None:
    async def add_one() -> None:
        while True:
            old = await documents.get(A)
            if await documents.swap(A, old, str(int(old or 0) + 1).encode(), 100.0):
                return

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert await documents.get(A) == b"20"


async def test_a_line_is_written_with_its_swap_or_not_at_all(documents: Documents) -> None:
    def line(value: bytes) -> Line:
        return Line(key=LIST, value=value, keep=2, ttl_s=100.0)

    assert await documents.swap(SETTINGS, None, b"1", 100.0, line=line(b"first"))
    assert not await documents.swap(SETTINGS, None, b"2", 100.0, line=line(b"lost"))
    assert await documents.swap(SETTINGS, b"1", b"2", 100.0, line=line(b"second"))
    assert await documents.swap(SETTINGS, b"1", b"2", 100.0, line=line(b"second")), "a call that was made twice"
    assert await documents.swap(SETTINGS, b"2", b"3", 100.0, line=line(b"third"))
    assert await documents.tail(LIST, 9) == [b"third", b"second"]


# --- indexes --------------------------------------------------------------------------------------------------------


async def test_an_index_gives_the_newest_first_and_leaves_out_those_over(bench: Bench) -> None:
    documents = bench.documents
    for member, until in (("b", 200.0), ("c", 300.0), ("a", 100.0), ("never", -1.0)):
        await documents.add(Entry(index=INDEX, member=member, until=NOW + until))
    assert await documents.members(INDEX) == ["c", "b", "a"]
    bench.pass_time(100.0)
    assert await documents.members(INDEX) == ["c", "b"]
    await documents.add(Entry(index=INDEX, member="b", until=NOW + 400.0))
    assert await documents.members(INDEX) == ["b", "c"]
    await documents.remove(INDEX, "b", "unknown")
    await documents.remove(INDEX)
    bench.pass_time(150.0)
    assert await documents.members(INDEX) == ["c"]
    bench.pass_time(50.0)
    assert await documents.members(INDEX) == []


async def test_an_index_lasts_as_long_as_its_latest_member(bench: Bench) -> None:
    await bench.documents.put(A, b"a", 1_000.0, entry=Entry(index=INDEX, member="a", until=NOW + 1_000.0))
    await bench.documents.put(B, b"b", 100.0, entry=Entry(index=INDEX, member="b", until=NOW + 100.0))
    bench.pass_time(900.0)
    assert await bench.documents.members(INDEX) == ["a"]
    bench.pass_time(101.0)
    assert await bench.documents.delete(INDEX) == 0, "it is gone by itself"


async def test_a_member_whose_time_is_over_makes_no_index(documents: Documents) -> None:
    await documents.add(Entry(index=INDEX, member="a", until=NOW))
    assert await documents.delete(INDEX) == 0


# --- lists ----------------------------------------------------------------------------------------------------------


async def test_a_list_keeps_the_newest_until_some_time_after_the_last(bench: Bench) -> None:
    documents = bench.documents
    for number in range(5):
        await documents.append(Line(key=LIST, value=b"%d" % number, keep=3, ttl_s=100.0))
        bench.pass_time(90.0)
    assert await documents.tail(LIST, 9) == [b"4", b"3", b"2"]
    assert await documents.tail(LIST, 2) == [b"4", b"3"]
    assert await documents.tail(LIST, 0) == []
    bench.pass_time(10.0)
    assert await documents.tail(LIST, 9) == []


# --- leases ---------------------------------------------------------------------------------------------------------


async def test_one_owner_at_a_time_has_a_lease(bench: Bench) -> None:
    documents = bench.documents
    assert await documents.get(LEASE) is None
    assert await documents.take(LEASE, "one", 100.0)
    bench.pass_time(90.0)
    assert not await documents.take(LEASE, "two", 100.0)
    assert await documents.take(LEASE, "one", 100.0), "renewed"
    bench.pass_time(90.0)
    await documents.release(LEASE, "two")
    assert await documents.get(LEASE) == b"one"
    bench.pass_time(10.0)
    assert await documents.take(LEASE, "two", 100.0), "over"
    await documents.release(LEASE, "two")
    assert await documents.get(LEASE) is None


async def test_of_many_who_want_a_lease_one_gets_it(documents: Documents) -> None:
    got = await asyncio.gather(*(documents.take(LEASE, f"owner {number}", 100.0) for number in range(20)))
    assert got.count(True) == 1
    assert await documents.get(LEASE) == b"owner %d" % got.index(True)


# --- in this process and in Redis, the same -------------------------------------------------------------------------

_KEYS: Final = st.sampled_from([A, B])
_VALUES: Final = st.sampled_from([b"", b"1", b"2"])
_TTLS: Final = st.sampled_from([500.0, 5_000.0])
_ENTRIES: Final = st.builds(
    Entry,
    index=st.just(INDEX),
    member=st.sampled_from(["a", "b"]),
    until=st.sampled_from([NOW - 1, NOW + 700, NOW + 7_000]),
)
_LINES: Final = st.builds(Line, key=st.just(LIST), value=_VALUES, keep=st.integers(1, 3), ttl_s=_TTLS)
_CALLS: Final = st.one_of(
    st.tuples(st.just("put"), st.tuples(_KEYS, _VALUES, _TTLS), st.fixed_dictionaries({"entry": _ENTRIES})),
    st.tuples(st.just("put"), st.tuples(_KEYS, _VALUES, _TTLS), st.just({"unless": b"1"})),
    st.tuples(
        st.just("swap"),
        st.tuples(_KEYS, st.none() | _VALUES, _VALUES, _TTLS),
        st.fixed_dictionaries({"line": st.none() | _LINES}),
    ),
    st.tuples(st.just("overwrite"), st.tuples(st.lists(_KEYS, max_size=2), _VALUES, _TTLS), st.just({})),
    st.tuples(st.sampled_from(["delete"]), st.tuples(st.sampled_from([A, B, INDEX, LIST])), st.just({})),
    st.tuples(st.just("expire"), st.tuples(st.sampled_from([A, INDEX, LIST]), _TTLS), st.just({})),
    st.tuples(st.just("add"), st.tuples(_ENTRIES), st.just({})),
    st.tuples(st.just("remove"), st.tuples(st.just(INDEX), st.sampled_from(["a", "b"])), st.just({})),
    st.tuples(st.just("append"), st.tuples(_LINES), st.just({})),
    st.tuples(st.just("take"), st.tuples(st.just(LEASE), st.sampled_from(["one", "two"]), _TTLS), st.just({})),
    st.tuples(st.just("release"), st.tuples(st.just(LEASE), st.sampled_from(["one", "two"])), st.just({})),
    st.tuples(st.just("pass_time"), st.tuples(st.sampled_from([100.0, 650.0])), st.just({})),
)


async def _seen(documents: Documents) -> tuple[object, ...]:
    return (
        *await documents.get_many([A, B, LEASE]),
        await documents.members(INDEX),
        await documents.tail(LIST, 9),
    )


async def _story(bench: Bench, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> list[object]:
    told: list[object] = []
    for name, args, kwargs in calls:
        if name == "pass_time":
            bench.pass_time(*args)
        else:
            told.append(await getattr(bench.documents, name)(*args, **kwargs))
        told.append(await _seen(bench.documents))
    return told


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(calls=st.lists(_CALLS, max_size=20))
def test_both_kinds_do_the_same(
    store_process: RedisProcess, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
) -> None:
    async def in_redis() -> list[object]:
        clock = FakeClock(NOW)
        server = RedisServer(store_process.url, role="store", clock=time.monotonic, slack=SLACK)
        try:
            return await _story(Bench(RedisDocuments(server, now=clock), clock, store_process), calls)
        finally:
            await server.aclose()

    with store_process.client() as client:
        client.flushall()
    clock = FakeClock(NOW)
    here = asyncio.run(_story(Bench(InProcessDocuments(now=clock), clock), calls))
    assert here == asyncio.run(in_redis())


# --- in this process alone ------------------------------------------------------------------------------------------


async def test_memory_is_bounded_and_comes_back() -> None:
    clock = FakeClock(NOW)
    documents = InProcessDocuments(now=clock, max_bytes=100_000)
    for number in range(9):
        await documents.put(keys.request(f"{number:016x}"), bytes(10_000), 10.0)
    with pytest.raises(StoreUnavailable):
        await documents.put(A, bytes(10_000), 10.0)
    assert await documents.get(keys.request(f"{0:016x}")) is not None, "nothing is evicted"
    with pytest.raises(StoreUnavailable):
        await documents.append(Line(key=LIST, value=bytes(10_000), keep=3, ttl_s=10.0))
    with pytest.raises(StoreUnavailable):
        await documents.swap(A, None, bytes(10_000), 10.0)
    await documents.put(keys.request(f"{0:016x}"), bytes(10_000), 10.0)  # no larger than what it replaces
    clock.now += 10.0
    assert await documents.put(A, bytes(10_000), 10.0), "what had ended made room"


async def test_memory_does_not_grow_where_things_end() -> None:
    clock = FakeClock(NOW)
    documents = InProcessDocuments(now=clock, max_bytes=100_000)
    for number in range(2_000):
        entry = Entry(index=keys.member(1, number), member="a", until=clock.now + 5.0)
        await documents.put(keys.request(f"{number:016x}"), bytes(100), 5.0, entry=entry)
        await documents.append(Line(key=keys.audit(number), value=b"line", keep=3, ttl_s=5.0))
        clock.now += 1.0
