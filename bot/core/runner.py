"""Does jobs, in whichever process there is room.

A job may be begun more than once: its process was killed, or lost the store for a while. What was done before is found
again by its content, the record says how often it was begun, and its end is entered by whoever gets there, again and
again until the store has it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from loguru import logger

from bot.core.desk import Ended
from bot.core.entries import broken_off
from bot.core.errors import (
    CancelledByMember,
    EarshotError,
    GivenUp,
    NotFound,
    RecordInvalid,
    RecordTooNew,
    StoreUnavailable,
    TranscriptNotKept,
)
from bot.core.fair_use import see_through
from bot.core.jobs import Lane
from bot.core.models import NoteKey, SpooledAudio, Stage
from bot.core.records import RequestState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.admission import Admission
    from bot.core.desk import Desk
    from bot.core.jobs import AudioDepot, Outbox, ProgressBus, StopFlags
    from bot.core.models import Progress
    from bot.core.ports import RequestLog, TranscriptStore
    from bot.core.records import RequestRecord

T = TypeVar("T")

MAX_STARTS: Final = 3
"""How often a job is begun: one that ends its process each time is given up."""

_LOOK_S: Final = 1.0
"""How often it is seen whether a job is to stop, in seconds."""
_AGAIN_S: Final = 1.0


class Runner:
    """Does jobs.

    Args:
        desk: answers requests, and enters how they went.
        requests: what the jobs are.
        transcripts: what was heard, which answers are made of.
        admission: told once a job needs no transcriber any more.
        outbox: takes the answers.
        bus: carries progress.
        flags: say which jobs are to stop.
        depot: where their audio lies.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        desk: Desk,
        *,
        requests: RequestLog,
        transcripts: TranscriptStore,
        admission: Admission,
        outbox: Outbox,
        bus: ProgressBus,
        flags: StopFlags,
        depot: AudioDepot,
        now: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._requests = requests
        self._transcripts = transcripts
        self._admission = admission
        self._outbox = outbox
        self._bus = bus
        self._flags = flags
        self._depot = depot
        self._now = now
        self._suspects = {lane: asyncio.Lock() for lane in Lane}
        """Jobs whose process died are done one at a time, so that none is given up for what another does to it."""
        self._past = Counter[Lane]()
        self.at_hand: Callable[[Ended], Awaitable[None]] | None = None
        """Answers whoever watches a job from this process; for when the store, and with it the outbox, is away."""

    async def run(self, request_id: str, lane: Lane) -> None:
        """Do a job to its end, unless it came to one before; then see to it that its answer goes out."""
        with logger.contextualize(request_id=request_id):
            try:
                record = await _stored(partial(self._requests.get, request_id))
            except RecordTooNew as exc:
                logger.warning("a job is left to a process of a later version: {}", exc)
                return  # it keeps its place in the line, from which it is submitted again
            except (NotFound, RecordInvalid) as exc:
                logger.info("there is nothing to do for a job: {}", exc)
                await _stored(partial(self._outbox.post, request_id))  # whoever watches it is told
            else:
                if lane is Lane.READY:  # it is the engine's now: nobody else need see to it that it is done
                    await _stored(partial(self.make_room, lane, request_id))
                await self._run(record, lane)
            await _stored(partial(self.make_room, lane, request_id))

    async def _run(self, record: RequestRecord, lane: Lane) -> None:
        order = record.order
        if order is None:
            return  # delivered
        ended = Ended(record=record)
        if record.state is RequestState.RUNNING:
            async with self._suspects[lane] if record.starts else nullcontext():
                ended = await self._first(await self._done(record, order.open_s, lane))
        if ended.record.order is not None:
            await self._conclude(ended)
            await _stored(partial(self._outbox.post, record.id))
        if isinstance(order.source, SpooledAudio):
            with suppress(EarshotError):  # then it is swept
                await self._depot.discard(order.source)

    async def _first(self, ended: Ended) -> Ended:
        """``ended``, unless the job came to another end meanwhile: this process was taken for dead."""
        with suppress(NotFound, RecordInvalid, StoreUnavailable):
            record = await self._requests.get(ended.record.id)
            if record.ended_at is not None:
                return Ended(record=record)
        return ended

    async def _conclude(self, ended: Ended) -> None:
        """Enter the end. Where the store is away, whoever watches here is answered before that."""
        try:
            await self._enter(ended)
        except StoreUnavailable:
            if self.at_hand is not None:
                try:
                    await self.at_hand(ended)
                except Exception:  # noqa: BLE001 - whatever it is, the end is entered
                    logger.exception("unexpected error")
            await _stored(partial(self._enter, ended))

    async def _enter(self, ended: Ended) -> None:
        await self._desk.conclude(await self._kept(ended))

    async def _kept(self, ended: Ended) -> RequestRecord:
        """The record, once its transcript is kept, where that failed since the store was away: nothing else has it."""
        record, reply = ended.record, ended.reply
        if reply is None or reply.transcript_id is not None or record.order is None:
            return record
        try:
            await self._transcripts.put(record.id, reply.transcript, keep_s=record.order.keep_s)
        except TranscriptNotKept as exc:
            if isinstance(exc.__cause__, StoreUnavailable):
                raise exc.__cause__ from None
            return record
        notes = tuple(note for note in record.notes if note.key is not NoteKey.NOT_KEPT)
        return record.model_copy(update={"transcript_id": record.id, "notes": notes})

    async def _done(self, record: RequestRecord, keep_s: float, lane: Lane) -> Ended:
        """What comes of the job."""
        if await self._is_to_stop(record):
            return self._stopped(record, price=0)
        if record.starts >= MAX_STARTS:
            logger.error("a job was begun {} times and never came to an end: it is given up", record.starts)
            return Ended(record=broken_off(record, GivenUp(starts=record.starts), now=self._now()))
        record = record.model_copy(update={"starts": record.starts + 1})
        with suppress(StoreUnavailable):  # it is counted when it is begun again
            await self._requests.put(record, keep_s=keep_s)
        course = _Course(self, record.id, lane)
        work = asyncio.create_task(self._desk.work(record, course.observe), name=f"job {record.id}")
        try:
            await self._watched(work, course, record)
        except asyncio.CancelledError:
            await see_through(self._uncounted(record.id, keep_s))
            raise
        if not work.cancelled():
            return work.result()
        with suppress(NotFound, RecordInvalid, StoreUnavailable):
            record = await self._requests.get(record.id)  # it says what was left in the cache
        return self._stopped(record, price=record.price if course.was_worked_on else 0)

    async def _watched(self, work: asyncio.Task[Ended], course: _Course, record: RequestRecord) -> None:
        """Wait for the end of ``work``, and see to it where the job is to stop."""
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_S))[0]:
                if await self._is_to_stop(record):
                    break
        finally:
            work.cancel()  # which does nothing to one that is done
            await asyncio.wait({work})
            await course.aclose()

    async def _uncounted(self, request_id: str, keep_s: float) -> None:
        """Take a start back: the process ends, and not by this job."""
        with suppress(NotFound, RecordInvalid, StoreUnavailable):
            record = await self._requests.get(request_id)
            if record.ended_at is None:
                uncounted = record.model_copy(update={"starts": max(record.starts - 1, 0)})
                await self._requests.swap(record, uncounted, keep_s=keep_s)

    def _stopped(self, record: RequestRecord, *, price: int) -> Ended:
        """How a job ends that somebody cancelled: at its price, if there was work for it."""
        ended = broken_off(record, CancelledByMember(), now=self._now())
        return Ended(record=ended.model_copy(update={"state": RequestState.CANCELLED, "price": price}))

    async def _is_to_stop(self, record: RequestRecord) -> bool:
        with suppress(StoreUnavailable):
            return bool(await self._flags.raised([record.id]))
        return False

    def tell(self, request_id: str, progress: Progress) -> None:
        """Tell whoever watches."""
        self._bus.publish(request_id, progress)

    def past_listening(self, lane: Lane) -> int:
        """How many jobs under way here need no transcriber any more."""
        return self._past[lane]

    def passed(self, lane: Lane, number: int) -> None:
        """So many more need none, or fewer."""
        self._past[lane] += number

    async def make_room(self, lane: Lane, request_id: str) -> None:
        """A job needs no transcriber, or none any more: the next one may come.

        Raises:
            StoreUnavailable: it still has its place.
        """
        with suppress(RecordInvalid):  # a ledger of a later version
            await self._admission.leave(Lane.INTERACTIVE if lane is Lane.READY else lane, request_id)


