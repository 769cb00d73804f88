"""One contract for requests that are to stop, on every Redis that there is and in this process."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import StoredStopFlags
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.documents import RedisDocuments
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock, FakeStopFlags
from tests.redis_servers import SLACK, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bot.core.jobs import StopFlags
    from tests.redis_servers import RedisProcess

A, B, C = ("a" * 16, "b" * 16, "c" * 16)


@pytest.fixture(params=["fake", "in process", *servers()])
async def flags(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[StopFlags]:
    clock = FakeClock()
    if request.param == "fake":
        yield FakeStopFlags()
        return
    if request.param == "in process":
        yield StoredStopFlags(InProcessDocuments(now=clock))
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    server = RedisServer(process.url, role="store", clock=time.monotonic, slack=SLACK)
    yield StoredStopFlags(RedisDocuments(server, now=clock))
    await server.aclose()
    assert process.keys_without_ttl() == []


async def test_nothing_is_to_stop_at_first(flags: StopFlags) -> None:
    assert await flags.raised([A, B]) == frozenset()
    assert await flags.raised([]) == frozenset()


async def test_a_flag_that_is_raised_stays_raised(flags: StopFlags) -> None:
    await flags.raise_flag(A)
    await flags.raise_flag(C)
    await flags.raise_flag(C)
    for _ in range(2):
        assert await flags.raised([A, B, C, A]) == {A, C}
    assert await flags.raised([B]) == frozenset()


async def test_a_flag_ends_after_a_day() -> None:
    clock = FakeClock()
    flags = StoredStopFlags(InProcessDocuments(now=clock))
    await flags.raise_flag(A)
    clock.now += keys.STOP_S - 1
    assert await flags.raised([A]) == {A}
    clock.now += 1
    assert await flags.raised([A]) == frozenset()


async def test_what_is_no_id_is_never_to_stop(store_process: RedisProcess, store_server: RedisServer) -> None:
    flags = StoredStopFlags(RedisDocuments(store_server, now=FakeClock()))
    for hostile in ("", "*", "../" + A, A.upper(), "a" * 65, A + "\n"):
        await flags.raise_flag(hostile)
        assert await flags.raised([hostile, A]) == frozenset()
    with store_process.client() as client:
        found: Any = client.dbsize()
    assert found == 0


async def test_a_full_store_takes_a_flag(own_store: RedisProcess) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic, slack=SLACK)
    documents = RedisDocuments(server, now=FakeClock())
    with own_store.client() as client:
        client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        await documents.put(keys.request(A), b"{}", 60)
    await StoredStopFlags(documents).raise_flag(A)
    assert await StoredStopFlags(documents).raised([A]) == {A}
    await server.aclose()
    assert own_store.keys_without_ttl() == []


async def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    server = RedisServer(f"unix://{tmp_path}/nobody", role="store", clock=time.monotonic)
    stored, fake = StoredStopFlags(RedisDocuments(server, now=FakeClock())), FakeStopFlags()
    fake.away = True
    for flags in (stored, fake):
        with pytest.raises(StoreUnavailable):
            await flags.raise_flag(A)
        with pytest.raises(StoreUnavailable):
            await flags.raised([A])
    await server.aclose()
