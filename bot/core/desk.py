"""The desk: where a request is taken, paid for, answered and entered.

settings → read-only? → reserve → **pipeline** → settle → record

Between the reservation and the pipeline it may become a job, and go on in any process (``bot.core.dispatch``).
A request costs what its mode costs. It costs nothing where no work was done for it (a cached result, another's work
shared, a kept transcript used again) and where the bot failed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loguru import logger

from bot.core.entries import TRANSCRIPT_COST, begun, broken_off, delivery_of, ended, price_of, request_of
from bot.core.errors import (
    BadInput,
    CourtesyExceeded,
    EarshotError,
    FairUseError,
    NotCached,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RecordInvalid,
    RecordTooNew,
    StoreUnavailable,
)
from bot.core.fair_use import see_through
from bot.core.models import KeptTranscript
from bot.core.orders import Order
from bot.core.pipeline import nobody
from bot.core.quotas import DAY_S
from bot.core.records import RequestState
from bot.core.routing import route

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.fair_use import FairUse, Reservation
    from bot.core.load import ReadOnly
    from bot.core.models import Asker, Reply, Request
    from bot.core.orders import Address
    from bot.core.pipeline import Pipeline
    from bot.core.ports import DeliveryLog, ModeSource, Observer, RequestLog, SettingsStore
    from bot.core.records import GuildSettings, RequestRecord
    from bot.core.stage_health import StageHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What an operator decided about keeping: for how many days, and whether guilds share cached work."""

    days: float
    across_guilds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A request as its guild's moderators want it, and what its answer may cost.

    ``reservation`` is None where it costs nothing; with a ``refusal``, only what is finished already is served.
    """

    request: Request
    price: int = 0
    reservation: Reservation | None = None
    refusal: FairUseError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job's record as it ends; ``reply`` is None where it has none, or nobody here knows it."""

    record: RequestRecord
    reply: Reply | None = None