class _Course:
    """How far a job is."""

    def __init__(self, runner: Runner, request_id: str, lane: Lane) -> None:
        self.was_worked_on = False
        self._runner = runner
        self._request_id = request_id
        self._lane = lane
        self._leaving: asyncio.Task[None] | None = None

    def observe(self, progress: Progress) -> None:
        self._runner.tell(self._request_id, progress)
        if progress.stage in (Stage.TRANSCRIBE, Stage.COMPLETE) and not progress.waiting:
            self.was_worked_on = True
        if progress.stage in (Stage.ROUTE, Stage.COMPLETE) and self._leaving is None:
            self._runner.passed(self._lane, 1)
            self._leaving = asyncio.create_task(self._leave())

    async def aclose(self) -> None:
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
            self._runner.passed(self._lane, -1)

    async def _leave(self) -> None:
        with suppress(StoreUnavailable):  # it leaves at its end
            await self._runner.make_room(self._lane, self._request_id)


async def _stored(do: Callable[[], Awaitable[T]]) -> T:
    """Do something that needs the store, as soon as that is there: what a job made is not lost without it."""
    waiting = False
    while True:
        try:
            return await do()
        except StoreUnavailable as exc:
            if not waiting:
                logger.info("a job waits for the store: {}", exc)
            waiting = True
            await asyncio.sleep(_AGAIN_S)
