"""Redis for tests. Whoever leaves a key without a TTL, apart from those that are declared, fails."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bot.adapters.redis.connections import RedisServer
from tests.redis_servers import SLACK, RedisProcess, a_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(scope="session")
def _store_process() -> Iterator[RedisProcess]:  # pyright: ignore[reportUnusedFunction] - a fixture
    with a_server("store") as process:
        yield process


@pytest.fixture(scope="session")
def _cache_process() -> Iterator[RedisProcess]:  # pyright: ignore[reportUnusedFunction] - a fixture
    with a_server("cache") as process:
        yield process


@pytest.fixture
def store_process(_store_process: RedisProcess) -> Iterator[RedisProcess]:
    """A store that runs, empty. Not to be stopped: it is shared."""
    with _store_process.client() as client:
        client.flushall()
    yield _store_process
    assert _store_process.keys_without_ttl() == []


@pytest.fixture
def cache_process(_cache_process: RedisProcess) -> Iterator[RedisProcess]:
    """A cache that runs, empty. Not to be stopped: it is shared."""
    with _cache_process.client() as client:
        client.flushall()
    yield _cache_process
    assert _cache_process.keys_without_ttl() == []


@pytest.fixture
async def store_server(store_process: RedisProcess) -> AsyncIterator[RedisServer]:
    """The store, as adapters get it."""
    server = RedisServer(store_process.url, role="store", clock=time.monotonic, slack=SLACK)
    yield server
    await server.aclose()


@pytest.fixture
async def cache_server(cache_process: RedisProcess) -> AsyncIterator[RedisServer]:
    """The cache, as adapters get it."""
    server = RedisServer(cache_process.url, role="cache", clock=time.monotonic, slack=SLACK)
    yield server
    await server.aclose()


@pytest.fixture(scope="module")
def processes() -> Iterator[Callable[[str], RedisProcess]]:
    """Stores by the names of their servers, started when they are asked for."""
    running: dict[str, RedisProcess] = {}
    with ExitStack() as stack:

        def get(name: str) -> RedisProcess:
            if name not in running:
                running[name] = stack.enter_context(a_server("store", name=name))
            return running[name]

        yield get


@pytest.fixture
def own_store() -> Iterator[RedisProcess]:
    """A store of the test's own, to be stopped, killed and paused."""
    with a_server("store") as process:
        yield process


@pytest.fixture
def own_cache() -> Iterator[RedisProcess]:
    """A cache of the test's own."""
    with a_server("cache") as process:
        yield process
