"""Progress from the process where a job runs to the one that shows it, over Redis' pub/sub.

Each request has a channel, and whoever shows anything listens to all of them by one pattern: so a subscription is there
before the job is, and nothing is said to the server where one comes or goes. Jobs that run are few, and each is heard
of about three times a second; what is about requests that nobody shows here is dropped by its channel's name.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from loguru import logger
from pydantic import Field, ValidationError

from bot.adapters.in_process.progress_bus import InProcessProgressBus
from bot.adapters.redis import keys
from bot.adapters.redis.connections import LISTENING, QUICK
from bot.core.durable import Record, Text
from bot.core.errors import StoreUnavailable
from bot.core.models import Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer

LONGEST_TEXT: Final = 4_000
"""Characters of a text that are told, the last ones: about what a message of Discord's can show."""

_EVERY_S: Final = 0.3
_TRIES: Final = 10
"""How often the newest is told where the store is away, before it is as good as lost."""
_AGAIN_S: Final = 1.0
_CANCEL_AGAIN_S: Final = 0.05
_LONGEST_MESSAGE: Final = 64 << 10
"""Bytes; what two texts of the longest come to, however they are written, and more."""

_Fraction = Annotated[float, Field(ge=0, le=1)]
_LongText = Annotated[Text, Field(max_length=LONGEST_TEXT)]


class _Message(Record):
    """`Progress` on its way; ``origin`` is the process that sent it."""

    schema_version: Literal[1] = 1
    origin: str = Field(max_length=64)
    stage: Stage
    fraction: _Fraction | None
    waiting: bool
    transcript_text: _LongText
    result_text: _LongText

    @classmethod
    def of(cls, progress: Progress, origin: str) -> Self:
        fraction = progress.fraction
        return cls(
            origin=origin,
            stage=progress.stage,
            fraction=min(max(fraction, 0.0), 1.0) if fraction is not None and math.isfinite(fraction) else None,
            waiting=progress.waiting,
            transcript_text=progress.transcript_text[-LONGEST_TEXT:],
            result_text=progress.result_text[:LONGEST_TEXT],  # of which the beginning is shown
        )

    def progress(self) -> Progress:
        return Progress(
            stage=self.stage,
            fraction=self.fraction,
            waiting=self.waiting,
            transcript_text=self.transcript_text,
            result_text=self.result_text,
        )


class RedisProgressBus:
    """`bot.core.jobs.ProgressBus`. An asynchronous context manager, or to be closed by `aclose`; used within one loop.

    Observers in this process are called at once, and with all there is; those elsewhere get the last `LONGEST_TEXT`
    characters of texts, every 0.3 s at most, the newest always included. While the store is away they get nothing.

    Args:
        server: the store.
        origin: names this process, like no other; up to 64 characters.
        ping_s: a connection on which nothing comes for so long is asked whether it still is one.
    """

    def __init__(self, server: RedisServer, *, origin: str, ping_s: float = 5.0) -> None:
        self._server = server
        self._origin = origin
        self._ping_s = ping_s
        self._here = InProcessProgressBus()
        self._newest: dict[str, Progress] = {}
        """What is to be told elsewhere, by request."""
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def publish(self, request_id: str, progress: Progress) -> None:
        """Tell how far a job is."""
        self._here.publish(request_id, progress)
        if self._is_closed:
            return
        self._newest[request_id] = progress
        if request_id not in self._telling:
            self._telling[request_id] = asyncio.create_task(self._tell(request_id))

    def subscribe(self, request_id: str, observer: Callable[[Progress], None]) -> Callable[[], None]:
        """Call ``observer`` with the progress of a job, wherever it runs, until the result is called."""
        if self._listening is None and not self._is_closed:
            self._listening = asyncio.create_task(self._listen())
        return self._here.subscribe(request_id, observer)

    async def aclose(self) -> None:
        """Stop telling, and listening to others."""
        self._is_closed = True
        tasks = {*self._telling.values(), *([self._listening] if self._listening else [])}
        while tasks:
            # More than once: a cancellation that meets the end of a write is lost in asyncio.wait_for of Python 3.11,
            # which redis-py writes with.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)

    async def _tell(self, request_id: str) -> None:
        """Tell the newest of one request elsewhere, until there is none."""
        failures = 0
        try:
            while (progress := self._newest.pop(request_id, None)) is not None:
                try:
                    await self._send(request_id, progress)
                    failures = 0
                except StoreUnavailable:
                    failures += 1
                    if failures < _TRIES:
                        self._newest.setdefault(request_id, progress)
                await asyncio.sleep(_EVERY_S)
        finally:
            del self._telling[request_id]

    async def _send(self, request_id: str, progress: Progress) -> None:
        body = _Message.of(progress, self._origin).model_dump_json()
        await self._server.call(lambda client: client.publish(keys.progress(request_id), body), way=QUICK)

    async def _listen(self) -> None:
        while True:
            try:
                await self._server.call(self._follow, way=LISTENING)
            except StoreUnavailable:
                pass  # the server says so itself
            except Exception as exc:  # noqa: BLE001 - nobody would listen for as long as this process runs
                logger.opt(exception=exc).error("listening to progress failed")
            await asyncio.sleep(_AGAIN_S)

    async def _follow(self, client: Redis) -> None:
        """Listen on one connection, for as long as it lasts.

        Raises:
            TimeoutError: it has fallen silent.
        """
        pubsub = client.pubsub()
        try:
            async with asyncio.timeout(2 * self._ping_s):
                await pubsub.psubscribe(keys.PROGRESS)
            is_asked = True  # the subscription is answered too
            while True:
                message: Any = await pubsub.get_message(timeout=self._ping_s)
                if message is not None:
                    is_asked = False
                    self._server.answered()
                    if message["type"] == "pmessage":
                        self._hear(message["channel"], message["data"])
                elif is_asked:
                    raise TimeoutError
                else:
                    await pubsub.ping()
                    is_asked = True
        finally:
            await pubsub.aclose()

    def _hear(self, channel: bytes, body: bytes) -> None:
        request_id = channel.decode(errors="replace").removeprefix(keys.progress(""))
        if not self._here.is_observed(request_id) or len(body) > _LONGEST_MESSAGE:
            return
        with suppress(ValidationError):  # of another version, or nothing of ours
            message = _Message.model_validate_json(body)
            if message.origin != self._origin:  # what this process says is heard here already
                self._here.publish(request_id, message.progress())
