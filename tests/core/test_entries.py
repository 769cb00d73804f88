"""What a record says of a request: enough to do it in another process, and to show it again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.entries import begun, broken_off, delivery_of, ended, failure_of, price_of, reply_of, request_of
from bot.core.errors import (
    AudioTooLarge,
    CancelledByMember,
    EarshotError,
    GivenUp,
    NotFound,
    StoreUnavailable,
    TranscriptionFailed,
)
from bot.core.models import (
    Asker,
    AudioLink,
    Cached,
    KeptTranscript,
    ModeRef,
    ModeResult,
    Note,
    NoteKey,
    Reply,
    Request,
    SpooledAudio,
    Stage,
    StageReport,
    StageStatus,
    Task,
    TranscriptionOptions,
)
from bot.core.orders import Address, Order, SpooledRecord
from bot.core.records import REQUEST, RequestRecord, RequestState, SourceKind
from tests.fakes import a_transcript

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ID, KEPT = "0123456789abcdef", "fedcba9876543210"
NOW = 1_700_000_000.0
SAID = a_transcript("Hello.")
LINK = AudioLink(url="https://cdn.discordapp.com/a.ogg?ex=1", filename="a.ogg", size=10, declared_s=4.0)
ADDRESS = Address(application_id=1, token="secret", token_ends_at=NOW + 840, member_id=21, file_limit=1_000)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
snowflakes = st.integers(0, (1 << 64) - 1)


def requests() -> SearchStrategy[Request]:
    links = st.builds(
        AudioLink,
        url=words,
        filename=words,
        size=st.none() | st.integers(0, 1 << 40),
        declared_s=st.none() | st.floats(0, 1e6),
    )
    return st.builds(
        Request,
        id=st.just(ID),
        source=links | st.just(KeptTranscript(id=KEPT)),
        mode=st.none() | words,
        asker=st.builds(
            Asker,
            guild_id=st.none() | snowflakes,
            channel_id=st.none() | snowflakes,
            member_id=snowflakes,
            role_ids=st.frozensets(snowflakes, max_size=5),
        ),
        options=st.builds(
            TranscriptionOptions,
            language=st.none() | st.just("de"),
            task=st.sampled_from(Task),
            hot_words=st.lists(words, max_size=3).map(tuple),
        ),
        variables=st.dictionaries(words, words, max_size=3),
        private=st.booleans(),
        default_mode=st.none() | words,
        scope=words,
        keep_s=st.floats(1, 1e7),
    )


def a_request(source: AudioLink | KeptTranscript = LINK, mode: str | None = "summarize") -> Request:
    return Request(id=ID, source=source, mode=mode, asker=Asker(guild_id=11, channel_id=1, member_id=21))


def a_job(price: int = 2) -> RequestRecord:
    request = a_request()
    return begun(request, price=price, now=NOW, order=Order.of(request), address=ADDRESS)


def a_reply(*notes: Note, cached: Cached = Cached()) -> Reply:  # noqa: B008 - it is frozen
    return Reply(
        request=a_request(),
        transcript=SAID,
        transcript_id=ID,
        mode=ModeRef(id="summarize", title="Summary", content_hash="0" * 64),
        routing=None,
        result=ModeResult(format="json", text="All is well.", data={"all": ["well"]}),
        model="gpt-4o",
        stages={Stage.COMPLETE: StageReport(status=StageStatus.OK, seconds=0.5, detail="x")},
        notes=notes,
        cached=cached,
        audio_sha256="0" * 64,
    )


def written(record: RequestRecord) -> RequestRecord:
    """As another process reads it."""
    return REQUEST.decode(REQUEST.encode(record))


# --- the beginning ----------------------------------------------------------------------------------------------------


@given(requests())
def test_another_process_does_the_same_request(request: Request) -> None:
    order = Order.of(request)
    record = written(begun(request, price=1, now=NOW, order=order, address=ADDRESS))
    assert record.order == order
    assert record.address == ADDRESS
    again = request_of(record, order)
    assert replace(again, variables=dict(again.variables)) == request


def test_a_record_begins_open_and_says_what_was_asked() -> None:
    record = a_job()
    assert (record.state, record.starts, record.price, record.created_at) == (RequestState.RUNNING, 0, 2, NOW)
    assert (record.source, record.filename, record.wanted_mode) == (SourceKind.ATTACHMENT, "a.ogg", "summarize")
    kept = begun(a_request(KeptTranscript(id=KEPT)), price=0, now=NOW)
    assert (kept.source, kept.filename, kept.order, kept.address) == (SourceKind.TRANSCRIPT, "", None, None)


def test_audio_that_was_fetched_is_taken_from_where_it_is() -> None:
    spooled = SpooledRecord(key="a" * 32, sha256="0" * 64, size=10)
    order = Order.of(a_request()).model_copy(update={"spooled": spooled})
    assert order.source == SpooledAudio(key="a" * 32, sha256="0" * 64, size=10, link=LINK)


def test_secrets_of_a_job_are_in_no_text() -> None:
    said = f"{a_job()!r} {a_job()}"
    assert "secret" not in said
    assert "cdn.discordapp.com" not in said


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "price"),
    [
        (a_reply(), 2),
        (a_reply(cached=Cached(transcript=True)), 2),
        (a_reply(cached=Cached(transcript=True, completion=True)), 0),
        (a_reply(Note(key=NoteKey.RESULT_MISSING)), 0),
        (a_reply(Note(key=NoteKey.TEMPLATE_USED)), 2),
        (replace(a_reply(Note(key=NoteKey.TOO_MUCH_SAID)), result=None), 1),
        (replace(a_reply(Note(key=NoteKey.TOO_MUCH_SAID), cached=Cached(transcript=True)), result=None), 0),
    ],
    ids=["work", "half of it", "cached", "failed", "an extract", "too long", "too long, heard before"],
)
def test_an_answer_costs_what_was_done_for_it(reply: Reply, price: int) -> None:
    assert price_of(reply, 2) == price
    assert ended(a_job(), reply, now=NOW + 5).price == price


def test_an_answer_is_read_as_it_was_made() -> None:
    reply = a_reply(Note(key=NoteKey.RESULT_CUT))
    record = written(ended(a_job(), reply, now=NOW + 5))
    assert (record.state, record.ended_at) == (RequestState.DONE, NOW + 5)
    assert (record.order, record.address) == (a_job().order, a_job().address), "whoever delivers needs them"
    again = reply_of(record, SAID)
    assert replace(again, request=reply.request) == reply
    assert again.request.asker == reply.request.asker


def test_an_answer_to_a_kept_transcript_says_so_again() -> None:
    record = begun(a_request(KeptTranscript(id=KEPT)), price=0, now=NOW)
    done = ended(record, replace(a_reply(), transcript_id=KEPT), now=NOW)
    assert reply_of(written(done), SAID).request.source == KeptTranscript(id=KEPT)


@pytest.mark.parametrize(
    "error",
    [
        TranscriptionFailed("x"),
        AudioTooLarge("y", limit_mb=25.0),
        GivenUp(starts=3),
        NotFound("z"),
        CancelledByMember(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_told_by_whoever_delivers_it(error: EarshotError) -> None:
    record = written(broken_off(a_job(), error, now=NOW + 5))
    assert (record.state, record.error, record.price, record.ended_at) == (RequestState.FAILED, error.key, 0, NOW + 5)
    again = failure_of(record)
    assert (type(again), again.detail, again.values) == (type(error), error.detail, error.values)


def test_a_slip_is_told_as_one() -> None:
    record = written(broken_off(a_job(), ZeroDivisionError("what was said"), now=NOW))
    assert (record.state, record.error) == (RequestState.FAILED, "ZeroDivisionError")
    assert type(failure_of(record)) is EarshotError
    assert b"what was said" not in REQUEST.encode(record)


@pytest.mark.parametrize("failure", [None, "", "e1\n{}", 'e1\n{"error": "Later", "detail": "", "values": {}}'])
def test_a_failure_that_nobody_can_read_is_one_all_the_same(failure: str | None) -> None:
    assert type(failure_of(a_job().model_copy(update={"failure": failure}))) is EarshotError


def test_a_record_without_a_job_needs_no_words_for_its_failure() -> None:
    record = begun(a_request(), price=1, now=NOW)
    assert broken_off(record, StoreUnavailable("x"), now=NOW).failure is None


def test_what_is_cancelled_is_interrupted_and_what_is_done_stays_done() -> None:
    assert broken_off(a_job(), asyncio.CancelledError(), now=NOW).state is RequestState.INTERRUPTED
    done = ended(a_job(), a_reply(), now=NOW)
    assert broken_off(done, asyncio.CancelledError(), now=NOW + 9) == done.model_copy(update={"price": 0})


def test_an_answer_sets_out_when_it_is_there() -> None:
    delivery = delivery_of(ended(a_job(), a_reply(), now=NOW + 5))
    assert (delivery.request_id, delivery.member_id, delivery.created_at) == (ID, 21, NOW + 5)
    assert (delivery.attempts, delivery.last_error) == (0, "")
