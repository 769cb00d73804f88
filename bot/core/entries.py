"""Requests as they are entered: how a record begins and ends, and what it says again later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.core.caching import decode_error, encode_error
from bot.core.errors import EarshotError, RecordInvalid
from bot.core.models import (
    Asker,
    AudioLink,
    Cached,
    KeptTranscript,
    NoteKey,
    Reply,
    Request,
    StageReport,
    TranscriptionOptions,
)
from bot.core.records import Delivery, RequestRecord, RequestState, ResultRecord, SourceKind, StageRecord

if TYPE_CHECKING:
    from bot.core.models import Source, Transcript
    from bot.core.orders import Address, Order


TRANSCRIPT_COST: Final = 1
"""Price of a transcript alone, in tokens."""

# --- the beginning --------------------------------------------------------------------------------------------------


def begun(
    request: Request,
    *,
    price: int,
    now: float,
    order: Order | None = None,
    address: Address | None = None,
) -> RequestRecord:
    """The record of a request that is taken."""
    asker = request.asker
    assert asker is not None, "nothing is recorded of the operator at the command line"
    kept = isinstance(request.source, KeptTranscript)
    return RequestRecord(
        id=request.id,
        guild_id=asker.guild_id,
        channel_id=asker.channel_id,
        member_id=asker.member_id,
        source=SourceKind.TRANSCRIPT if kept else SourceKind.ATTACHMENT,
        filename=getattr(request.source, "filename", ""),
        wanted_mode=request.mode,
        language=request.options.language,
        task=request.options.task,
        private=request.private,
        price=price,
        created_at=now,
        order=order,
        address=address,
    )


def request_of(record: RequestRecord, order: Order) -> Request:
    """The request that a job does."""
    return Request(
        id=record.id,
        source=order.source,
        mode=record.wanted_mode,
        asker=_asker(record, frozenset(order.role_ids)),
        options=TranscriptionOptions(language=record.language, task=record.task, hot_words=order.hot_words),
        variables=order.variables,
        private=record.private,
        default_mode=order.default_mode,
        scope=order.scope,
        keep_s=order.keep_s,
    )


# --- the end --------------------------------------------------------------------------------------------------------


def price_of(reply: Reply, price: int) -> int:
    """What a request comes to: nothing where no work was done for it, and nothing where the bot failed.

    Where the mode refuses to read so much, it is that of the transcript.
    """
    keys = {note.key for note in reply.notes}
    if NoteKey.RESULT_MISSING in keys or reply.was_finished:
        return 0
    return min(price, TRANSCRIPT_COST) if NoteKey.TOO_MUCH_SAID in keys else price


def ended(record: RequestRecord, reply: Reply, *, now: float) -> RequestRecord:
    """The record of a request with its answer, at the price that it comes to."""
    result = None
    if reply.result is not None:
        result = ResultRecord(
            format=reply.result.format, text=reply.result.text, data=reply.result.data, model=reply.model or ""
        )
    return record.model_copy(
        update={
            "state": RequestState.DONE,
            "ended_at": now,
            "price": price_of(reply, record.price),
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


def broken_off(record: RequestRecord, exc: BaseException, *, now: float) -> RequestRecord:
    """The record of a request that ``exc`` ends, at no price. What was done stays done: it is found in /results."""
    if record.state is RequestState.DONE:
        return record.model_copy(update={"price": 0})
    error = exc if isinstance(exc, EarshotError) else EarshotError()
    return record.model_copy(
        update={
            "state": RequestState.FAILED if isinstance(exc, Exception) else RequestState.INTERRUPTED,
            "error": exc.key if isinstance(exc, EarshotError) else type(exc).__name__,
            "failure": encode_error(error).decode() if record.order is not None else None,
            "ended_at": now,
            "price": 0,
        }
    )


def delivery_of(record: RequestRecord) -> Delivery:
    """The answer of an ended request, as it sets out."""
    return Delivery(
        request_id=record.id,
        guild_id=record.guild_id,
        channel_id=record.channel_id,
        member_id=record.member_id,
        private=record.private,
        created_at=record.ended_at or record.created_at,
    )


# --- what a record says again ---------------------------------------------------------------------------------------


def reply_of(record: RequestRecord, transcript: Transcript) -> Reply:
    """The reply that a record was made of, but for why its mode was chosen and what its member's roles were."""
    source: Source = AudioLink(url="", filename=record.filename)
    if record.source is SourceKind.TRANSCRIPT:
        source = KeptTranscript(id=record.transcript_id or record.id)
    return Reply(
        request=Request(
            id=record.id,
            source=source,
            mode=record.wanted_mode,
            asker=_asker(record),
            options=TranscriptionOptions(language=record.language, task=record.task),
            private=record.private,
        ),
        transcript=transcript,
        transcript_id=record.transcript_id,
        mode=record.mode,
        routing=None,
        result=record.result.result() if record.result else None,
        model=(record.result.model or None) if record.result else None,
        stages={
            stage: StageReport(status=report.status, seconds=report.seconds, detail=report.detail)
            for stage, report in record.stages.items()
        },
        notes=record.notes,
        cached=Cached(transcript=record.cached_transcript, completion=record.cached_completion),
        audio_sha256=record.audio_sha256,
    )


def failure_of(record: RequestRecord) -> EarshotError:
    """The error that ended a request."""
    try:
        return decode_error((record.failure or "").encode())
    except RecordInvalid:  # of a version that knows others
        return EarshotError()


def _asker(record: RequestRecord, role_ids: frozenset[int] = frozenset()) -> Asker:
    return Asker(guild_id=record.guild_id, channel_id=record.channel_id, member_id=record.member_id, role_ids=role_ids)
