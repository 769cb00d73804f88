"""The store and the cache of a process, wherever they are: Redis servers, our own ones, or this process itself."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.embedded_redis import EmbeddedRedisFailed, embedded_redis, find_server
from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.adapters.records import (
    StoredAudit,
    StoredCircuits,
    StoredDeliveries,
    StoredLeases,
    StoredLedgers,
    StoredRequests,
    StoredSettings,
    StoredStopFlags,
    StoredTranscripts,
)
from bot.adapters.redis import keys
from bot.adapters.redis.cache import RedisCache
from bot.adapters.redis.connections import QUICK, RedisServer
from bot.adapters.redis.documents import RedisDocuments
from bot.adapters.redis.fallback_limiter import FallbackRateLimiter
from bot.adapters.redis.flights import RedisFlights
from bot.adapters.redis.limiter import RedisRateLimiter
from bot.adapters.redis.stage_counts import RedisStageCounts
from bot.bootstrap.services import StartFailed, now
from bot.core.caching import SharedWork
from bot.core.circuits import Circuits
from bot.core.stage_health import StageHealth

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from bot.adapters.documents import Documents
    from bot.core.ports import Flights
    from bot.settings import Settings

IN_PROCESS_CACHE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The two Redis servers of a process; ``store_url`` may hold a password."""

    store: RedisServer
    cache: RedisServer
    store_url: str = field(repr=False)

    def __iter__(self) -> Iterator[RedisServer]:
        yield self.store
        yield self.cache


@dataclass(frozen=True, slots=True, kw_only=True)
class BotState:
    """What lasts, what is cached, and what is shared with other processes.

    ``servers`` is None where this process is all there is; ``cleaned`` counts what it has cleaned up on them, by the
    names of `CleanupReport`.
    """

    documents: Documents
    settings: StoredSettings
    audit: StoredAudit
    requests: StoredRequests
    deliveries: StoredDeliveries
    transcripts: StoredTranscripts
    leases: StoredLeases
    ledgers: StoredLedgers
    flags: StoredStopFlags
    limiter: FallbackRateLimiter | InProcessRateLimiter
    cache: RedisCache | InProcessCache
    shared_work: SharedWork
    circuits: Circuits
    stages: StageHealth
    servers: Servers | None
    cleaned: Counter[str] = field(default_factory=Counter[str])


def in_process_state() -> BotState:
    """State that is gone with the process."""
    documents = InProcessDocuments(now=now)
    return _assembled(
        documents,
        reading=documents,
        cache=InProcessCache(max_bytes=IN_PROCESS_CACHE_BYTES, now=time.monotonic, jitter=random.random),
        flights=LocalFlights(),
        limiter=InProcessRateLimiter(now),
        servers=None,
    )


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncGenerator[BotState]:
    """Reach the servers that are set, or start our own; where neither can be had, keep everything in the process.

    Raises:
        StartFailed: our own servers do not start.
    """
    async with AsyncExitStack() as stack:
        urls = await _urls(settings, stack)
        if urls is None:
            logger.warning(
                "there is no Redis here: settings, results and quotas end with this process "
                "(set REDIS_STORE_URL and REDIS_CACHE_URL, or install redis-server)"
            )
            yield in_process_state()
            return
        store_url, cache_url = urls
        servers = Servers(
            store=RedisServer(store_url, role="store", clock=time.monotonic),
            cache=RedisServer(cache_url, role="cache", clock=time.monotonic),
            store_url=store_url,
        )
        for server in servers:
            stack.push_async_callback(server.aclose)
        redis_limiter = RedisRateLimiter(servers.store)
        limiter = FallbackRateLimiter(redis_limiter, now=now)
        for part in (redis_limiter, limiter):
            stack.push_async_callback(part.aclose)
        flights = RedisFlights(servers.store, new_token=lambda: secrets.token_hex(16), clock=time.monotonic)
        yield _assembled(
            RedisDocuments(servers.store, now=now),
            reading=RedisDocuments(servers.store, now=now, way=QUICK),
            cache=RedisCache(servers.cache, jitter=random.random),
            flights=LocalFlights(beyond=flights),
            limiter=limiter,
            servers=servers,
        )


async def _urls(settings: Settings, stack: AsyncExitStack) -> tuple[str, str] | None:
    """Where the store and the cache are; None where there is no server, and none to start."""
    if settings.redis_store_url is not None and settings.redis_cache_url is not None:
        return settings.redis_store_url.get_secret_value(), settings.redis_cache_url.get_secret_value()
    binary = find_server()
    if binary is None:
        return None
    try:
        own = await stack.enter_async_context(embedded_redis(settings.data_dir / "redis", binary))
    except EmbeddedRedisFailed as exc:
        raise StartFailed(str(exc)) from exc
    return own.store_url, own.cache_url


def _assembled(
    documents: Documents,
    *,
    reading: Documents,
    cache: RedisCache | InProcessCache,
    flights: Flights,
    limiter: FallbackRateLimiter | InProcessRateLimiter,
    servers: Servers | None,
) -> BotState:
    requests = StoredRequests(documents, cache=cache, now=now)
    deliveries = StoredDeliveries(documents, now=now)
    transcripts = StoredTranscripts(documents)
    counts = RedisStageCounts(servers.store) if servers else InProcessStageCounts(now=now, keep_s=keys.STAGE_COUNTS_S)
    return BotState(
        documents=documents,
        settings=StoredSettings(documents, clock=time.monotonic, reading=reading),
        audit=StoredAudit(documents),
        requests=requests,
        deliveries=deliveries,
        transcripts=transcripts,
        leases=StoredLeases(documents),
        ledgers=StoredLedgers(documents),
        flags=StoredStopFlags(documents),
        limiter=limiter,
        cache=cache,
        shared_work=SharedWork(cache, flights),
        circuits=Circuits(StoredCircuits(reading), now=now),
        stages=StageHealth(counts, now=now, process=secrets.token_hex(8)),
        servers=servers,
    )
