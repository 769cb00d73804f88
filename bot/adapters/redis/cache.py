"""The cache in Redis. Whatever goes wrong is a miss; only what cannot be forgotten is an error."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import zstandard
from loguru import logger

from bot.adapters.redis import keys
from bot.adapters.redis.connections import QUICK
from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.redis.connections import RedisServer

MAX_BYTES: Final = 16 << 20
"""The longest value: what says that it would be longer when unpacked is a bomb."""
MAX_TTL_S: Final = 30 * 86_400.0
_VERSION: Final = b"\x01"
_IN_THREAD: Final = 128 << 10
"""Bytes from which on (de)compression takes milliseconds, and leaves the event loop."""
_LEVEL: Final = 3


async def pack(value: bytes) -> bytes:
    """Compress ``value``; a version byte stands in front."""
    return _packed(value) if len(value) < _IN_THREAD else await asyncio.to_thread(_packed, value)


async def unpack(raw: bytes) -> bytes | None:
    """What was packed; None where that cannot be told, or would be longer than `MAX_BYTES`."""
    return _unpacked(raw) if len(raw) < _IN_THREAD else await asyncio.to_thread(_unpacked, raw)


def _packed(value: bytes) -> bytes:
    return _VERSION + zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(value)


def _unpacked(raw: bytes) -> bytes | None:
    frame = raw[1:]
    try:
        # Not more than the frame promises is ever unpacked, and one that promises nothing is none of ours.
        if raw[:1] != _VERSION or not 0 <= zstandard.frame_content_size(frame) <= MAX_BYTES:
            return None
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        return None


class RedisCache:
    """Finished work on a server where anything may be evicted.

    Args:
        server: the cache.
        jitter: numbers between 0 and 1, such as ``random.random``: a value is kept for nine to ten tenths of its time,
            so that what was made together does not end together.
    """

    def __init__(self, server: RedisServer, *, jitter: Callable[[], float]) -> None:
        self._server = server
        self._jitter = jitter
        self.counts: Counter[str] = Counter()
        """Looks, as ``hits``, ``misses``, and ``errors``: what is damaged, or could not be asked for or written."""

    async def get(self, key: str) -> bytes | None:
        """What was put, or None."""
        try:
            raw = await self._server.call(lambda client: client.get(keys.cached(key)), way=QUICK)
        except StoreUnavailable as exc:
            self._failed("read", key, exc)
            return None
        if not isinstance(raw, bytes):
            self.counts["misses"] += 1
            return None
        value = await unpack(raw)
        if value is None:
            self._failed("read", key, "it is damaged")
            return None
        self.counts["hits"] += 1
        return value

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep ``value`` for up to ``ttl_s`` seconds; not at all where it is longer than `MAX_BYTES`."""
        if not ttl_s > 0 or len(value) > MAX_BYTES:
            return
        packed = await pack(value)
        ttl_ms = max(1, int(1_000 * min(ttl_s, MAX_TTL_S) * (0.9 + 0.1 * self._jitter())))
        try:
            await self._server.call(lambda client: client.set(keys.cached(key), packed, px=ttl_ms), way=QUICK)
        except StoreUnavailable as exc:
            self._failed("written", key, exc)

    async def delete(self, *keys_: str) -> None:
        """Forget them.

        Raises:
            StoreUnavailable: some of them may still be there.
        """
        if keys_:
            await self._server.call(lambda client: client.delete(*map(keys.cached, keys_)))

    def _failed(self, what: str, key: str, why: object) -> None:
        self.counts["errors"] += 1
        logger.debug("{} could not be {} in the cache: {}", key, what, why)
