"""What the two servers must be set to, seen at the start: the store must not evict, and the cache must.

A managed Redis may forbid ``CONFIG GET``; ``INFO`` tells the same. Where neither does, there is a warning and no more.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loguru import logger
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer

STORE_SETTING: Final = "REDIS_STORE_URL"
CACHE_SETTING: Final = "REDIS_CACHE_URL"
_KEEPS_ALL: Final = "noeviction"


class PolicyRefused(Exception):
    """The store may lose what must last; the text names the setting, and the line to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server tells of itself, None where it does not.

    Args:
        run_id: the same for all who reach the same server.
        policy: its ``maxmemory-policy``.
        maxmemory: bytes; 0 is as much as there is.
        append_only: whether every write goes to the disk.
    """

    run_id: str | None = None
    policy: str | None = None
    maxmemory: int | None = None
    append_only: bool | None = None

    @property
    def evicts(self) -> bool:
        """Whether it deletes what it was given when there is no room, or will once it has a ``maxmemory``."""
        return self.policy is not None and self.policy != _KEEPS_ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of a server, in bytes: what it uses, and its ``maxmemory``."""

    used: int
    limit: int


async def check_store(server: RedisServer, *, setting: str = STORE_SETTING) -> ServerFacts:
    """Refuse a store that can evict, and warn of one that can lose or fill up.

    Args:
        server: the store.
        setting: what it came from, for the sentences.

    Raises:
        PolicyRefused: it can evict.
        StoreUnavailable: it cannot be asked.
    """
    facts = await facts_of(server)
    if facts.evicts and facts.maxmemory != 0:
        raise PolicyRefused(
            f"{setting}: its maxmemory-policy is {facts.policy}, which can evict what must last: set "
            f"`maxmemory-policy {_KEEPS_ALL}` in its redis.conf (or --maxmemory-policy {_KEEPS_ALL})"
        )
    if facts.policy is None:
        logger.warning(
            "{}: it does not tell its maxmemory-policy; it must be {}, or what must last can be evicted",
            setting,
            _KEEPS_ALL,
        )
    if facts.evicts:
        logger.warning(
            "{}: its maxmemory-policy is {}, which will evict what must last once it has a maxmemory: set "
            "`maxmemory-policy {}`",
            setting,
            facts.policy,
            _KEEPS_ALL,
        )
    if facts.append_only is False:
        logger.warning("{}: a crash of it loses settings and records: set `appendonly yes`", setting)
    if facts.maxmemory == 0:
        logger.warning("{}: it may fill all of its machine's memory: set `maxmemory 256mb`", setting)
    return facts


async def check_cache(
    server: RedisServer, store: ServerFacts | None = None, *, setting: str = CACHE_SETTING
) -> ServerFacts:
    """Warn of a cache that fills up, or that takes the store's room.

    Args:
        server: the cache.
        store: what `check_store` gave, if it could be asked.
        setting: what the cache came from, for the sentences.

    Raises:
        StoreUnavailable: it cannot be asked.
    """
    facts = await facts_of(server)
    if store is not None and store.run_id is not None and facts.run_id == store.run_id:
        # Another database of it is no other server: all of them share its memory.
        logger.warning("{}: it is the store's server, which finished work can fill up: use one of its own", setting)
        return facts
    if facts.maxmemory == 0:
        logger.warning("{}: it may fill all of its machine's memory: set `maxmemory 256mb`", setting)
    if facts.policy == _KEEPS_ALL:
        logger.warning(
            "{}: its maxmemory-policy is {}, so it takes nothing once it is full: set `maxmemory-policy allkeys-lru`",
            setting,
            _KEEPS_ALL,
        )
    return facts


async def facts_of(server: RedisServer) -> ServerFacts:
    """What ``server`` tells of itself.

    Raises:
        StoreUnavailable: it cannot be asked.
    """
    found = await server.call(_told)
    append_only = found.get("appendonly", found.get("aof_enabled"))
    return ServerFacts(
        run_id=_text(found.get("run_id")),
        policy=_text(found.get("maxmemory-policy", found.get("maxmemory_policy"))),
        maxmemory=_number(found.get("maxmemory")),
        append_only=None if append_only is None else str(append_only) in {"yes", "1"},
    )


async def memory_share(server: RedisServer) -> float | None:
    """How much of its ``maxmemory`` a server uses, from 0 to 1 and a little over; None where it has none.

    Raises:
        StoreUnavailable: it cannot be asked.
    """
    memory = await memory_of(server)
    return None if memory is None else memory.used / memory.limit


async def memory_of(server: RedisServer) -> Memory | None:
    """How much memory a server uses; None where it has no limit, or does not tell.

    Raises:
        StoreUnavailable: it cannot be asked.
    """
    found = await server.call(_memory)
    used, limit = _number(found.get("used_memory")), _number(found.get("maxmemory"))
    return Memory(used=used, limit=limit) if used is not None and limit else None


async def _told(client: Redis) -> dict[str, Any]:
    found: dict[Any, Any] = await _info(client)
    with suppress(ResponseError):  # forbidden, or renamed
        found |= await client.config_get("maxmemory*")
        found |= await client.config_get("appendonly")
    return found


async def _info(client: Redis, *sections: str) -> dict[str, Any]:
    with suppress(ResponseError):
        return dict(await client.info(*sections))
    return {}


async def _memory(client: Redis) -> dict[str, Any]:
    return await _info(client, "memory")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, str)) else None
