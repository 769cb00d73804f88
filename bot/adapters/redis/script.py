"""Lua scripts, and a connection that runs them quickly.

redis-py lends a connection to one call at a time, and most of what a short script costs is the lending. Here all calls
share one: each is written at once, and since Redis answers in order, each answer belongs to the call that has waited
longest. redis-py still opens the connection, with all that a URL can ask for.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import deque
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.adapters.redis.connections import QUICK, Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import ConnectionPool

    from bot.adapters.redis.connections import RedisServer

Argument = str | bytes | int | float

SCRIPTS: Final = Way(
    name="scripts", timeout_s=QUICK.timeout_s, connect_s=QUICK.connect_s, retries=QUICK.retries, connections=1_000
)
"""`QUICK`, for more calls at a time: they need no connection each."""

_BUFFER: Final = 16_384
"""Bytes that are read at a time, into one buffer: asyncio's own way allocates 256 KiB for each answer."""


class Script:
    """A script: files of ``bot/adapters/redis/scripts``, one after the other, and constants that they name."""

    def __init__(self, *names: str, **constants: int) -> None:
        folder = resources.files("bot.adapters.redis") / "scripts"
        head = [f"local {name} = {value}" for name, value in constants.items()]
        self.source = "\n".join([*head, *((folder / name).read_text(encoding="utf-8") for name in names)])
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()  # as Redis names it


class ScriptRunner:
    """Runs scripts on one server, in one way; of its ``connections``, it opens one."""

    def __init__(self, server: RedisServer, way: Way = SCRIPTS) -> None:
        self._server = server
        self._way = way
        self._line: _Line | None = None
        self._opening: asyncio.Task[_Line] | None = None

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> bytes:
        """Run ``script``, which has to answer with a string.

        Raises:
            StoreUnavailable: the server did not answer, is known to be away, or refused. It may have run all the same.
        """
        began = self._server.begin()
        try:
            line = self._line
            if line is None or not line.is_open:
                line = await self._opened()
            try:
                answer = await line.ask(("EVALSHA", script.sha, len(keys), *keys, *arguments))
            except NoScriptError:  # a server that is new, or was emptied
                answer = await line.ask(("EVAL", script.source, len(keys), *keys, *arguments))
        except (RedisError, OSError) as exc:
            raise self._server.failed(exc, began) from exc
        self._server.answered()
        return answer

    async def aclose(self) -> None:
        """Close the connection; another call opens another."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._line is not None:
            await self._line.aclose()

    async def _opened(self) -> _Line:
        """A connection: one attempt for all who want one meanwhile, so that they fail together and not in turn."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())  # all may have left
        return await asyncio.shield(self._opening)

    async def _open(self) -> _Line:
        pool = self._server.client(self._way).connection_pool
        self._line = _Line(await pool.get_connection(), pool, self._way.timeout_s)
        return self._line


class _Line(asyncio.BufferedProtocol):
    """A connection with calls under way on it.

    Once redis-py has greeted the server, the line takes the connection over; for the pool, it is lent until it closes.
    """

    def __init__(self, connection: Any, pool: ConnectionPool, timeout_s: float | None) -> None:
        self._transport = cast("asyncio.Transport", connection._writer.transport)  # noqa: SLF001 - no other way to it
        self._greeter = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_BUFFER)
        self._replies = hiredis.Reader()
        self._waiting: deque[tuple[float, asyncio.Future[bytes]]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._returned = asyncio.create_task(self._give_back(connection, pool))

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    async def ask(self, command: tuple[Argument, ...]) -> bytes:
        if not self.is_open:
            raise RedisConnectionError("lost")
        # Nothing else runs between the writing and the queueing, so that both have one order.
        self._transport.write(_packed(command))
        answer: asyncio.Future[bytes] = self._loop.create_future()
        due = self._loop.time() + self._timeout_s
        self._waiting.append((due, answer))
        if self._watch is None and due < math.inf:  # one timer for all calls, which is cheaper than one for each
            self._watch = self._loop.call_at(due, self._look)
        return await answer

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._replies.feed(self._buffer, 0, nbytes)  # pyright: ignore[reportArgumentType] - typed too narrowly
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):  # something that nobody asked for
                continue
            _, answer = self._waiting.popleft()
            if answer.done():  # whoever asked has given up
                continue
            if isinstance(reply, hiredis.ReplyError):
                text = str(reply)
                answer.set_exception((NoScriptError if text.startswith("NOSCRIPT") else ResponseError)(text))
            else:
                answer.set_result(cast("bytes", reply))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(RedisConnectionError(f"lost: {exc}"))
        cast("asyncio.Protocol", self._greeter).connection_lost(exc)
        self._lost.set()

    async def aclose(self) -> None:
        self._transport.close()
        await self._returned

    def _look(self) -> None:
        """See whether the oldest call has waited too long. If so, all that came later waits behind it: all fail."""
        self._watch = None
        if not self._waiting:
            return
        due, _ = self._waiting[0]
        if due > self._loop.time():
            self._watch = self._loop.call_at(due, self._look)
        else:
            self._fail(RedisTimeoutError("silent"))
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(error)

    async def _give_back(self, connection: Any, pool: ConnectionPool) -> None:
        await self._lost.wait()
        if self._watch is not None:
            self._watch.cancel()
        await connection.disconnect(nowait=True)
        await pool.release(connection)


def _packed(command: tuple[Argument, ...]) -> bytes:
    return hiredis.pack_command(command)  # pyright: ignore[reportArgumentType] - typed as a tuple of one
