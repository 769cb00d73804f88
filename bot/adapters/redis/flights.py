"""Single flight across processes: a lock in the store, and a channel on which its holder tells how far it is.

Whoever finds no lock takes it and leads. The lock lives for a few seconds and is renewed while the work runs, so that a
leader that dies is soon followed. What came of the work is left for those who wait; one that finds neither lock nor
outcome leads in its turn. No answer depends on any of this: where the store is away, everybody works alone.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from bot.adapters.redis import keys
from bot.adapters.redis.cache import pack, unpack
from bot.adapters.redis.connections import LISTENING, QUICK
from bot.adapters.redis.script import Script
from bot.core.caching import decode_error, encode_error
from bot.core.errors import EarshotError, RecordInvalid, StoreUnavailable
from bot.core.ports import Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer

    OnNews = Callable[[bytes], None]
    Work = Callable[[OnNews], Awaitable[bytes]]

_NEWS_EVERY_S: Final = 0.3
_LOOK_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 10.0
_LANDING_S: Final = 1.0
"""For how long a leader that has its value stays to leave it to others."""
_AGAIN_S: Final = 0.05

# --- the scripts --------------------------------------------------------------------------------------------------


class _Leads:
    """The caller holds the lock."""


@dataclass(frozen=True, slots=True)
class _Landed:
    """What came of it: ``kind`` is ``b"value"`` or ``b"error"``."""

    kind: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class _Waits:
    """Somebody else holds the lock. ``outcome`` is the token of the one that is there, ``news`` the newest message."""

    outcome: bytes
    news: bytes


_JOIN: Final = Script("flight_join.lua")
_HOLD: Final = Script("flight_hold.lua")
_LAND: Final = Script("flight_land.lua")


class _Post:
    """The place of one caller in one flight, as the store sees it. All methods raise `StoreUnavailable`."""

    def __init__(self, server: RedisServer, key: str, token: str, lock_s: float) -> None:
        self.token = token
        self.channel = keys.flight_news(key)
        self.lock_s = lock_s
        self._server = server
        self._lock, self._outcome = keys.flight_lock(key), keys.flight_outcome(key)
        self._lock_ms = round(1_000 * lock_s)

    async def join(self, *, since: bytes | None) -> _Leads | _Landed | _Waits:
        """Take part. ``since`` is the outcome's token when the caller came; None: it comes now."""
        names = (self._lock, self.channel, self._outcome)
        came = ("new", b"") if since is None else ("waiting", since)
        reply = await self._server.run(_JOIN, names, self.token, self._lock_ms, *came, way=QUICK)
        match reply:
            case [b"landed", kind, body]:
                return _Landed(kind, body)
            case [b"wait", outcome, news]:
                return _Waits(outcome, news)
            case _:
                return _Leads()

    async def hold(self, message: bytes) -> bool:
        """Keep the lock, and tell ``message`` if it is not empty; False where the lock is lost."""
        args = (self.token, self._lock_ms, message, 1_000 * keys.FLIGHT_NEWS_S)
        return bool(await self._server.run(_HOLD, (self._lock, self.channel), *args))

    async def land(self, kind: str, body: bytes) -> None:
        """Give the lock back and leave an outcome, none for an empty ``kind``; if the lock is this caller's."""
        names = (self._lock, self.channel, self._outcome)
        await self._server.run(_LAND, names, self.token, kind, body, 1_000 * keys.FLIGHT_OUTCOME_S)


# --- flights ------------------------------------------------------------------------------------------------------