class Desk:
    """Takes requests.

    Args:
        pipeline: does the work.
        fair_use: says what it may cost.
        read_only: says whether new work is taken.
        stages: told how the stages did; they let a request see whether transcription is back.
        settings: what the guilds' moderators set.
        requests: where requests are entered.
        deliveries: where answers on their way are entered.
        modes: for their prices.
        keeping: the operator's.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        pipeline: Pipeline,
        *,
        fair_use: FairUse,
        read_only: ReadOnly,
        stages: StageHealth,
        settings: SettingsStore,
        requests: RequestLog,
        deliveries: DeliveryLog,
        modes: ModeSource,
        keeping: Keeping,
        now: Callable[[], float],
    ) -> None:
        self._pipeline = pipeline
        self._fair_use = fair_use
        self._read_only = read_only
        self._stages = stages
        self._settings = settings
        self._requests = requests
        self._deliveries = deliveries
        self._modes = modes
        self._keeping = keeping
        self._now = now

    async def serve(self, request: Request, observer: Observer = nobody) -> Reply:
        """Answer ``request``, here and now.

        Raises:
            QuotaExceeded, Overloaded: new work would be needed, and is refused; nothing was recorded or taken.
            EarshotError: there is nothing to show, not even a transcript.
        """
        return await self.answer(await self.take(request), observer)

    # --- in steps -----------------------------------------------------------------------------------------------

    async def take(self, request: Request) -> Taken:
        """See whether new work is taken for ``request``, and reserve its price.

        Raises:
            CourtesyExceeded: of what is free, it was too much.
        """
        asker = _asker(request)
        if asker.guild_id is not None:
            request = self._as_set(request, await self._settings.get(asker.guild_id))
        else:
            request = replace(request, keep_s=self._keeping.days * DAY_S, scope=f"u{asker.member_id}")
        price, is_kept = self._price(request), isinstance(request.source, KeptTranscript)
        wait_s = self._read_only.look()
        if wait_s is not None and (is_kept or not self._stages.lets_probe()):
            return Taken(request=request, refusal=Overloaded(wait_s=wait_s))
        if is_kept:
            await self._fair_use.take_courtesy(asker, request.id)
            return Taken(request=request)
        try:
            reservation = await self._fair_use.reserve(asker, request.id, price)
        except QuotaExceeded as refusal:
            return Taken(request=request, refusal=refusal)
        return Taken(request=request, price=price, reservation=reservation)

    async def refused(self, taken: Taken, refusal: FairUseError) -> Taken:
        """New work is not taken after all."""
        if taken.reservation is not None:
            await taken.reservation.settle(0)
        return Taken(request=taken.request, refusal=refusal)

    async def answer(self, taken: Taken, observer: Observer = nobody) -> Reply:
        """Answer what was taken, here and now; raises what `serve` does."""
        if taken.refusal is not None:
            return await self._finished(taken.request, observer, taken.refusal)
        if taken.reservation is None:
            return await self._recorded(taken.request, observer, price=0)
        return await self._paid(taken.request, observer, taken.reservation, taken.price)

    def draft(self, taken: Taken, address: Address) -> RequestRecord:
        """What a job needs to answer what was taken."""
        order = Order.of(taken.request)
        return begun(taken.request, price=taken.price, now=self._now(), order=order, address=address)

    async def enter(self, record: RequestRecord) -> None:
        """Put a job down. From then on, it is the job that answers, and settles.

        Raises:
            StoreUnavailable, RecordInvalid: it cannot be kept; no job will find it.
        """
        assert record.order is not None, "a job has an order"
        await see_through(self._requests.put(record, keep_s=record.order.open_s))

    async def work(self, record: RequestRecord, observer: Observer = nobody) -> Ended:
        """Do the job of ``record``; what comes of it, for `conclude`. Only a cancellation leaves it open."""
        assert record.order is not None, "a job has an order"
        request = request_of(record, record.order)
        entry = _Entry(self, request, record)
        try:
            reply = await self._pipeline.run(request, observer, trail=entry.trail)
        except Exception as exc:  # noqa: BLE001 - whatever it is, its member hears of it
            return Ended(record=await self._failed(entry, exc))
        self._stages.replied(reply)
        return Ended(record=ended(entry.record, reply, now=self._now()), reply=reply)

    async def conclude(self, record: RequestRecord) -> None:
        """Enter how a job ended, settle its price, and let its answer set out. To do it twice is to do it once.

        Raises:
            StoreUnavailable: some of it is to be done again.
        """
        assert record.order is not None, "a job has an order"
        await self._requests.put(record, keep_s=record.order.keep_s)
        await self._deliveries.begin(delivery_of(record))
        asker = _asker(request_of(record, record.order))
        with suppress(RecordInvalid):  # settings of a later version: the reservation ends by itself
            await (await self._fair_use.reservation(asker, record.id)).settle(record.price)

    async def delivered(self, request_id: str, *, url: str | None) -> bool:
        """The answer of a request has arrived; ``url`` leads to it where others see it too.

        What only its job and its delivery needed goes. Whether that is entered: without the store, it is not.
        """
        try:
            record = await self._requests.get(request_id)
            if url is not None or record.address is not None:
                update = {"answer_url": url, "order": None, "address": None, "failure": None}
                left_s = record.created_at + await self._keep_s(record.guild_id) - self._now()
                await self._requests.put(record.model_copy(update=update), keep_s=max(left_s, 1.0))
            await self._deliveries.done(delivery_of(record))
        except StoreUnavailable:
            return False
        except (NotFound, RecordTooNew):
            pass
        return True

    # --- ways through -------------------------------------------------------------------------------------------

    async def _paid(self, request: Request, observer: Observer, reservation: Reservation, price: int) -> Reply:
        try:
            reply = await self._recorded(request, observer, price=price)
        except BadInput:
            await see_through(self._forgive(request, reservation))
            raise
        except BaseException:
            await reservation.settle(0)
            raise
        await reservation.settle(price_of(reply, price))
        return reply

    async def _forgive(self, request: Request, reservation: Reservation) -> None:
        """Nobody pays for a slip; somebody who slips on and on does."""
        if await self._is_courtesy(request):
            await reservation.settle(0)

    async def _finished(self, request: Request, observer: Observer, refusal: FairUseError) -> Reply:
        """What is finished already, or ``refusal``."""
        if not await self._is_courtesy(request):
            raise refusal
        try:
            return await self._recorded(replace(request, only_cached=True), observer, price=0)
        except NotCached:
            raise refusal from None

    async def _is_courtesy(self, request: Request) -> bool:
        """Whether it may be free."""
        try:
            await self._fair_use.take_courtesy(_asker(request), request.id)
        except CourtesyExceeded:
            return False
        return True

    async def _recorded(self, request: Request, observer: Observer, *, price: int) -> Reply:
        """Run the pipeline, and enter how it went."""
        entry = _Entry(self, request, begun(request, price=price, now=self._now()))
        try:
            if not request.only_cached:  # a look into the cache is entered once there is an answer
                await self.note(request, entry.record)
            reply = await self._pipeline.run(request, observer, trail=entry.trail)
            self._stages.replied(reply)
            entry.record = ended(entry.record, reply, now=self._now())
            await self.note(request, entry.record)
        except NotCached:
            raise
        except BaseException as exc:
            if isinstance(exc, EarshotError):
                self._count(exc, entry.record)
            await self.note(request, broken_off(entry.record, exc, now=self._now()))
            raise
        return reply

    async def _failed(self, entry: _Entry, exc: Exception) -> RequestRecord:
        """How ``exc`` ends a job. As everywhere, a slip is free up to a point."""
        if isinstance(exc, EarshotError):
            self._count(exc, entry.record)
        else:
            logger.opt(exception=exc).error("unexpected error")
        price = entry.record.price
        record = broken_off(entry.record, exc, now=self._now())
        if isinstance(exc, BadInput) and price and not await self._is_courtesy(entry.request):
            return record.model_copy(update={"price": price})
        return record

    def _count(self, exc: EarshotError, record: RequestRecord) -> None:
        self._stages.failed(exc, about=next(iter(record.cache_keys), None))

    # --- records ------------------------------------------------------------------------------------------------

    async def note(self, request: Request, record: RequestRecord, before: RequestRecord | None = None) -> None:
        """Keep a record, whoever cancels meanwhile, so that it does not come after what is entered next.

        Without a store the member is answered all the same: what is lost is the entry in /results. That of a job takes
        the place of ``before`` alone: this process may have been taken for dead, and the job have come to another end.
        """
        await see_through(self._noted(request, record, before))

    async def _noted(self, request: Request, record: RequestRecord, before: RequestRecord | None) -> None:
        with suppress(StoreUnavailable, RecordInvalid):
            if record.order is not None and before is not None:
                await self._requests.swap(before, record, keep_s=record.order.open_s)
                return
            await self._requests.put(record, keep_s=request.keep_s)
        if record.state is RequestState.DONE:  # its answer sets out
            with suppress(StoreUnavailable):
                await self._deliveries.begin(delivery_of(record))

    # --- settings -----------------------------------------------------------------------------------------------

    def _as_set(self, request: Request, settings: GuildSettings) -> Request:
        """``request`` with what its guild's moderators decided."""
        options = request.options
        if options.language is None and settings.language is not None:
            options = replace(options, language=settings.language)
        return replace(
            request,
            options=options,
            default_mode=settings.default_mode,
            keep_s=self._keep_s_in(settings),
            scope="all" if self._keeping.across_guilds else f"g{settings.guild_id}",
        )

    async def _keep_s(self, guild_id: int | None) -> float:
        return self._keeping.days * DAY_S if guild_id is None else self._keep_s_in(await self._settings.get(guild_id))

    def _keep_s_in(self, settings: GuildSettings) -> float:
        """Seconds for which a guild's transcripts and results are kept; the operator's days are the most."""
        return min(settings.retention_days or self._keeping.days, self._keeping.days) * DAY_S

    def _price(self, request: Request) -> int:
        if request.mode is None:
            return TRANSCRIPT_COST
        modes = self._modes.current()
        return modes[route(request.mode, modes, default=request.default_mode).chosen].limits.cost


class _Entry:
    """The record of a request while the pipeline is at it."""

    def __init__(self, desk: Desk, request: Request, record: RequestRecord) -> None:
        self.request = request
        self.record = record
        self._noted = record
        self._desk = desk

    async def trail(self, key: str, /, *, is_new: bool) -> None:
        """Note what the request leaves in the cache."""
        if key not in self.record.cache_keys:
            self.record = self.record.model_copy(update={"cache_keys": (*self.record.cache_keys, key)})
        if is_new:  # before it is there: whatever ends this process, /forget-me finds it
            await self._desk.note(self.request, self.record, self._noted)
            self._noted = self.record


def _asker(request: Request) -> Asker:
    assert request.asker is not None, "only the command line asks without an asker, and it needs no desk"
    return request.asker
