"""Documents in Redis. What takes several commands is one script, or one transaction."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bot.adapters.redis.connections import STEADY
from bot.adapters.redis.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from bot.adapters.documents import Entry, Line
    from bot.adapters.redis.connections import RedisServer, Way

_PUT: Final = Script("index.lua", "document_put.lua")
_SWAP: Final = Script("document_swap.lua")
_OVERWRITE: Final = Script("document_overwrite.lua")
_ADD: Final = Script("index.lua", "index_add.lua")
_TAKE: Final = Script("lease_take.lua")
_RELEASE: Final = Script("lease_release.lua")


def _ms(ttl_s: float) -> int:
    return max(1, round(ttl_s * 1_000))


class RedisDocuments:
    """`bot.adapters.documents.Documents` on one server.

    Args:
        server: the store; it evicts nothing.
        now: Unix time in seconds, for what stands in indexes. Documents end by the server's own clock.
        way: how patiently it is asked.
    """

    def __init__(self, server: RedisServer, *, now: Callable[[], float], way: Way = STEADY) -> None:
        self._server = server
        self._now = now
        self._way = way

    async def _call(self, operation: Callable[[Redis], Any]) -> Any:
        return await self._server.call(operation, way=self._way)

    async def _run(self, script: Script, keys: Sequence[str], *args: str | bytes | float) -> bool:
        """Run a script; each gives 1 or 0."""
        return bool(await self._server.run(script, keys, *args, way=self._way))

    # --- documents ----------------------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        """A document, None where there is none."""
        return await self._call(lambda client: client.get(key))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several, in the order of ``keys``."""
        return await self._call(lambda client: client.mget(keys)) if keys else []

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """The length in bytes of each, 0 where there is none."""

        async def ask(client: Redis) -> list[int]:
            async with client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.strlen(key)
                return await pipeline.execute()

        return await self._call(ask) if keys else []

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, unless: bytes | None = None, entry: Entry | None = None
    ) -> bool:
        """Write a document, and name it in an index; whether it was written."""
        if entry is None:
            return await self._run(_PUT, [key], value, _ms(ttl_s), unless or "")
        place = (entry.member, entry.until, self._now())
        return await self._run(_PUT, [key, entry.index], value, _ms(ttl_s), unless or "", *place)

    async def swap(self, key: str, old: bytes | None, new: bytes, ttl_s: float, *, line: Line | None = None) -> bool:
        """Write ``new`` where ``old`` is still the present value, and a line with it; whether it was written."""
        expected = ("0", "") if old is None else ("1", old)
        if line is None:
            return await self._run(_SWAP, [key], *expected, new, _ms(ttl_s))
        noted = (line.value, line.keep, _ms(line.ttl_s))
        return await self._run(_SWAP, [key, line.key], *expected, new, _ms(ttl_s), *noted)

    async def overwrite(self, keys: Sequence[str], value: bytes, ttl_s: float) -> None:
        """Write the same short value everywhere, in a full store too."""
        if keys:
            await self._run(_OVERWRITE, keys, value, _ms(ttl_s))

    async def delete(self, *keys: str) -> int:
        """Delete whatever lies there; how many there were."""
        return await self._call(lambda client: client.unlink(*keys)) if keys else 0

    async def expire(self, key: str, ttl_s: float) -> bool:
        """Let a key end; whether there is one."""
        return bool(await self._call(lambda client: client.pexpire(key, _ms(ttl_s))))

    # --- indexes ------------------------------------------------------------------------------------------------

    async def add(self, entry: Entry) -> None:
        """Name something in an index, or change until when."""
        await self._run(_ADD, [entry.index], entry.member, entry.until, self._now())

    async def remove(self, index: str, *members: str) -> None:
        """Take members out of an index."""
        if members:
            await self._call(lambda client: client.zrem(index, *members))

    async def members(self, index: str) -> list[str]:
        """All whose time is not over, the one that stays longest first."""
        found = await self._call(lambda client: client.zrevrangebyscore(index, "+inf", f"({self._now()}"))
        return [member.decode() for member in found]

    # --- lists --------------------------------------------------------------------------------------------------

    async def append(self, line: Line) -> None:
        """Put a line at the head of its list."""

        async def write(client: Redis) -> None:
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.lpush(line.key, line.value)
                pipeline.ltrim(line.key, 0, line.keep - 1)
                pipeline.pexpire(line.key, _ms(line.ttl_s))
                await pipeline.execute()

        await self._call(write)

    async def tail(self, key: str, count: int) -> list[bytes]:
        """The newest lines of a list, the newest first."""
        return await self._call(lambda client: client.lrange(key, 0, count - 1)) if count > 0 else []

    # --- leases -------------------------------------------------------------------------------------------------

    async def take(self, key: str, owner: str, ttl_s: float) -> bool:
        """Take a lease, or renew one's own; False where somebody else has it."""
        return await self._run(_TAKE, [key], owner, _ms(ttl_s))

    async def release(self, key: str, owner: str) -> None:
        """Give a lease back; nothing happens where somebody else has it."""
        await self._run(_RELEASE, [key], owner)
