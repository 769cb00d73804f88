"""Makes jobs of requests: what is accepted here is answered, whichever process ends meanwhile.

take → into the line, held → **record** → fetch ahead → ready

The place in the line comes first: a record without one would wait for ever, a place without a record is given back by
whoever comes to it. Where the store is away, the request is answered in this process.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.core.entries import request_of
from bot.core.errors import BadInput, EarshotError, NotFound, Overloaded, RecordInvalid, StoreUnavailable
from bot.core.fair_use import see_through
from bot.core.jobs import Lane
from bot.core.models import Progress, Stage
from bot.core.orders import SpooledRecord
from bot.core.pipeline import nobody
from bot.core.records import RequestState
from bot.core.scheduling import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bot.core.admission import Admission
    from bot.core.desk import Desk, Taken
    from bot.core.jobs import AudioDepot, JobQueue, StopFlags
    from bot.core.models import AudioLink, FetchedAudio, Reply, Request
    from bot.core.orders import Address, Order
    from bot.core.pipeline import Pipeline
    from bot.core.ports import AudioFetcher, Observer, RequestLog, Spool
    from bot.core.records import RequestRecord
    from bot.core.scheduling import Place

HELD_S: Final = 120.0
"""Seconds after which a job is let in though nobody told that its audio is there: whoever fetched it has died."""


REVIVED_S: Final = 1_800.0
"""Seconds for which what the store does not know is taken for lost; after that, its time was over."""


class Dispatch:
    """Takes requests as jobs.

    Args:
        desk: says what is taken, and enters it.
        pipeline: knows what was heard before.
        requests: where the jobs are.
        admission: lets them in.
        queue: where those go that need not wait for a transcriber.
        flags: stop them.
        fetcher: brings their audio, so that nobody waits for it later.
        depot: where that lies until it is their turn.
        spool: where it lies on its way there.
        now: Unix time in seconds.
        fetch_ahead: how many may be fetched at a time.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        desk: Desk,
        pipeline: Pipeline,
        *,
        requests: RequestLog,
        admission: Admission,
        queue: JobQueue,
        flags: StopFlags,
        fetcher: AudioFetcher,
        depot: AudioDepot,
        spool: Spool,
        now: Callable[[], float],
        fetch_ahead: int = 4,
    ) -> None:
        self._desk = desk
        self._pipeline = pipeline
        self._requests = requests
        self._admission = admission
        self._queue = queue
        self._flags = flags
        self._fetcher = fetcher
        self._depot = depot
        self._spool = spool
        self._now = now
        self._fetching = asyncio.Semaphore(fetch_ahead)

    async def accept(self, request: Request, address: Address, observer: Observer = nobody) -> RequestRecord | Reply:
        """Take ``request``. Of a record, a job makes an answer that goes to ``address``, once it is forwarded.

        A reply is for the caller to deliver: of what was refused, and found finished; or made here without a store.

        Raises:
            QuotaExceeded, Overloaded: new work would be needed, and is refused; nothing was recorded or taken.
            EarshotError: there is nothing to show, not even a transcript.
        """
        taken = await self._desk.take(request)
        if taken.refusal is None:
            try:
                return await self._enter(taken, address)
            except Overloaded as refusal:
                taken = await self._desk.refused(taken, refusal)
            except (StoreUnavailable, RecordInvalid) as exc:
                logger.info("answered in this process, as there can be no job: {}", exc)
            except BaseException:  # nobody waits for it any more
                await see_through(self._undo(taken))
                raise
        return await self._desk.answer(taken, observer)

    async def forward(self, record: RequestRecord, observer: Observer = nobody) -> None:
        """Bring a job's audio to where any process finds it, and let the job take its turn.

        It does without, after a while: where this fails, or nobody does it.
        """
        try:
            await self._forward(record, observer)
        except EarshotError as exc:
            logger.info("a job waits to be let in: {}", exc)
        except Exception:  # noqa: BLE001 - whatever it is, the job is there, and its answer comes
            logger.exception("a job waits to be let in")

    async def cancel(self, record: RequestRecord) -> None:
        """Let the job of ``record`` stop, wherever it is; it comes to its end by itself, and its answer says so.

        Raises:
            StoreUnavailable: it goes on.
        """
        await self._flags.raise_flag(record.id)
        lane = record.order.lane if record.order else Lane.INTERACTIVE
        if await self._admission.place(lane, record.id) is not None:  # who waits need not wait to be cancelled
            await self._queue.submit(record.id, Lane.READY)

    async def revive(self, record: RequestRecord) -> None:
        """Take a job again if the store has lost it, as one that was emptied has.

        Raises:
            StoreUnavailable: nobody can tell now.
        """
        assert record.order is not None, "a job has an order"
        try:
            await self._requests.get(record.id)
        except NotFound:
            if self._now() - record.created_at > REVIVED_S:
                return  # it has come to its end long ago
            logger.warning("the store has lost a job: it is taken again")
            await self._requests.put(record, keep_s=record.order.open_s)  # but for what its member had forgotten
            await self._admission.join(record.order.lane, self._entry(record, held_s=0.0))

    async def is_answered(self, request_id: str) -> bool:
        """Whether a job was answered, as far as can be told.

        Raises:
            StoreUnavailable: nobody can tell now.
        """
        with suppress(NotFound, RecordInvalid):
            return (await self._requests.get(request_id)).address is None
        return False

    async def under_way(self) -> list[RequestRecord]:
        """The jobs that wait, or need a transcriber.

        Raises:
            StoreUnavailable: nobody can tell now.
        """
        found: list[RequestRecord] = []
        for request_id in await self._admission.known(Lane.INTERACTIVE):
            with suppress(NotFound, RecordInvalid):
                found.append(await self._requests.get(request_id))
        return found

    async def places(self, request_ids: Iterable[str]) -> Mapping[str, Place]:
        """Where those of them are that wait to be let in; nothing is known without the store."""
        with suppress(StoreUnavailable, RecordInvalid):
            return await self._admission.places(Lane.INTERACTIVE, list(request_ids))
        return {}

    # --- on the way in ------------------------------------------------------------------------------------------

    async def _enter(self, taken: Taken, address: Address) -> RequestRecord:
        record = self._desk.draft(taken, address)
        try:
            await self._admission.join(Lane.INTERACTIVE, self._entry(record, held_s=HELD_S))
            await self._desk.enter(record)
        except EarshotError:
            await see_through(self._withdraw(record.id))
            raise
        return record

    def _entry(self, record: RequestRecord, *, held_s: float) -> Entry:
        assert record.order is not None, "a job has an order"
        return Entry(
            request_id=record.id,
            guild_id=record.guild_id,
            member_id=record.member_id,
            since=record.created_at,
            length_s=record.order.link.declared_s if record.order.link else None,
            held_until=self._now() + held_s,
        )

    async def _withdraw(self, request_id: str) -> None:
        with suppress(StoreUnavailable, RecordInvalid):
            await self._admission.leave(Lane.INTERACTIVE, request_id)

    async def _undo(self, taken: Taken) -> None:
        """Take back all that may have been done for what nobody waits for."""
        await self._desk.refused(taken, Overloaded())
        await self._withdraw(taken.request.id)
        with suppress(StoreUnavailable, NotFound, RecordInvalid):
            await self._requests.delete(await self._requests.get(taken.request.id))

    async def _forward(self, record: RequestRecord, observer: Observer) -> None:
        order = record.order
        assert order is not None, "a job has an order"
        if order.link is None:  # it needs no transcriber
            await self._queue.submit(record.id, Lane.READY)
            return
        link = order.link.source
        try:
            async with self._fetching:
                observer(Progress(stage=Stage.FETCH))
                fetched = await self._fetcher.fetch(
                    link, on_fraction=lambda done: observer(Progress(stage=Stage.FETCH, fraction=done))
                )
        except BadInput as exc:  # the job says so: it fetches again, and fails as soon as that
            logger.info("a job is for nothing that can be fetched: {}", exc)
            await self._queue.submit(record.id, Lane.READY)
            return
        except EarshotError as exc:
            logger.warning("a job's audio could not be fetched ahead: {}", exc)
        else:
            try:
                if await self._deposited(record, fetched, link):
                    await self._queue.submit(record.id, Lane.READY)
                    return
            finally:
                self._spool.release(fetched)
        await self._admission.ready(order.lane, record.id)

    async def _deposited(self, record: RequestRecord, fetched: FetchedAudio, link: AudioLink) -> bool:
        """Hand the audio over; whether it was heard before, so that no transcriber is needed."""
        order = record.order
        assert order is not None, "a job has an order"
        try:
            spooled = await self._depot.deposit(fetched, link)
        except EarshotError as exc:
            logger.warning("a job's audio could not be handed over: {}", exc)
        else:
            kept = SpooledRecord(key=spooled.key, sha256=spooled.sha256, size=spooled.size)
            order = order.model_copy(update={"spooled": kept})
            noted = False
            try:
                noted = await self._noted(record.id, order)
            finally:
                if not noted:
                    with suppress(EarshotError):
                        await self._depot.discard(spooled)
        return await self._pipeline.was_heard(fetched.sha256, request_of(record, order))

    async def _noted(self, request_id: str, order: Order) -> bool:
        """Write down where a job's audio is, unless it was begun without, or is not wanted any more."""
        with suppress(NotFound, RecordInvalid):
            record = await self._requests.get(request_id)
            if record.state is RequestState.RUNNING and not record.starts:
                noted = record.model_copy(update={"order": order})
                return await self._requests.swap(record, noted, keep_s=order.open_s)
        return False
