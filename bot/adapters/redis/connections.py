"""Connections to one Redis server: how long each way waits, how often it tries, and what its errors mean here.

redis-py's defaults wait for seconds where a bucket must be decided now. So each *way* to a server has a pool with time
limits and retries of its own, and all ways share one breaker.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loguru import logger
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.adapters.redis.breaker import Breaker
from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bot.adapters.redis.script import Script

T = TypeVar("T")

_ABSENCE: Final = (RedisConnectionError, RedisTimeoutError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a server is asked.

    Args:
        name: for errors.
        timeout_s: for an answer; None waits for ever.
        connect_s: for a connection.
        retries: further tries where a connection broke.
        connections: calls at the same time; further ones wait for their turn.
    """

    name: str
    timeout_s: float | None
    connect_s: float
    retries: int
    connections: int

    @property
    def is_patient(self) -> bool:
        """Whether it waits for longer than `QUICK`, but not for ever."""
        return self.timeout_s is not None and self.timeout_s > _QUICK_S


_QUICK_S: Final = 0.25
QUICK: Final = Way(name="quick", timeout_s=_QUICK_S, connect_s=_QUICK_S, retries=0, connections=64)
"""For what a member waits for, and can be done without: buckets, caches."""
STEADY: Final = Way(name="steady", timeout_s=2.0, connect_s=1.0, retries=2, connections=32)
"""For what should be kept: records, settings, leases."""
LISTENING: Final = Way(name="listening", timeout_s=None, connect_s=1.0, retries=0, connections=256)
"""For what waits for news."""


class RedisServer:
    """One server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; may hold a password, so it is never shown.
        role: what it is for, in words for the log.
        clock: seconds on a clock that never goes back.
        slack: how many times longer than a way says it is waited, where silence is this process's fault.
    """

    def __init__(
        self,
        url: str,
        *,
        role: str,
        clock: Callable[[], float],
        slack: float = 1.0,
    ) -> None:
        self._url = url
        self._slack = slack
        self.role = role
        self._clients: dict[str, Redis] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._breaker = Breaker(role, clock=clock, on_change=self._changed)
        self.failures = 0
        """Calls that failed so far, those that the breaker refused not counted."""

    def __repr__(self) -> str:
        return f"<RedisServer {self.role}>"

    @property
    def why_away(self) -> str | None:
        """Why it cannot be reached; None while it can."""
        return self._breaker.why

    def client(self, way: Way) -> Redis:
        """redis-py's client of one way; for pub/sub and pipelines within `call`."""
        if way.name not in self._clients:
            backoff = ExponentialWithJitterBackoff(base=0.02, cap=0.2) if way.retries else NoBackoff()
            pool: Any = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
                self._url,
                max_connections=way.connections,
                socket_timeout=None if way.timeout_s is None else way.timeout_s * self._slack,
                socket_connect_timeout=way.connect_s * self._slack,
                retry=Retry(backoff, way.retries),
                health_check_interval=0,
            )
            self._clients[way.name] = Redis.from_pool(pool)
            self._turns[way.name] = asyncio.Semaphore(way.connections)
        return self._clients[way.name]

    async def call(self, operation: Callable[[Redis], Awaitable[T]], *, way: Way = STEADY) -> T:
        """Run ``operation`` on a client of ``way``.

        Raises:
            StoreUnavailable: the server did not answer, is known to be away, or refused.
        """
        client = self.client(way)
        async with self._turns[way.name]:
            began = self.begin()  # not before: meanwhile, others saw how the server is
            return await self._asked(operation(client), began, is_patient=way.is_patient)

    async def run(self, script: Script, keys: Sequence[str], *args: str | bytes | float, way: Way = STEADY) -> Any:
        """What ``script`` answers, whatever that is. Those that members wait for have a `ScriptRunner`.

        Raises:
            StoreUnavailable: as from `call`.
        """

        async def operation(client: Redis) -> Any:
            try:
                return await client.evalsha(script.sha, len(keys), *keys, *args)
            except NoScriptError:  # a server that is new, or was emptied
                return await client.eval(script.source, len(keys), *keys, *args)

        return await self.call(operation, way=way)

    async def ping(self) -> None:
        """See, quickly, whether it answers.

        Raises:
            StoreUnavailable: it does not.
        """

        async def operation(client: Redis) -> None:
            await client.execute_command("PING")  # pyright: ignore[reportUnknownMemberType]

        await self.call(operation, way=QUICK)

    # What `call` is made of, for those who ask on connections of their own.

    def begin(self) -> float:
        """Begin a call; gives the time for `failed`.

        Raises:
            StoreUnavailable: the server is known to be away.
        """
        return self._breaker.check()

    def answered(self) -> None:
        """A call was answered."""
        self._breaker.succeeded()

    def failed(self, exc: Exception, began: float) -> StoreUnavailable:
        """What an error of redis-py's, or of the network, means for a call."""
        self.failures += 1
        if isinstance(exc, _ABSENCE) and not isinstance(exc, MaxConnectionsError):  # too many of ours are no absence
            silent = _is_silence(exc)
            why = "it is silent" if silent else f"no connection: {type(exc.__cause__ or exc).__name__}"
            self._breaker.failed(why, at_once=not silent, began=began)
            return StoreUnavailable(f"{self.role}: {why}")
        return StoreUnavailable(f"{self.role}: {type(exc).__name__}: {exc}")

    async def _asked(self, answer: Awaitable[T], began: float, *, is_patient: bool) -> T:
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            result = await (self._watched(answer) if is_patient else answer)
        except (RedisError, OSError) as exc:
            raise self.failed(exc, began) from exc
        self.answered()
        if task and task.cancelling() > cancels:
            # redis-py sends with `asyncio.wait_for`, which up to Python 3.11 can swallow a cancellation.
            raise asyncio.CancelledError
        return result

    async def _watched(self, answer: Awaitable[T]) -> T:
        """``answer``, while there is somebody to give it: where it is late, quick calls see whether there is.

        Tries of several seconds are for a server that is slow, and members wait for what is written down.
        """
        looks: list[asyncio.Task[None]] = []
        async with asyncio.timeout(None) as limit:
            late = asyncio.get_running_loop().call_later(
                _QUICK_S * self._slack, lambda: looks.append(asyncio.create_task(self._look(limit)))
            )
            try:
                return await answer
            finally:
                late.cancel()
                for look in looks:
                    look.cancel()

    async def _look(self, limit: asyncio.Timeout) -> None:
        """End ``limit`` once the server is known to be gone."""
        while self._breaker.why is None:
            with suppress(StoreUnavailable):
                await self.ping()
            if self._breaker.why is None:
                await asyncio.sleep(_QUICK_S)
        limit.reschedule(asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            with suppress(RedisError, OSError):  # a connection that does not close in time is dropped
                await client.aclose(close_connection_pool=True)
        self._clients.clear()

    def _changed(self, why: str | None) -> None:
        if why is None:
            logger.info("the {} is back", self.role)
        else:
            logger.warning("the {} cannot be reached ({}): going on without it", self.role, why)


def _is_silence(exc: BaseException | None) -> bool:
    """Whether a time limit ended it. redis-py wraps one that strikes while it greets a server as a lost connection."""
    while exc is not None:
        if isinstance(exc, (RedisTimeoutError, TimeoutError)):
            return True
        exc = exc.__cause__
    return False
