"""Documents in Redis: what the server does to them."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.documents import Entry, Line
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.documents import RedisDocuments
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock
from tests.redis_servers import MIB, a_server, servers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.redis_servers import RedisProcess

ID = "a" * 16
FULL = "OOM|OutOfMemory"


@asynccontextmanager
async def closing(process: RedisProcess) -> AsyncGenerator[RedisServer]:
    server = RedisServer(process.url, role="store", clock=time.monotonic)
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture
async def own_server(own_store: RedisProcess) -> AsyncGenerator[RedisServer]:
    async with closing(own_store) as server:
        yield server


async def test_what_was_written_survives_a_restart(own_store: RedisProcess, own_server: RedisServer) -> None:
    clock = FakeClock()
    documents = RedisDocuments(own_server, now=clock)
    entry = Entry(index=keys.member(1, 2), member=ID, until=clock.now + 100)
    await documents.put(keys.request(ID), b"kept", 100.0, entry=entry)
    await documents.take(keys.lease("one"), "owner", 100.0)
    own_store.stop()
    own_store.start()
    assert await documents.get(keys.request(ID)) == b"kept"
    assert await documents.members(keys.member(1, 2)) == [ID]
    assert not await documents.take(keys.lease("one"), "another", 100.0), (
        "a script that the server forgot is sent again"
    )
    assert own_store.keys_without_ttl() == []


async def test_every_call_tells_that_the_store_is_away(own_store: RedisProcess, own_server: RedisServer) -> None:
    documents = RedisDocuments(own_server, now=FakeClock())
    own_store.stop()
    key, index, owner = keys.request(ID), keys.member(1, 2), "owner"
    entry = Entry(index=index, member=ID, until=2_000.0)
    line = Line(key=keys.audit(1), value=b"", keep=1, ttl_s=1.0)
    for call in (
        lambda: documents.get(key),
        lambda: documents.get_many([key]),
        lambda: documents.sizes([key]),
        lambda: documents.put(key, b"", 1.0),
        lambda: documents.swap(key, None, b"", 1.0),
        lambda: documents.overwrite([key], b"", 1.0),
        lambda: documents.delete(key),
        lambda: documents.expire(key, 1.0),
        lambda: documents.add(entry),
        lambda: documents.remove(index, ID),
        lambda: documents.members(index),
        lambda: documents.append(line),
        lambda: documents.tail(line.key, 1),
        lambda: documents.take(key, owner, 1.0),
        lambda: documents.release(key, owner),
    ):
        with pytest.raises(StoreUnavailable):
            await call()


@pytest.mark.parametrize("name", servers())
async def test_a_full_store_refuses_and_can_still_forget(name: str) -> None:
    clock, index = FakeClock(), keys.member(1, 2)
    ids = [f"{number:016x}" for number in range(100)]
    with a_server("store", name=name) as process:
        async with closing(process) as server:
            documents = RedisDocuments(server, now=clock)
            for one in ids:
                entry = Entry(index=index, member=one, until=clock.now + 1_000)
                await documents.put(keys.request(one), bytes(64 << 10), 1_000.0, entry=entry)
            with process.client() as client:
                client.config_set("maxmemory", 4 * MIB)  # less than there is already
            refused = Entry(index=index, member=ID, until=clock.now + 1_000)
            with pytest.raises(StoreUnavailable, match=FULL):
                await documents.put(keys.request(ID), b"{}", 1_000.0, entry=refused)
            line = Line(key=keys.audit(1), value=b"{}", keep=3, ttl_s=1_000.0)
            with pytest.raises(StoreUnavailable, match=FULL):
                await documents.swap(keys.settings(1), None, b"{}", 60.0, line=line)
            assert await documents.members(index) == ids[::-1], "of what was refused, nothing was written"
            assert await documents.get(keys.settings(1)) is None
            assert server.why_away is None
            absent = keys.delivery(ID)  # the first that it deletes makes no room
            await documents.overwrite([absent, *(keys.request(one) for one in ids)], b"x", 1_000.0)
            await documents.remove(index, *ids)
            assert await documents.sizes([absent, keys.request(ids[0])]) == [1, 1]
            assert await documents.put(keys.request(ID), b"{}", 1_000.0, entry=refused), "there is room again"
        assert process.keys_without_ttl() == []


async def test_nothing_waits_for_the_clock_of_another_machine(
    store_process: RedisProcess, store_server: RedisServer
) -> None:
    """Indexes are scored by the bot's clock; how long the server keeps one does not depend on its own."""
    clock = FakeClock(5_000.0)  # in January 1970
    await RedisDocuments(store_server, now=clock).add(Entry(index=keys.member(1, 2), member=ID, until=5_100.0))
    with store_process.client() as client:
        ttl: Any = client.pttl(keys.member(1, 2))
    assert 90_000 < ttl <= 100_000
