"""What is refused at the start, and what is only worth a warning."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.policies import PolicyRefused, ServerFacts, check_cache, check_store, facts_of, memory_share
from bot.core.errors import StoreUnavailable
from tests.redis_servers import MIB, a_server, servers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tests.redis_servers import RedisProcess

EVICTING = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-random", "volatile-ttl"]


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged from WARNING up."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(sink)


@asynccontextmanager
async def asked(process: RedisProcess, *, user: str | None = None) -> AsyncGenerator[RedisServer]:
    url = process.url if user is None else process.url.replace("unix://", f"unix://{user}:secret@")
    server = RedisServer(url, role="store", clock=time.monotonic)
    try:
        yield server
    finally:
        await server.aclose()


def setting(process: RedisProcess, **settings: str | int) -> None:
    with process.client() as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)


def forbid(process: RedisProcess, *commands: str) -> str:
    """A user who may not run ``commands``, as of a managed Redis."""
    with process.client() as client:
        rules = [f"-{command}" for command in commands]
        client.execute_command("ACL", "SETUSER", "tenant", "on", ">secret", "~*", "&*", "+@all", *rules)
    return "tenant"


@pytest.mark.parametrize("name", servers())
async def test_a_store_as_it_should_be_is_no_cause_for_words(name: str, warnings: list[str]) -> None:
    with a_server("store", name=name) as process:
        async with asked(process) as server:
            facts = await check_store(server)
    assert (facts.policy, facts.maxmemory, facts.append_only, facts.evicts) == ("noeviction", 64 * MIB, True, False)
    assert warnings == []


async def test_a_cache_as_it_should_be_is_no_cause_for_words(cache_server: RedisServer, warnings: list[str]) -> None:
    facts = await check_cache(cache_server)
    assert (facts.policy, facts.maxmemory, facts.append_only) == ("allkeys-lru", 64 * MIB, False)
    assert warnings == []


@pytest.mark.parametrize("policy", EVICTING)
async def test_a_store_that_can_evict_is_refused_with_the_line_to_change(own_store: RedisProcess, policy: str) -> None:
    setting(own_store, maxmemory_policy=policy)
    async with asked(own_store) as server:
        with pytest.raises(PolicyRefused) as refused:
            await check_store(server)
    assert str(refused.value) == (
        f"REDIS_STORE_URL: its maxmemory-policy is {policy}, which can evict what must last: set "
        "`maxmemory-policy noeviction` in its redis.conf (or --maxmemory-policy noeviction)"
    )


async def test_a_store_without_a_limit_evicts_nothing_yet(own_store: RedisProcess, warnings: list[str]) -> None:
    setting(own_store, maxmemory_policy="allkeys-lru", maxmemory=0)
    async with asked(own_store) as server:
        facts = await check_store(server)
    assert facts.evicts
    assert [any(word in text for text in warnings) for word in ("once it has", "maxmemory 256mb")] == [True, True]


async def test_a_store_that_forgets_in_a_crash_is_worth_a_warning(own_store: RedisProcess, warnings: list[str]) -> None:
    setting(own_store, appendonly="no")
    async with asked(own_store) as server:
        await check_store(server)
    assert warnings == ["REDIS_STORE_URL: a crash of it loses settings and records: set `appendonly yes`"]


async def test_a_cache_that_fills_up_is_worth_a_warning(own_cache: RedisProcess, warnings: list[str]) -> None:
    setting(own_cache, maxmemory_policy="noeviction", maxmemory=0)
    async with asked(own_cache) as server:
        await check_cache(server)
    assert [any(word in text for text in warnings) for word in ("allkeys-lru", "maxmemory 256mb")] == [True, True]
    assert all(text.startswith("REDIS_CACHE_URL: ") for text in warnings)


async def test_one_server_for_both_is_worth_a_warning_in_another_database_too(
    own_store: RedisProcess, warnings: list[str]
) -> None:
    async with asked(own_store) as store:
        facts = await check_store(store)
        other = RedisServer(f"{own_store.url}?db=3", role="cache", clock=time.monotonic)
        await check_cache(other, facts)
        await other.aclose()
    assert warnings == [
        "REDIS_CACHE_URL: it is the store's server, which finished work can fill up: use one of its own"
    ]


async def test_one_evicting_server_for_both_is_refused(own_cache: RedisProcess) -> None:
    async with asked(own_cache) as server:
        with pytest.raises(PolicyRefused):
            await check_store(server)


async def test_where_config_is_forbidden_info_tells(own_cache: RedisProcess, warnings: list[str]) -> None:
    tenant = forbid(own_cache, "config")
    async with asked(own_cache, user=tenant) as server:
        facts = await facts_of(server)
        assert (facts.policy, facts.maxmemory, facts.append_only) == ("allkeys-lru", 64 * MIB, False)
        with pytest.raises(PolicyRefused):
            await check_store(server)
        assert server.failures == 0
    assert warnings == []


async def test_where_info_is_forbidden_config_tells(own_store: RedisProcess) -> None:
    tenant = forbid(own_store, "info")
    async with asked(own_store, user=tenant) as server:
        facts = await check_store(server)
        assert (facts.policy, facts.maxmemory, facts.append_only) == ("noeviction", 64 * MIB, True)
        assert facts.run_id is None
        assert await memory_share(server) is None


async def test_where_nothing_tells_there_is_a_warning_and_no_more(own_cache: RedisProcess, warnings: list[str]) -> None:
    tenant = forbid(own_cache, "config", "info")
    async with asked(own_cache, user=tenant) as server:
        assert await check_store(server) == ServerFacts()
        assert await check_cache(server, ServerFacts()) == ServerFacts()
    (warning,) = warnings
    assert warning.startswith("REDIS_STORE_URL: it does not tell its maxmemory-policy; it must be noeviction")


async def test_a_server_that_is_away_cannot_be_asked(own_store: RedisProcess) -> None:
    async with asked(own_store) as server:
        own_store.stop()
        with pytest.raises(StoreUnavailable):
            await check_store(server)
        with pytest.raises(StoreUnavailable):
            await memory_share(server)


async def test_how_full_a_server_is(own_cache: RedisProcess) -> None:
    async with asked(own_cache) as server:
        empty = await memory_share(server)
        with own_cache.client() as client:
            for number in range(8):
                client.set(f"an-eighth-of-half-{number}", b"x" * (4 * MIB), ex=60)
        half = await memory_share(server)
        setting(own_cache, maxmemory=0)
        without = await memory_share(server)
    assert empty is not None
    assert half is not None
    assert 0 < empty < 0.1
    assert 0.5 < half < 0.65
    assert without is None
