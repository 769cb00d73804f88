"""The cache in Redis: whatever lies there, and wherever the server is, nothing is worse than a miss."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import pickle
import random
import time
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.redis import keys
from bot.adapters.redis.cache import MAX_BYTES, MAX_TTL_S, RedisCache, pack, unpack
from bot.adapters.redis.connections import RedisServer
from tests.redis_servers import MIB, a_server, servers

if TYPE_CHECKING:
    from tests.redis_servers import RedisProcess

HOUR_MS = 3_600_000


def frame(value: bytes, *, checksum: bool = True, size: bool = True) -> bytes:
    compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
    return b"\x01" + compressor.compress(value)


def lying(value: bytes, claimed: int) -> bytes:
    """A frame that claims to be of another length; both are long enough for a field of four bytes in its head."""
    good = frame(value)
    at = good.index(len(value).to_bytes(4, "little"), 0, 12)
    return good[:at] + claimed.to_bytes(4, "little") + good[at + 4 :]


GOOD = frame(b"Hello. " * 100)
HOSTILE = {
    "nothing": b"",
    "a version alone": b"\x01",
    "another version": b"\x02" + GOOD[1:],
    "no frame": b"\x01Hello.",
    "random": random.Random(7).randbytes(500),
    "random after the version": b"\x01" + random.Random(8).randbytes(500),
    "cut": GOOD[:-1],
    "cut in half": GOOD[: len(GOOD) // 2],
    "changed": GOOD[:20] + bytes([GOOD[20] ^ 1]) + GOOD[21:],
    "changed checksum": GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
    "more behind it": GOOD + b"x",
    "two frames": GOOD + GOOD[1:],
    "of no stated length": frame(b"Hello.", size=False),
    "a bomb": frame(bytes(MAX_BYTES + 1)),
    "a bomb that hides its length": frame(bytes(MAX_BYTES * 4), size=False),
    "a bomb that lies": lying(bytes(MAX_BYTES * 4), MAX_BYTES),
    "a frame that boasts": lying(bytes(1 << 20), 0xFFFFFFF0),
    "a pickle": pickle.dumps({"text": "Hello."}),
    "text": b'{"schema_version": 1}',
}


@pytest.fixture
def cache(cache_server: RedisServer) -> RedisCache:
    return RedisCache(cache_server, jitter=random.random)


@pytest.mark.parametrize("entry", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_cannot_be_read_is_a_miss_and_is_written_over(
    cache: RedisCache, cache_process: RedisProcess, entry: bytes
) -> None:
    with cache_process.client() as client:
        client.set(keys.cached("t1:a"), entry, ex=60)
    assert await cache.get("t1:a") is None
    assert cache.counts == {"errors": 1}
    await cache.put("t1:a", b"good", ttl_s=60)
    assert await cache.get("t1:a") == b"good"


@given(st.binary(max_size=300), st.booleans())
async def test_any_bytes_are_none_of_ours(raw: bytes, versioned: bool) -> None:
    assert await unpack(b"\x01" + raw if versioned else raw) is None


@given(st.binary(max_size=2_000))
async def test_whatever_is_packed_comes_back(value: bytes) -> None:
    assert await unpack(await pack(value)) == value


async def test_any_change_to_what_is_packed_is_noticed() -> None:
    value = random.Random(7).randbytes(40) * 5
    packed = await pack(value)
    for at in range(len(packed)):
        changed = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        assert await unpack(changed) in (None, value), "a bit of the head may not matter"


@pytest.mark.parametrize("command", ["RPUSH", "SADD", "HSET", "XADD"])
async def test_a_key_of_another_type_is_a_miss_and_is_written_over(
    cache: RedisCache, cache_process: RedisProcess, command: str
) -> None:
    name = keys.cached("t1:a")
    with cache_process.client() as client:
        client.execute_command(command, name, *{"HSET": ["a", "b"], "XADD": ["*", "a", "b"]}.get(command, ["a"]))
        client.expire(name, 60)
    assert await cache.get("t1:a") is None
    await cache.put("t1:a", b"good", ttl_s=60)
    assert await cache.get("t1:a") == b"good"


async def test_what_is_too_long_is_not_put(cache: RedisCache) -> None:
    await cache.put("t1:a", bytes(MAX_BYTES), ttl_s=60)
    await cache.put("t1:b", bytes(MAX_BYTES + 1), ttl_s=60)
    assert await cache.get("t1:a") == bytes(MAX_BYTES)
    assert await cache.get("t1:b") is None


@pytest.mark.parametrize(("jitter", "ms"), [(0.0, 0.9 * HOUR_MS), (0.5, 0.95 * HOUR_MS), (1.0, HOUR_MS)])
async def test_times_end_a_little_apart(
    cache_server: RedisServer, cache_process: RedisProcess, jitter: float, ms: float
) -> None:
    cache = RedisCache(cache_server, jitter=lambda: jitter)
    await cache.put("t1:a", b"x", ttl_s=3_600)
    await cache.put("t1:b", b"x", ttl_s=float("inf"))
    with cache_process.client() as client:
        assert ms - 5_000 < client.pttl(keys.cached("t1:a")) <= ms
        assert client.ttl(keys.cached("t1:b")) <= MAX_TTL_S


async def test_it_counts(cache: RedisCache) -> None:
    await cache.get("t1:a")
    await cache.put("t1:a", b"x", ttl_s=60)
    for _ in range(3):
        await cache.get("t1:a")
    assert cache.counts == {"misses": 1, "hits": 3}


async def test_text_lies_there_compressed(cache: RedisCache, cache_process: RedisProcess) -> None:
    text = b" ".join(b"and then number %d said a few words" % number for number in range(2_000))
    await cache.put("t1:a", text, ttl_s=60)
    with cache_process.client() as client:
        assert client.strlen(keys.cached("t1:a")) < len(text) / 4


async def test_a_server_that_is_gone_is_a_miss(own_cache: RedisProcess) -> None:
    server = RedisServer(own_cache.url, role="cache", clock=time.monotonic)
    cache = RedisCache(server, jitter=random.random)
    await cache.put("t1:a", b"x", ttl_s=60)
    own_cache.kill()
    assert await cache.get("t1:a") is None
    await cache.put("t1:a", b"x", ttl_s=60)
    assert cache.counts == {"errors": 2}
    await server.aclose()


async def test_a_silent_server_costs_little_time(own_cache: RedisProcess) -> None:
    server = RedisServer(own_cache.url, role="cache", clock=time.monotonic)
    cache = RedisCache(server, jitter=random.random)
    await cache.put("t1:a", b"x", ttl_s=60)
    own_cache.pause()
    began = time.monotonic()
    assert [await cache.get("t1:a") for _ in range(100)] == [None] * 100
    assert time.monotonic() - began < 5
    own_cache.resume()
    await server.aclose()


@pytest.mark.parametrize("name", servers())
async def test_more_than_it_holds_is_evicted_and_nothing_fails(name: str) -> None:
    value = random.Random(7).randbytes(100_000)
    with a_server("cache", name=name, maxmemory=8 * MIB) as process:
        server = RedisServer(process.url, role="cache", clock=time.monotonic)
        cache = RedisCache(server, jitter=random.random)
        for number in range(200):
            await cache.put(f"t1:{number}", value, ttl_s=60)
        assert await cache.get("t1:199") == value
        assert cache.counts["errors"] == 0
        with process.client() as client:
            assert client.info("stats")["evicted_keys"] > 100
        assert process.keys_without_ttl() == []
        await server.aclose()
