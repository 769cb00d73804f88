"""Answers of which not all could be made, until a language model answers again: then they are made anew, in place."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import discord
from loguru import logger

from bot.core.errors import EarshotError, ErrorKind
from bot.core.models import KeptTranscript
from bot.presentation.courier import Parcel
from bot.presentation.lacks import is_refused, lack_of
from bot.presentation.network import NETWORK, UNDELIVERED
from bot.presentation.replies import updated_answer
from bot.presentation.retry import AlreadyAtIt, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bot.core.desk import Desk
    from bot.core.models import Reply
    from bot.core.ports import ModeSource, RequestLog
    from bot.presentation.courier import PartialAnswer

MOST: Final = 200
"""Answers that are remembered; the newest ones."""
REMEMBERED_S: Final = 1_800.0
EVERY_S: Final = 30.0
"""How soon one of them is tried, in seconds; the wait doubles with each try of it."""
LONGEST_WAIT_S: Final = 300.0
_EARLY_S: Final = 1.0
"""A look that comes so much too early for one is in time for it."""

_MAY_PASS: Final = (discord.DiscordServerError, discord.RateLimited, *NETWORK)
"""Why a message cannot be changed now, though it is there."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """An answer, and the id of the request that makes it again: the same for all tries, which are one to fair use."""

    answer: PartialAnswer
    again_id: str
    until: float
    due: float
    wait_s: float = EVERY_S


class Upgrades:
    """Remembers answers, and makes them again; they are gone with the process.

    Args:
        desk: answers requests.
        requests: knows what was deleted.
        modes: for the menus below an answer.
        clock: seconds from any beginning, never going back.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(
        self,
        desk: Desk,
        requests: RequestLog,
        modes: ModeSource,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._requests = requests
        self._modes = modes
        self._clock = clock
        self._new_id = new_id
        self._waiting: dict[int, _Waiting] = {}
        """By message."""
        self._changing: set[int] = set()

    async def remember(self, answer: PartialAnswer) -> None:
        """Take an answer of which not all is there; not where the models refuse the rest, and would again."""
        if not is_refused(answer.reply):
            now = self._clock()
            self._wait(answer, due=now, until=now + REMEMBERED_S)
            await self._let_go()

    @contextmanager
    def changing(self, message_id: int) -> Generator[None]:
        """While somebody makes the answer in a message anew.

        Raises:
            AlreadyAtIt: somebody else does.
        """
        if message_id in self._changing:
            raise AlreadyAtIt
        self._changing.add(message_id)
        try:
            yield
        finally:
            self._changing.discard(message_id)

    async def shown(self, message_id: int, reply: Reply) -> None:
        """A message shows ``reply`` now; what that lacks is waited for, as long as it would have been before."""
        waiting = self._waiting.pop(message_id, None)
        if waiting is None:
            return
        if lack_of(reply.notes) > 0 and not is_refused(reply):
            answer = replace(waiting.answer, reply=reply)
            self._wait(answer, due=self._clock() + EVERY_S, until=waiting.until)
        if waiting.again_id != reply.request.id:
            await withdraw(self._requests, waiting.again_id, beside=reply.request.id)

    async def look(self) -> None:
        """Try the answer that has been due for longest; while a model answers, the next ones too."""
        try:
            await self._let_go()
            while (waiting := self._next()) is not None and await self._try(waiting):
                pass
        except Exception:  # noqa: BLE001 - what fails is tried again later, and is no reason to leave the others
            logger.exception("unexpected error")

    def _wait(self, answer: PartialAnswer, *, due: float, until: float) -> None:
        self._waiting[answer.message.id] = _Waiting(answer=answer, again_id=self._new_id(), until=until, due=due)

    def _next(self) -> _Waiting | None:
        due = [
            waiting
            for message_id, waiting in self._waiting.items()
            if waiting.due <= self._clock() + _EARLY_S and message_id not in self._changing
        ]
        return min(due, key=lambda waiting: waiting.due, default=None)

    async def _let_go(self) -> None:
        """Forget those whose time is over, and the oldest where there are too many."""
        by_age = sorted(self._waiting.values(), key=lambda waiting: waiting.until)
        now, surplus = self._clock(), len(by_age) - MOST
        for number, waiting in enumerate(by_age):
            if number < surplus or waiting.until <= now:
                await self._drop(waiting)

    async def _drop(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting.answer.message.id, None)
        await self._withdraw(waiting)

    async def _withdraw(self, waiting: _Waiting) -> None:
        await withdraw(self._requests, waiting.again_id, beside=waiting.answer.reply.request.id)

    async def _try(self, waiting: _Waiting) -> bool:
        """Make one again; whether a model answered, so that the others are worth trying at once."""
        waiting.due = self._clock() + waiting.wait_s
        waiting.wait_s = min(2 * waiting.wait_s, LONGEST_WAIT_S)
        with logger.contextualize(request_id=waiting.again_id):
            try:
                reply = await self._again(waiting)
            except EarshotError as exc:
                logger.info("an answer cannot be made again: {}: {}", exc.key, exc.detail)
                if exc.kind is ErrorKind.PERMANENT:
                    await self._drop(waiting)
                return False
            if lack_of(reply.notes) >= lack_of(waiting.answer.reply.notes):
                if is_refused(reply):
                    await self._drop(waiting)
                return False
            for other in self._waiting.values():
                if other is not waiting:
                    other.due = min(other.due, self._clock())
            return await self._show(waiting, reply)

    async def _again(self, waiting: _Waiting) -> Reply:
        """What is made of it now."""
        before = waiting.answer.reply
        assert before.mode is not None
        assert before.transcript_id is not None
        await self._requests.get(before.request.id)  # what its member deleted stays deleted
        source = KeptTranscript(id=before.transcript_id)
        request = replace(before.request, id=waiting.again_id, source=source, mode=before.mode.id)
        reply = await self._desk.serve(request)
        await self._desk.delivered(waiting.again_id, url=None)  # nobody waits for it
        await self._requests.get(before.request.id)  # also if it was meanwhile
        return reply

    async def _show(self, waiting: _Waiting, reply: Reply) -> bool:
        """Put it into the message, unless somebody else does; whether the network lets it.

        Where the message is gone, the result is still in /results.
        """
        answer = waiting.answer
        message_id = answer.message.id
        if message_id in self._changing:
            return True  # if they do no better, it is found in the cache
        if self._waiting.get(message_id) is not waiting:
            await self._withdraw(waiting)
            return True
        shown = updated_answer(reply, locale=answer.locale)
        parcel = Parcel.of(shown, self._modes.current().values(), limit=answer.limit, locale=answer.locale)
        try:
            with self.changing(message_id):
                await parcel.put_in(answer.message.edit)
        except UNDELIVERED as exc:
            logger.info("an answer could not be updated: {!r}", exc)
            if isinstance(exc, _MAY_PASS):
                return False
            self._waiting.pop(message_id, None)
            return True
        logger.info("an answer was updated with {}", reply.model)
        await self.shown(message_id, reply)
        await self._desk.delivered(reply.request.id, url=answer.message.jump_url)
        return True
