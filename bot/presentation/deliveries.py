"""Delivers the answers of jobs, wherever they were done: effectively once.

An answer stays in the outbox until it has arrived, so a process that ends in between is followed by another. What is
done twice then is harmless: a placeholder is edited to the same, and a new message carries a nonce, of which Discord
takes only one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.core.entries import delivery_of, failure_of
from bot.core.errors import OWN_DOING, NotFound, RecordInvalid, StoreUnavailable, reference_of
from bot.core.records import RequestState
from bot.presentation.courier import Arrival, Placeholder, Undelivered
from bot.presentation.replies import error_answer, reply_answer
from bot.presentation.results_page import record_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from bot.core.desk import Desk, Ended
    from bot.core.jobs import Outbox, Parcel
    from bot.core.models import Reply
    from bot.core.orders import Address
    from bot.core.ports import DeliveryLog, RequestLog, TranscriptStore
    from bot.core.records import RequestRecord
    from bot.presentation.courier import Courier
    from bot.presentation.replies import Answer
    from bot.presentation.watches import Watches

AT_A_TIME: Final = 16
SOON: Final = 20
"""How many takes, of some 15 s each, lead to a try at once; after that, one in so many does."""
MOST_TAKES: Final = 30_000
"""After five days of takes the answer is left to ``/results``."""
MOST_SLIPS: Final = 40
"""So many takes may end in an unexpected error."""
_WAIT_S: Final = 5.0
_KEEP_S: Final = 5.0
_REMEMBERED: Final = 1_000


class Deliveries:
    """Takes answers from the outbox, and delivers them.

    Args:
        desk: told of what arrived.
        courier: brings the answers.
        outbox: where they are.
        requests: what they are answers to.
        transcripts: what was heard.
        deliveries: where it is noted how often they were tried.
        watches: make way for them.
        consumer: the name of this process.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        desk: Desk,
        courier: Courier,
        *,
        outbox: Outbox,
        requests: RequestLog,
        transcripts: TranscriptStore,
        deliveries: DeliveryLog,
        watches: Watches,
        consumer: str,
        now: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._courier = courier
        self._outbox = outbox
        self._requests = requests
        self._transcripts = transcripts
        self._deliveries = deliveries
        self._watches = watches
        self._consumer = consumer
        self._now = now
        self._client: discord.Client | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._whose: dict[str, str] = {}
        """The entries under way, by request: an answer that was posted twice is not sent twice at a time."""
        self._arrived: OrderedDict[str, str | None] = OrderedDict()
        """What arrived and may not have been noted, as the store was away: id and link."""

    async def run(self, client: discord.Client) -> None:
        """Deliver until cancelled; what is being sent then is sent again by whoever follows."""
        self._client = client
        try:
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep())
                try:
                    while True:
                        await self._round(client, group)
                finally:
                    keeper.cancel()
        finally:
            self._under_way.clear()
            self._whose.clear()

    async def hand_over(self, ended: Ended) -> None:
        """Deliver an answer to whoever watches it from this process, although the store does not know of it yet."""
        record = ended.record
        if self._client is None or record.address is None or not self._watches.has(record.id):
            return
        if ended.reply is not None:
            answer = reply_answer(ended.reply, locale=record.address.locale)
        else:
            answer = self._failure(record, record.address)
        await self._watches.make_way(record.id)
        await self._deliver_to(self._client, record.address, answer, record.id)

    async def bring(self, reply: Reply, address: Address) -> None:
        """Deliver what no job brings."""
        if self._client is not None:
            answer = reply_answer(reply, locale=address.locale)
            await self._deliver_to(self._client, address, answer, reply.request.id)
            if reply.request.id in self._arrived:
                await self._note_arrival(reply.request.id)

    async def _deliver_to(
        self, client: discord.Client, address: Address, answer: Answer | None, request_id: str
    ) -> Arrival | Undelivered:
        """Deliver, and remember what arrived; nothing arrives at once."""
        arrival: Arrival | Undelivered = Arrival(url=None)
        if answer is not None:
            placeholder = Placeholder(client, address, now=self._now)
            arrival = await self._courier.deliver(placeholder, answer, nonce=request_id[:25])
        if isinstance(arrival, Arrival):
            self._arrived[request_id] = arrival.url
        return arrival

    async def _round(self, client: discord.Client, group: asyncio.TaskGroup) -> None:
        if (room := AT_A_TIME - len(self._under_way)) <= 0:
            await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            parcels = await self._outbox.take(self._consumer, most=room, wait_s=_WAIT_S)
        except StoreUnavailable as exc:
            logger.debug("nothing can be delivered: {}", exc)
            await asyncio.sleep(1.0)
            return
        for parcel in parcels:
            if parcel.request_id not in self._whose:
                self._whose[parcel.request_id] = parcel.entry
                self._under_way[parcel.entry] = group.create_task(self._deliver(client, parcel))

    async def _keep(self) -> None:
        """Tell that one is still at it."""
        while True:
            await asyncio.sleep(_KEEP_S)
            with suppress(StoreUnavailable):
                await self._outbox.keep(self._consumer, *self._under_way)

    async def _deliver(self, client: discord.Client, parcel: Parcel) -> None:
        with logger.contextualize(request_id=parcel.request_id):
            try:
                is_due = parcel.takes <= SOON or not parcel.takes % SOON
                if is_due and await self._is_done(client, parcel):
                    await self._outbox.done(parcel.entry)
            except StoreUnavailable as exc:
                logger.info("a delivery is taken up again later: {}", exc)
            except Exception:  # noqa: BLE001 - what fails for one is no reason to leave the others
                logger.exception("unexpected error")
                if parcel.takes >= MOST_SLIPS:
                    with suppress(StoreUnavailable):
                        await self._outbox.done(parcel.entry)
            finally:
                self._under_way.pop(parcel.entry, None)
                self._whose.pop(parcel.request_id, None)

    async def _is_done(self, client: discord.Client, parcel: Parcel) -> bool:
        """Deliver; whether there is no more to do."""
        request_id = parcel.request_id
        if request_id in self._arrived:
            return await self._note_arrival(request_id)
        try:
            record = await self._requests.get(request_id)
        except (NotFound, RecordInvalid) as exc:
            logger.info("there is nothing to deliver: {}", exc)
            await self._watches.make_way(request_id, gone=True)
            return True
        if record.address is None or record.state is RequestState.RUNNING:
            return True  # delivered already
        answer = await self._answer(record, record.address)
        await self._watches.make_way(request_id)
        arrival = await self._deliver_to(client, record.address, answer, request_id)
        if isinstance(arrival, Arrival):
            return await self._note_arrival(request_id)
        attempt = delivery_of(record).model_copy(update={"attempts": parcel.takes, "last_error": arrival.reason})
        await self._deliveries.begin(attempt)
        if arrival.temporary and parcel.takes < MOST_TAKES:
            return False
        logger.error("an answer waits in /results, as it could not be delivered")
        return True

    async def _note_arrival(self, request_id: str) -> bool:
        noted = await self._desk.delivered(request_id, url=self._arrived[request_id])
        while len(self._arrived) > _REMEMBERED:
            self._arrived.popitem(last=False)
        return noted

    async def _answer(self, record: RequestRecord, address: Address) -> Answer | None:
        if record.state is not RequestState.DONE:
            return self._failure(record, address)
        transcript = None
        if record.transcript_id is not None:
            with suppress(NotFound):
                transcript = await self._transcripts.get(record.transcript_id)
        return record_answer(record, transcript, locale=address.locale)

    def _failure(self, record: RequestRecord, address: Address) -> Answer | None:
        """The sentence that tells why there is no answer; None where nobody asked."""
        error = failure_of(record)
        level = "INFO" if isinstance(error, OWN_DOING) else "WARNING"
        logger.log(level, "answered with {}: {}", error.key, error.detail)
        if address.reply_to is not None:
            return None
        return error_answer(error, reference=reference_of(record.id), locale=address.locale)
