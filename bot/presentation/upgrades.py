"""Answers that were made without a language model, until one answers again: then they are made anew, in place."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.core.errors import EarshotError, ErrorKind
from bot.core.models import KeptTranscript
from bot.presentation.courier import Parcel
from bot.presentation.network import UNDELIVERED
from bot.presentation.replies import EXTRACT_LACKS, lack_of, updated_answer
from bot.presentation.retry import withdraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.desk import Desk
    from bot.core.models import Reply
    from bot.core.ports import ModeSource, RequestLog
    from bot.presentation.courier import PartialAnswer

MOST: Final = 200
"""Answers that are remembered; the newest ones."""
REMEMBERED_S: Final = 1_800.0
EVERY_S: Final = 30.0
"""How often one of them is tried, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """An answer, and the id of the request that makes it again: the same for all tries, which are one to fair use."""

    answer: PartialAnswer
    again_id: str
    until: float


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
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        """By message; what was tried last comes last."""

    async def remember(self, answer: PartialAnswer) -> None:
        """Take an answer that no model made; one of a model that has gaps is left to the button."""
        if lack_of(answer.reply.notes) >= EXTRACT_LACKS:
            waiting = _Waiting(answer=answer, again_id=self._new_id(), until=self._clock() + REMEMBERED_S)
            self._waiting[answer.message.id] = waiting
            await self._let_go()

    def forget(self, message_id: int) -> None:
        """Leave a message alone: somebody else changes it."""
        self._waiting.pop(message_id, None)

    async def look(self) -> None:
        """Try the answer that has waited longest for a try; while a model answers, the next ones too."""
        try:
            await self._let_go()
            while self._waiting and await self._try(next(iter(self._waiting.values()))):
                pass
        except Exception:  # noqa: BLE001 - what fails for one is no reason to leave the others
            logger.exception("unexpected error")
            if self._waiting:
                self._waiting.popitem(last=False)

    async def _let_go(self) -> None:
        """Forget those whose time is over, and the oldest where there are too many."""
        by_age = sorted(self._waiting.values(), key=lambda waiting: waiting.until)
        now, surplus = self._clock(), len(by_age) - MOST
        for number, waiting in enumerate(by_age):
            if number < surplus or waiting.until <= now:
                await self._drop(waiting)

    async def _drop(self, waiting: _Waiting) -> None:
        self.forget(waiting.answer.message.id)
        await withdraw(self._requests, waiting.again_id)

    async def _try(self, waiting: _Waiting) -> bool:
        """Make one again; whether a model answered, so that the next one is worth trying at once."""
        before, message_id = waiting.answer.reply, waiting.answer.message.id
        with logger.contextualize(request_id=waiting.again_id):
            try:
                reply = await self._again(waiting, before)
            except EarshotError as exc:
                logger.info("an answer cannot be made again: {}: {}", exc.key, exc.detail)
                reply = None
                if exc.kind is ErrorKind.PERMANENT:
                    await self._drop(waiting)
            if reply is None:
                if message_id in self._waiting:
                    self._waiting.move_to_end(message_id)
                return False
            if self._waiting.pop(message_id, None) is waiting:
                await self._show(waiting.answer, reply)
            else:
                await withdraw(self._requests, waiting.again_id)
            return True

    async def _again(self, waiting: _Waiting, before: Reply) -> Reply | None:
        """What a model makes of it; None where none answers."""
        assert before.mode is not None
        assert before.transcript_id is not None
        await self._requests.get(before.request.id)  # what its member deleted stays deleted
        source = KeptTranscript(id=before.transcript_id)
        request = replace(before.request, id=waiting.again_id, source=source, mode=before.mode.id)
        reply = await self._desk.serve(request)
        await self._desk.delivered(waiting.again_id, url=None)  # nobody waits for it
        return reply if lack_of(reply.notes) < lack_of(before.notes) else None

    async def _show(self, answer: PartialAnswer, reply: Reply) -> None:
        """Put it into the message. Where that is gone, the result is still in /results."""
        shown = updated_answer(reply, locale=answer.locale)
        parcel = Parcel.of(shown, self._modes.current().values(), limit=answer.limit, locale=answer.locale)
        try:
            await parcel.put_in(answer.message.edit)
        except UNDELIVERED as exc:
            logger.info("an answer could not be updated: {!r}", exc)
            return
        logger.info("an answer was updated with {}", reply.model)
        await self._desk.delivered(reply.request.id, url=answer.message.jump_url)
