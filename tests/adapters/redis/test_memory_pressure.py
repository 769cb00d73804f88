"""More transcripts than fit: the cache stays within its memory, and the store does not notice."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.redis import keys
from bot.adapters.redis.cleanup import RELIEVE_TO
from bot.adapters.redis.connections import QUICK, RedisServer
from bot.adapters.redis.policies import memory_share
from bot.core.quotas import BucketId
from tests.adapters.redis.test_cleanup import a_cleanup
from tests.redis_servers import MIB, a_server
from tests.waiting import until

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.redis_servers import RedisProcess

pytestmark = pytest.mark.xdist_group("memory pressure")

WRITTEN = 600 * MIB
MAXMEMORY = 256 * MIB
OVERHEAD = 4 * MIB
"""Above maxmemory, for what is on its way: a pipeline's requests and the value that is just written."""
WAVES = 10
AT_ONCE = 8


def state() -> dict[str, bytes]:
    """What must last: records, buckets, settings."""
    chance = random.Random(1)
    records = {keys.request(f"{number:08x}"): chance.randbytes(2_000) for number in range(1_000)}
    settings = {keys.settings(guild): chance.randbytes(500) for guild in range(200)}
    buckets = {
        keys.bucket(BucketId(guild_id=member % 200, member_id=member)): b"3 %d" % member for member in range(1_000)
    }
    return {**records, **settings, **buckets}


def write_state(store: RedisProcess, kept: dict[str, bytes]) -> None:
    with store.client() as client, client.pipeline(transaction=False) as pipeline:
        for key, value in kept.items():
            pipeline.set(key, value, ex=3_600)
        pipeline.execute()


def read_state(store: RedisProcess, kept: dict[str, bytes]) -> dict[str, Any]:
    with store.client() as client, client.pipeline(transaction=False) as pipeline:
        for key in kept:
            pipeline.get(key)
        return dict(zip(kept, pipeline.execute(), strict=True))


def weighed(cache: RedisProcess) -> dict[str, tuple[int, int]]:
    """The size and the idle seconds of every key."""
    with cache.client() as client:
        found: list[Any] = list(client.scan_iter(count=1_000))
        with client.pipeline(transaction=False) as pipeline:
            for key in found:
                pipeline.memory_usage(key)
                pipeline.object("IDLETIME", key)
            answers: list[Any] = pipeline.execute()
    return {key.decode(): (size, idle) for key, size, idle in zip(found, answers[::2], answers[1::2], strict=True)}


class Pressure:
    """Writes transcripts into a cache, and sees what becomes of it."""

    def __init__(self, process: RedisProcess, server: RedisServer) -> None:
        self._process = process
        self._server = server
        self._chance = random.Random(2)
        self._noise = self._chance.randbytes(64 * MIB)  # of which every stretch is as incompressible
        self.sizes: list[int] = []
        self.peak = 0
        self.readable: list[bool] = []

    async def wave(self, size: int) -> None:
        """Write so many bytes; the last ones are read all along."""
        first, written = len(self.sizes), 0
        with self._process.client() as client:
            while written < size:
                with client.pipeline(transaction=False) as pipeline:
                    for _ in range(AT_ONCE):
                        length = self._chance.randrange(100_000, 500_000)
                        start = self._chance.randrange(len(self._noise) - length)
                        pipeline.set(self.key(len(self.sizes)), self._noise[start : start + length], ex=86_400)
                        self.sizes.append(length)
                        written += length
                    pipeline.execute()
                memory: Any = client.info("memory")
                self.peak = memory["used_memory_peak"]  # so far, between two pipelines too
                self.readable.append(await self.reads(len(self.sizes) - 1))
            # Redis knows a key's age to the second: the next wave is to be younger than this one.
            await until(lambda: self._age(client, first) != 0)

    def key(self, number: int) -> str:
        return keys.cached(f"transcript:{number}")

    async def reads(self, number: int) -> bool:
        """Whether a transcript can be read, as a member's request would."""

        async def get(client: Redis) -> Any:
            return await client.get(self.key(number))

        value = await self._server.call(get, way=QUICK)
        return value is not None and len(value) == self.sizes[number]

    def _age(self, client: Any, number: int) -> int | None:
        return client.object("IDLETIME", self.key(number))


async def test_more_transcripts_than_fit_cost_neither_state_nor_what_is_new() -> None:
    kept = state()
    with a_server("store", maxmemory=MAXMEMORY) as store, a_server("cache", maxmemory=MAXMEMORY) as cache:
        write_state(store, kept)
        server = RedisServer(cache.url, role="cache", clock=time.monotonic)
        pressure = Pressure(cache, server)
        for _ in range(WAVES):
            await pressure.wave(WRITTEN // WAVES)
        newest = range(len(pressure.sizes) - 100, len(pressure.sizes))

        assert sum(pressure.sizes) >= WRITTEN
        assert pressure.peak <= MAXMEMORY + OVERHEAD
        assert all(pressure.readable), "while it was written"
        assert all([await pressure.reads(number) for number in newest])
        assert read_state(store, kept) == kept

        before = weighed(cache)
        store_server = RedisServer(store.url, role="store", clock=time.monotonic)
        report = await a_cleanup(store_server, server).relieve()
        share = await memory_share(server)
        after = weighed(cache)

        assert report is not None
        assert share is not None
        assert RELIEVE_TO - 0.05 < share < RELIEVE_TO
        gone = [before[key] for key in before.keys() - after.keys()]
        left = [before[key] for key in before.keys() & after.keys()]
        assert len(gone) == report.deleted
        assert mean(size for size, _ in gone) > mean(size for size, _ in left)
        assert mean(idle for _, idle in gone) > mean(idle for _, idle in left)
        # Seconds passed between looking and deleting, by which the order may differ.
        assert min(size * (idle + 1) for size, idle in gone) > 0.7 * max(size * idle for size, idle in left)
        assert all([await pressure.reads(number) for number in newest])
        assert read_state(store, kept) == kept
        assert store.keys_without_ttl() == cache.keys_without_ttl() == []
        await server.aclose()
        await store_server.aclose()


def mean(values: Any) -> float:
    found = list(values)
    return sum(found) / len(found)
