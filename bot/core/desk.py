"""The desk: where a request is taken, paid for, answered and entered.

settings → read-only? → reserve → **pipeline** → settle → record

A request costs what its mode costs. It costs nothing where no work was done for it (a cached result, another's work
shared, a kept transcript used again) and where the bot failed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    StoreUnavailable,
)
from bot.core.fair_use import see_through
from bot.core.models import KeptTranscript, NoteKey
from bot.core.pipeline import nobody
from bot.core.quotas import DAY_S
from bot.core.records import Delivery, RequestRecord, RequestState, ResultRecord, SourceKind, StageRecord
from bot.core.routing import route

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.fair_use import FairUse, Reservation
    from bot.core.load import ReadOnly
    from bot.core.models import Asker, Reply, Request
    from bot.core.pipeline import Pipeline
    from bot.core.ports import DeliveryLog, ModeSource, Observer, RequestLog, SettingsStore
    from bot.core.records import GuildSettings
    from bot.core.stage_health import StageHealth

TRANSCRIPT_COST = 1
"""Price of a transcript alone, in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What an operator decided about keeping: for how many days, and whether guilds share cached work."""

    days: float
    across_guilds: bool = False


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
        """Answer ``request``.

        Raises:
            QuotaExceeded, Overloaded: new work would be needed, and is refused; nothing was recorded or taken.
            EarshotError: there is nothing to show, not even a transcript.
        """
        asker = request.asker
        assert asker is not None, "only the command line asks without an asker, and it needs no desk"
        if asker.guild_id is not None:
            request = self._as_set(request, await self._settings.get(asker.guild_id))
        else:
            request = replace(request, keep_s=self._keeping.days * DAY_S, scope=f"u{asker.member_id}")
        price = self._price(request)
        wait_s = self._read_only.look()
        if wait_s is not None and (isinstance(request.source, KeptTranscript) or not self._stages.lets_probe()):
            return await self._finished(request, asker, observer, Overloaded(wait_s=wait_s))
        if isinstance(request.source, KeptTranscript):
            await self._fair_use.take_courtesy(asker, request.id)
            return await self._recorded(request, asker, observer, price=0)
        try:
            reservation = await self._fair_use.reserve(asker, request.id, price)
        except QuotaExceeded as refusal:
            return await self._finished(request, asker, observer, refusal)
        return await self._paid(request, asker, observer, reservation, price)

    async def delivered(self, request_id: str, *, url: str | None) -> None:
        """The answer of a request has arrived; ``url`` leads to it where others see it too."""
        with suppress(StoreUnavailable, NotFound):
            record = await self._requests.get(request_id)
            await self._deliveries.done(_delivery(record))
            if url is not None:
                left_s = record.created_at + await self._keep_s(record.guild_id) - self._now()
                await self._requests.put(record.model_copy(update={"answer_url": url}), keep_s=max(left_s, 1.0))

    # --- ways through -------------------------------------------------------------------------------------------

    async def _paid(
        self, request: Request, asker: Asker, observer: Observer, reservation: Reservation, price: int
    ) -> Reply:
        try:
            reply = await self._recorded(request, asker, observer, price=price)
        except BadInput:
            await see_through(self._forgive(asker, request.id, reservation))
            raise
        except BaseException:
            await reservation.settle(0)
            raise
        await reservation.settle(price_of(reply, price))
        return reply

    async def _forgive(self, asker: Asker, request_id: str, reservation: Reservation) -> None:
        """Nobody pays for a slip; somebody who slips on and on does."""
        if await self._is_courtesy(asker, request_id):
            await reservation.settle(0)

    async def _finished(self, request: Request, asker: Asker, observer: Observer, refusal: FairUseError) -> Reply:
        """What is finished already, or ``refusal``."""
        if not await self._is_courtesy(asker, request.id):
            raise refusal
        try:
            return await self._recorded(replace(request, only_cached=True), asker, observer, price=0)
        except NotCached:
            raise refusal from None

    async def _is_courtesy(self, asker: Asker, request_id: str) -> bool:
        try:
            await self._fair_use.take_courtesy(asker, request_id)
        except CourtesyExceeded:
            return False
        return True

    async def _recorded(self, request: Request, asker: Asker, observer: Observer, *, price: int) -> Reply:
        """Run the pipeline, and enter how it went."""
        record = self._begun(request, asker, price)

        async def trail(key: str, /, *, is_new: bool) -> None:
            nonlocal record
            if key not in record.cache_keys:
                record = record.model_copy(update={"cache_keys": (*record.cache_keys, key)})
            if is_new:  # before it is there: whatever ends this process, /forget-me finds it
                await self._enter(request, record)

        try:
            if not request.only_cached:  # a look into the cache is entered once there is an answer
                await self._enter(request, record)
            reply = await self._pipeline.run(request, observer, trail=trail)
            self._stages.replied(reply)
            record = _ended(record, reply, price=price_of(reply, price), now=self._now())
            await self._enter(request, record)
        except NotCached:
            raise
        except BaseException as exc:
            if isinstance(exc, EarshotError):
                self._stages.failed(exc, about=next(iter(record.cache_keys), None))
            await self._enter(request, _broken_off(record, exc, now=self._now()))
            raise
        return reply

    # --- records ------------------------------------------------------------------------------------------------

    async def _enter(self, request: Request, record: RequestRecord) -> None:
        """Keep a record, whoever cancels meanwhile, so that it does not come after what is entered next.

        Without a store the member is answered all the same: what is lost is the entry in /results.
        """
        await see_through(self._entered(request, record))

    async def _entered(self, request: Request, record: RequestRecord) -> None:
        with suppress(StoreUnavailable, RecordInvalid):
            await self._requests.put(record, keep_s=request.keep_s)
        if record.state is RequestState.DONE:  # its answer sets out
            with suppress(StoreUnavailable):
                await self._deliveries.begin(_delivery(record))

    def _begun(self, request: Request, asker: Asker, price: int) -> RequestRecord:
        kept = isinstance(request.source, KeptTranscript)
        return RequestRecord(
            id=request.id,
            guild_id=asker.guild_id,
            channel_id=asker.channel_id,
            member_id=asker.member_id,
            source=SourceKind.TRANSCRIPT if kept else SourceKind.ATTACHMENT,
            filename=getattr(request.source, "filename", "")[:200],
            wanted_mode=request.mode,
            language=request.options.language,
            task=request.options.task,
            private=request.private,
            price=price,
            created_at=self._now(),
        )

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


def price_of(reply: Reply, price: int) -> int:
    """What a request comes to: nothing where no work was done for it, and nothing where the bot failed."""
    failed = any(note.key is NoteKey.RESULT_MISSING for note in reply.notes)
    return 0 if failed or reply.was_finished else price


def _ended(record: RequestRecord, reply: Reply, *, price: int, now: float) -> RequestRecord:
    result = None
    if reply.result is not None:
        result = ResultRecord(
            format=reply.result.format, text=reply.result.text, data=reply.result.data, model=reply.model or ""
        )
    return record.model_copy(
        update={
            "state": RequestState.DONE,
            "ended_at": now,
            "price": price,
            "mode": reply.mode,
            "stages": {
                stage: StageRecord(status=report.status, seconds=max(report.seconds, 0.0), detail=report.detail)
                for stage, report in reply.stages.items()
            },
            "notes": reply.notes,
            "transcript_id": reply.transcript_id,
            "result": result,
            "cached_transcript": reply.cached.transcript,
            "cached_completion": reply.cached.completion,
            "audio_sha256": reply.audio_sha256,
        }
    )


def _broken_off(record: RequestRecord, exc: BaseException, *, now: float) -> RequestRecord:
    """The record of a request that ``exc`` ends, at no price. What was done stays done: it is found in /results."""
    if record.state is RequestState.DONE:
        return record.model_copy(update={"price": 0})
    state = RequestState.FAILED if isinstance(exc, Exception) else RequestState.INTERRUPTED
    error = exc.key if isinstance(exc, EarshotError) else type(exc).__name__
    return record.model_copy(update={"state": state, "error": error, "ended_at": now, "price": 0})


def _delivery(record: RequestRecord) -> Delivery:
    return Delivery(
        request_id=record.id,
        guild_id=record.guild_id,
        channel_id=record.channel_id,
        member_id=record.member_id,
        private=record.private,
        created_at=record.ended_at or record.created_at,
    )
