"""One contract for every cache; and how the one in memory makes room."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.redis.cache import RedisCache
from bot.adapters.redis.connections import RedisServer
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from bot.core.ports import Cache
    from tests.redis_servers import RedisProcess


@pytest.fixture(params=["in process", "redis"])
def cache(request: pytest.FixtureRequest, cache_server: RedisServer) -> Cache:
    if request.param == "redis":
        return RedisCache(cache_server, jitter=random.random)
    return InProcessCache(max_bytes=8 << 20, now=time.monotonic, jitter=random.random)


@pytest.mark.parametrize("value", [b"", b"Hello.", bytes(range(256)), b"la " * 300_000], ids=len)
async def test_what_was_put_comes_back(cache: Cache, value: bytes) -> None:
    await cache.put("t1:a", value, ttl_s=60)
    assert await cache.get("t1:a") == value
    assert await cache.get("t1:b") is None


async def test_what_does_not_compress_comes_back(cache: Cache) -> None:
    value = random.Random(7).randbytes(1 << 20)
    await cache.put("t1:a", value, ttl_s=60)
    assert await cache.get("t1:a") == value


async def test_the_second_value_replaces_the_first(cache: Cache) -> None:
    await cache.put("t1:a", b"first", ttl_s=60)
    await cache.put("t1:a", b"second", ttl_s=60)
    assert await cache.get("t1:a") == b"second"


async def test_its_time_ends(cache: Cache) -> None:
    await cache.put("t1:a", b"x", ttl_s=0.05)
    await cache.put("t1:b", b"y", ttl_s=1e12)
    async with asyncio.timeout(10):
        while await cache.get("t1:a") is not None:  # noqa: ASYNC110 - it ends without an event
            await asyncio.sleep(0.005)
    assert await cache.get("t1:b") == b"y"


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan")])
async def test_no_time_is_no_entry(cache: Cache, ttl_s: float) -> None:
    await cache.put("t1:a", b"x", ttl_s=ttl_s)
    assert await cache.get("t1:a") is None


async def test_deleting_with_nobody_there_is_an_error_and_nothing_else_is(own_cache: RedisProcess) -> None:
    """What members are told is gone has to be; whatever else is not to be had is worked out anew."""
    server = RedisServer(own_cache.url, role="cache", clock=time.monotonic)
    cache: Cache = RedisCache(server, jitter=random.random)
    await cache.put("t1:a", b"x", ttl_s=60)
    own_cache.kill()
    with pytest.raises(StoreUnavailable):
        await cache.delete("t1:a")
    await cache.delete()
    assert await cache.get("t1:a") is None
    await cache.put("t1:a", b"x", ttl_s=60)
    await server.aclose()


async def test_what_is_deleted_is_gone(cache: Cache) -> None:
    for key in ("t1:a", "t1:b", "t1:c"):
        await cache.put(key, b"x", ttl_s=60)
    await cache.delete("t1:a", "t1:b", "t1:never-there")
    await cache.delete()
    assert [await cache.get(key) for key in ("t1:a", "t1:b", "t1:c")] == [None, None, b"x"]


# --- in memory ----------------------------------------------------------------------------------------------------


def in_memory(max_bytes: int, clock: FakeClock, jitter: float = 1.0) -> InProcessCache:
    return InProcessCache(max_bytes=max_bytes, now=clock, jitter=lambda: jitter)


@pytest.mark.parametrize(("jitter", "kept_s"), [(0.0, 90), (0.5, 95), (1.0, 100)])
async def test_times_end_a_little_apart(jitter: float, kept_s: float) -> None:
    clock = FakeClock()
    cache = in_memory(10_000, clock, jitter)
    await cache.put("a", b"x", ttl_s=100)
    clock.now += kept_s - 0.01
    assert await cache.get("a") == b"x"
    clock.now += 0.02
    assert await cache.get("a") is None
    assert cache.size == 0
    assert cache.counts == {"hits": 1, "misses": 1}


async def test_the_least_recently_used_goes_first() -> None:
    cache = in_memory(4_500, FakeClock())
    for key in "abc":
        await cache.put(key, bytes(1_000), ttl_s=60)
    await cache.get("a")
    await cache.put("d", bytes(1_000), ttl_s=60)
    assert [key for key in "abcd" if await cache.get(key) is not None] == ["a", "c", "d"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3_000), st.sampled_from("pgd")), max_size=60))
async def test_it_never_grows_beyond_its_limit(steps: list[tuple[str, int, str]]) -> None:
    clock = FakeClock()
    cache = in_memory(5_000, clock)
    for key, size, step in steps:
        match step:
            case "p":
                await cache.put(key, bytes(size), ttl_s=10)
            case "g":
                await cache.get(key)
            case _:
                await cache.delete(key)
        clock.now += 1
        assert 0 <= cache.size <= 5_000
    await cache.delete(*"abcdef")
    assert cache.size == 0


async def test_what_is_larger_than_everything_is_not_kept() -> None:
    cache = in_memory(5_000, FakeClock())
    await cache.put("a", bytes(1_000), ttl_s=60)
    await cache.put("b", bytes(5_000), ttl_s=60)
    assert await cache.get("b") is None
    assert await cache.get("a") == bytes(1_000)