class RedisFlights:
    """One leader a key among all processes that share a store. For many callers of one process, see `LocalFlights`.

    Args:
        server: the store.
        new_token: names a caller, never the same twice, without a colon: ``lambda: secrets.token_hex(16)``.
        clock: seconds on a clock that never goes back.
        lock_s: a leader that is not heard of for so long is followed by another.
        patience_s: how long one who waits bears with a store that is away before it works alone.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        new_token: Callable[[], str],
        clock: Callable[[], float],
        lock_s: float = keys.FLIGHT_LOCK_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._server = server
        self._new_token = new_token
        self._clock = clock
        self._lock_s = lock_s
        self._patience_s = patience_s

    async def share(self, key: str, work: Work, *, on_news: OnNews) -> Shared:
        """Do ``work``, or wait for whoever is at it; see `bot.core.ports.Flights`.

        A value is given to everybody who asks within ``keys.FLIGHT_OUTCOME_S``; an error only to those who came before
        it did. An error that is none of `EarshotError` reaches the others as a plain one, as `LocalFlights` has it.
        """
        post = _Post(self._server, key, self._new_token(), self._lock_s)
        try:
            standing = await self._standing(post, on_news)
        except asyncio.CancelledError:
            await _land(post, "", b"")  # the lock may have come to this caller as it left
            raise
        if isinstance(standing, _Landed):
            body = await unpack(standing.body)
            if standing.kind == b"error":
                raise _error_of(body)
            if body is not None:
                return Shared(value=body, led=False)
        return Shared(value=await _lead(post, work), led=True)

    async def _standing(self, post: _Post, on_news: OnNews) -> _Leads | _Landed:
        """What this caller is to do in the end: lead, if only for itself, or take what came of it."""
        try:
            standing = await post.join(since=None)
        except StoreUnavailable:
            return _Leads()
        if not isinstance(standing, _Waits):
            return standing
        news, look = _News(on_news), asyncio.Event()
        listening = asyncio.create_task(self._listen(post.channel, news, look))
        try:
            return await self._wait(post, standing, news, look)
        finally:
            await _stop(listening)

    async def _wait(self, post: _Post, standing: _Waits, news: _News, look: asyncio.Event) -> _Leads | _Landed:
        since = standing.outcome
        answered = self._clock()
        while True:
            await news.take(standing.news)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await look.wait()
            look.clear()
            try:
                found = await post.join(since=since)
            except StoreUnavailable:
                if self._clock() - answered > self._patience_s:
                    return _Leads()
                continue
            if not isinstance(found, _Waits):
                return found
            standing, answered = found, self._clock()

    async def _listen(self, channel: str, news: _News, look: asyncio.Event) -> None:
        """Take the news as they come, and ask for a look where there may be an outcome."""

        async def listen(client: Redis) -> None:
            pubsub = client.pubsub()
            try:
                await pubsub.subscribe(channel)
                while True:
                    message = await pubsub.get_message(timeout=None)
                    told: Any = message["data"] if message is not None and message["type"] == "message" else None
                    if told:
                        await news.take(told)
                    else:  # it landed; or this is the subscription, before which it may have
                        look.set()
            finally:
                await pubsub.aclose()

        while True:
            with suppress(StoreUnavailable):  # who waits also looks without being told to
                await self._server.call(listen, way=LISTENING)
            await asyncio.sleep(_LOOK_EVERY_S)


class _News:
    """What one who waits hears: in order, each once, though it comes by the channel and by looking."""

    def __init__(self, on_news: OnNews) -> None:
        self._on_news = on_news
        self._last: tuple[bytes, int] = (b"", 0)

    async def take(self, message: bytes) -> None:
        token, _, rest = message.partition(b":")
        number, _, body = rest.partition(b":")
        if not number.isdigit() or (news := await unpack(body)) is None:
            return
        if token == self._last[0] and int(number) <= self._last[1]:
            return
        self._last = (token, int(number))
        self._on_news(news)


class _Teller:
    """Holds a leader's lock while it works, and tells its news, the newest one at a time."""

    def __init__(self, post: _Post) -> None:
        self._post = post
        self._newest: bytes | None = None
        self._fresh = asyncio.Event()

    def tell(self, news: bytes) -> None:
        self._newest = news
        self._fresh.set()

    async def hold(self) -> None:
        number = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._post.lock_s / 3):
                    await self._fresh.wait()
            self._fresh.clear()
            news, self._newest = self._newest, None
            number += 1
            try:
                if not await self._post.hold(await self._message(number, news)):
                    return
            except StoreUnavailable:  # the work goes on, and when the store is back the lock may still be there
                self._newest = news if self._newest is None else self._newest
            await asyncio.sleep(min(_NEWS_EVERY_S, self._post.lock_s / 3))

    async def _message(self, number: int, news: bytes | None) -> bytes:
        return b"" if news is None else b"%s:%d:%s" % (self._post.token.encode(), number, await pack(news))


async def _lead(post: _Post, work: Work) -> bytes:
    teller = _Teller(post)
    holding = asyncio.create_task(teller.hold())
    kind, body = "", b""
    try:
        value = await work(teller.tell)
        kind, body = "value", value
    except EarshotError as exc:
        kind, body = "error", encode_error(exc)
        raise
    except BaseException as exc:
        task = asyncio.current_task()
        if not (isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling()):
            kind, body = "error", encode_error(EarshotError(f"shared work crashed: {type(exc).__name__}"))
        raise
    finally:
        await _stop(holding)
        await _land(post, kind, await pack(body) if kind else b"")
    return value


async def _land(post: _Post, kind: str, body: bytes) -> None:
    with suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(_LANDING_S):
            await post.land(kind, body)


def _error_of(body: bytes | None) -> EarshotError:
    try:
        return decode_error(body or b"")
    except RecordInvalid:
        return EarshotError("shared work failed elsewhere, in a way that is not known here")


async def _stop(task: asyncio.Task[None]) -> None:
    while not task.done():
        # More than once: a cancellation that meets the end of a write is lost in asyncio.wait_for of Python 3.11, which
        # redis-py writes with.
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_S)
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.opt(exception=exc).error("what ran beside a flight failed")
