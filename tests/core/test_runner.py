"""Jobs come to an end, whatever ends meanwhile: once in the record, once in the price, and with an answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.redis import keys
from bot.core.entries import failure_of
from bot.core.errors import (
    CancelledByMember,
    EarshotError,
    GivenUp,
    NotAudio,
    NotFound,
    SpoolFailed,
    TranscriptionFailed,
    TranscriptNotKept,
)
from bot.core.fair_use import COURTESY
from bot.core.jobs import Lane
from bot.core.models import KeptTranscript, NoteKey, SpooledAudio, Stage
from bot.core.quotas import DAY_S, BucketId
from bot.core.records import AuditEntry, RequestState
from bot.core.runner import MAX_STARTS
from tests.core.workplace import ADA, GUILD, ID, LANE, Killed, Process, Slow, Store
from tests.fakes import (
    HANG,
    FakeCompletionModel,
    FakeDecoder,
    FakeFetcher,
    FakeTranscriber,
    FakeTranscriptStore,
    a_transcript,
    some_fetched,
)
from tests.waiting import until

if TYPE_CHECKING:
    from typing import Literal

    from bot.core.desk import Ended
    from bot.core.models import DecodedAudio, Transcript
    from bot.core.records import RequestRecord

KEPT = "fedcba9876543210"


class Deadly(FakeTranscriber):
    """Ends the process that listens, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times
        self.process: Process | None = None

    async def transcribe(self, audio: DecodedAudio, *args: Any, **more: Any) -> Transcript:
        if self.left and self.process is not None:
            self.left -= 1
            self.process.gate.kill()
        return await super().transcribe(audio, *args, **more)


async def forwarded(store: Store, mode: str | None = "summarize") -> RequestRecord:
    """A job whose audio is in the depot."""
    record = await store.taken(mode)
    await store.here.dispatch.forward(record)
    return await store.record()


async def assert_answered(store: Store, *, price: int = 1) -> RequestRecord:
    """There is an answer on its way, it is paid once, and nothing else is left of the job."""
    record = await store.record()
    assert record.state is RequestState.DONE
    assert record.result is not None
    assert store.outbox.posted
    assert set(store.outbox.posted) == {ID}
    assert await store.here.deliveries.pending(GUILD, ADA) == {ID}
    assert (record.price, await store.left()) == (price, 3 - price)
    assert not await store.in_line()
    return record


# --- to the end -------------------------------------------------------------------------------------------------------


async def test_a_job_is_answered_paid_and_cleared_away() -> None:
    store = Store()
    await forwarded(store)
    assert store.depot.held
    await store.here.run()
    record = await assert_answered(store)
    assert (record.starts, record.price, record.audio_sha256) == (1, 1, "0" * 64)
    assert record.order is not None
    assert record.address is not None, "whoever delivers needs it"
    assert store.outbox.posted == [ID]
    assert store.depot.held == {}
    assert isinstance(store.fetcher.calls[-1], SpooledAudio)
    stages = [progress.stage for request_id, progress in store.bus.published if request_id == ID]
    assert list(dict.fromkeys(stages)) == list(Stage), "whoever watches sees each stage"


@pytest.mark.parametrize("delivered", [False, True])
async def test_a_job_that_ended_is_not_done_again(delivered: bool) -> None:
    store = Store()
    await forwarded(store)
    await store.here.run()
    if delivered:
        await store.here.desk.delivered(ID, url="https://discord.com/channels/1/2/3")
    before = await store.record()
    await store.process().run()
    assert await store.record() == before
    assert len(store.transcriber.calls) == len(store.model.calls) == 1
    assert store.outbox.posted == ([ID] if delivered else [ID, ID])
    assert await store.left() == 2


async def test_a_job_that_two_do_at_a_time_is_paid_once() -> None:
    store = Store()
    await forwarded(store)
    await asyncio.gather(store.process().run(), store.process().run())
    await assert_answered(store)
    assert len(store.transcriber.calls) == len(store.model.calls) == 1


async def test_whoever_was_taken_for_dead_does_not_bring_back_what_was_delivered() -> None:
    store = Store(model=FakeCompletionModel(HANG, "All is well."))
    await forwarded(store)
    slow = asyncio.create_task(store.here.run())
    await until(lambda: store.model.calls)
    store.flights.__init__()  # its lease ran out
    await store.process().run()
    await store.here.desk.delivered(ID, url=None)
    ended, posted = await store.record(), list(store.outbox.posted)
    # The other one comes to an end of its own, too late.
    await store.here.flags.raise_flag(ID)
    await slow
    assert await store.record() == ended
    assert store.outbox.posted == posted
    assert await store.left() == 2


# --- what ends meanwhile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_spooled", [False, True])
async def test_wherever_its_process_is_killed_another_brings_the_job_to_its_end(is_spooled: bool) -> None:
    async def killed_at(number: int) -> bool:
        store = Store()
        await (forwarded if is_spooled else Store.taken)(store)
        first = store.process()
        first.gate.trouble = lambda call: "kill" if call == number else None
        with suppress(Killed):
            await first.run()
        made = len(store.model.calls)
        is_entered = (await store.record()).state is RequestState.DONE
        await store.process().run()
        # What was made before it was killed is found in the cache, and free.
        price = 0 if made and not is_entered else 1
        await assert_answered(store, price=price)
        assert store.depot.held == {}
        return first.gate.is_killed

    number = 1
    while await killed_at(number):
        number += 1
    assert number > 10, "there is no other way to the store"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_once_anywhere_costs_nothing_but_time(when: Literal["before", "after"]) -> None:
    async def failing_at(number: int) -> bool:
        store = Store()
        await forwarded(store)
        process = store.process()
        process.gate.trouble = lambda call: when if call == number else None
        await process.run()
        await assert_answered(store)
        assert store.depot.held == {}
        return process.gate.calls >= number

    assert await asyncio.gather(*map(failing_at, range(1, 11))) == [True] * 10
    assert not await failing_at(60)


async def test_a_store_that_stays_away_is_waited_for_with_what_was_made() -> None:
    model = Slow()
    store = Store(model=model)
    await forwarded(store)
    process = store.process()
    running = asyncio.create_task(process.run())
    await until(lambda: model.calls)
    process.gate.away = True
    model.open.set()
    calls = process.gate.calls
    await until(lambda: process.gate.calls > calls + 5)
    assert not running.done()
    process.gate.away = False
    await running
    await assert_answered(store)
    assert len(store.model.calls) == 1


async def test_what_was_heard_while_the_store_was_away_is_kept_once_it_is_back() -> None:
    model = Slow()
    store = Store(model=model)
    await forwarded(store)
    process = store.process()
    process.gate.trouble = lambda _: "before" if store.transcriber.calls and not model.calls else None
    running = asyncio.create_task(process.run())
    await until(lambda: model.calls)
    model.open.set()
    await running
    record = await assert_answered(store)
    assert record.transcript_id == ID
    assert (await store.here.transcripts.get(ID)).text == "Hello world. How are you?"
    assert NoteKey.NOT_KEPT not in {note.key for note in record.notes}


async def test_a_transcript_that_cannot_be_kept_at_all_is_answered_without() -> None:
    class Refusing(FakeTranscriptStore):
        async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
            raise TranscriptNotKept(f"{request_id} is too large: {transcript.duration_s} s, for {keep_s} s")

    store = Store(transcripts=Refusing())
    await forwarded(store)
    await store.here.run()
    record = await assert_answered(store)
    assert record.transcript_id is None
    assert NoteKey.NOT_KEPT in {note.key for note in record.notes}


@pytest.mark.parametrize("fails", [False, True])
async def test_while_the_store_is_away_whoever_watches_here_is_answered_at_once(fails: bool) -> None:
    model = Slow()
    store = Store(model=model)
    await forwarded(store)
    process = store.process()
    told: list[Ended] = []

    async def at_hand(ended: Ended) -> None:
        told.append(ended)
        process.gate.away = False
        if fails:
            raise ZeroDivisionError

    process.runner.at_hand = at_hand
    running = asyncio.create_task(process.run())
    await until(lambda: model.calls)
    process.gate.away = True
    model.open.set()
    await running
    (ended,) = told
    assert ended.reply is not None
    assert ended.record == await assert_answered(store)


async def test_a_process_that_stops_leaves_its_job_to_others_and_counts_no_start() -> None:
    store = Store(transcriber=FakeTranscriber(HANG))
    await forwarded(store)
    for _ in range(2 * MAX_STARTS):
        running = asyncio.create_task(store.process().run())
        seen = len(store.transcriber.calls)
        await until(lambda seen=seen: len(store.transcriber.calls) > seen)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    record = await store.record()
    assert (record.state, record.starts, store.outbox.posted) == (RequestState.RUNNING, 0, [])
    assert record.cache_keys, "what it leaves in the cache is still known"
    assert await store.in_line()
    assert store.depot.held
    assert await store.left() == 2


async def test_a_job_that_ends_every_process_is_given_up() -> None:
    transcriber = Deadly(times=99)
    store = Store(transcriber=transcriber)
    await forwarded(store)
    for _ in range(MAX_STARTS):
        transcriber.process = store.process()
        with pytest.raises(Killed):
            await transcriber.process.run()
    assert store.outbox.posted == []
    await store.process().run()
    record = await store.record()
    failure = failure_of(record)
    assert isinstance(failure, GivenUp)
    assert (record.state, record.price, failure.values) == (RequestState.FAILED, 0, {"starts": 3})
    assert transcriber.left == 99 - MAX_STARTS
    assert (store.outbox.posted, store.depot.held, await store.in_line()) == ([ID], {}, False)
    assert await store.left() == 3


async def test_a_job_that_ends_two_processes_may_still_succeed() -> None:
    transcriber = Deadly(times=MAX_STARTS - 1)
    store = Store(transcriber=transcriber)
    await forwarded(store)
    for _ in range(MAX_STARTS - 1):
        transcriber.process = store.process()
        with pytest.raises(Killed):
            await transcriber.process.run()
    await store.process().run()
    assert (await assert_answered(store)).starts == MAX_STARTS


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [(TranscriptionFailed("x"), TranscriptionFailed), (NotAudio("x"), NotAudio), (ZeroDivisionError(), EarshotError)],
)
async def test_what_fails_is_told_and_costs_nothing(error: Exception, told: type[EarshotError]) -> None:
    store = Store(decoder=FakeDecoder(error))
    await forwarded(store)
    await store.here.run()
    record = await store.record()
    assert (record.state, type(failure_of(record)), record.price) == (RequestState.FAILED, told, 0)
    assert (store.outbox.posted, store.depot.held, await store.in_line()) == ([ID], {}, False)
    assert await store.left() == 3


async def test_somebody_who_slips_on_and_on_pays() -> None:
    store = Store(decoder=FakeDecoder(NotAudio("x")))
    for number in range(COURTESY.burst):
        bucket = BucketId(guild_id=GUILD, member_id=ADA, kind="courtesy")
        await store.limiter.reserve(bucket, f"{number:08x}", 1, COURTESY)
    await forwarded(store)
    await store.here.run()
    assert (await store.record()).price == 1
    assert await store.left() == 2


async def test_a_transcript_that_is_gone_ends_its_job() -> None:
    store = Store()
    await store.taken(source=KeptTranscript(id=KEPT))
    await store.here.run()
    record = await store.record()
    assert (record.state, type(failure_of(record))) == (RequestState.FAILED, NotFound)
    assert (store.outbox.posted, await store.in_line(), await store.left()) == ([ID], False, 3)


async def test_a_kept_transcript_is_used_again_for_nothing() -> None:
    store = Store()
    await store.here.transcripts.put(KEPT, a_transcript("Hello."), keep_s=60)
    await store.taken(source=KeptTranscript(id=KEPT))
    await store.here.run()
    assert (await assert_answered(store, price=0)).transcript_id == KEPT
    assert store.fetcher.calls == []


async def test_a_depot_that_does_not_work_is_left_to_be_swept() -> None:
    store = Store()
    await forwarded(store)
    store.depot.error = SpoolFailed("x")
    await store.here.run()
    await assert_answered(store)


# --- a place in the line ----------------------------------------------------------------------------------------------


async def test_a_job_makes_room_once_it_needs_no_transcriber() -> None:
    store = Store(model=FakeCompletionModel(HANG))
    await forwarded(store)
    assert await store.in_line()
    running = asyncio.create_task(store.here.run())
    await until(lambda: store.model.calls)
    assert not await store.in_line()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_job_that_nobody_knows_leaves_the_line_and_whoever_watches_is_told() -> None:
    store = Store()
    await forwarded(store)
    store.documents.__init__(now=store.clock)  # emptied
    await store.here.run()
    assert (store.outbox.posted, await store.in_line()) == ([ID], False)


# --- cancelled --------------------------------------------------------------------------------------------------------


async def assert_cancelled(store: Store, *, left: float) -> None:
    record = await store.record()
    assert record.state is RequestState.CANCELLED
    assert isinstance(failure_of(record), CancelledByMember)
    assert record.price == 3 - left
    assert (store.outbox.posted, store.depot.held, await store.in_line()) == ([ID], {}, False)
    assert await store.left() == left


async def test_a_job_that_is_cancelled_before_it_begins_costs_nothing() -> None:
    store = Store()
    record = await forwarded(store)
    fetched = len(store.fetcher.calls)
    await store.here.dispatch.cancel(record)
    assert store.queue.submitted == [(ID, Lane.READY)], "it need not wait for its turn"
    await store.here.run()
    await assert_cancelled(store, left=3)
    assert len(store.fetcher.calls) == fetched


async def test_a_job_that_is_in_already_is_not_begun_beside_itself_to_be_cancelled() -> None:
    store = Store()
    record = await forwarded(store)
    await store.here.admission.announce(LANE, "worker", 1, 10.0, 60.0)
    await store.here.dispatch.cancel(record)
    assert store.queue.submitted == [(ID, LANE)]
    await store.here.run()
    await assert_cancelled(store, left=3)


async def test_a_job_that_needs_no_transcriber_leaves_the_line_as_it_begins_and_counts_for_no_room() -> None:
    model = Slow()
    store = Store(model=model)
    await forwarded(store)
    running = asyncio.create_task(store.here.runner.run(ID, Lane.READY))
    await until(lambda: store.here.runner.past_listening(Lane.READY))
    assert not await store.in_line()
    assert store.here.runner.past_listening(LANE) == 0
    model.open.set()
    await running
    assert store.here.runner.past_listening(Lane.READY) == 0
    assert (await store.record()).state is RequestState.DONE


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ({"fetcher": FakeFetcher(some_fetched(), HANG)}, 3),
        ({"decoder": FakeDecoder(HANG)}, 3),
        ({"model": FakeCompletionModel(HANG)}, 2),
    ],
    ids=["while it is fetched", "while it is decoded", "while it is written"],
)
async def test_a_job_that_is_cancelled_costs_its_price_once_there_was_work_for_it(
    parts: dict[str, Any], left: float
) -> None:
    store = Store(**parts)
    record = await forwarded(store)
    running = asyncio.create_task(store.here.run())
    (part,) = parts.values()
    await until(lambda: len(part.calls) == (2 if isinstance(part, FakeFetcher) else 1))
    await store.process().dispatch.cancel(record)
    await running
    await assert_cancelled(store, left=left)


async def test_a_store_that_is_away_cancels_nothing() -> None:
    store = Store()
    await forwarded(store)
    process = store.process()
    running = asyncio.create_task(process.run())
    process.gate.trouble = lambda call: "before" if call == 2 else None  # the first look at the flag
    await running
    await assert_answered(store)


# --- forgotten --------------------------------------------------------------------------------------------------------


async def assert_forgotten(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.record()
    with pytest.raises(NotFound):
        await store.here.transcripts.get(ID)
    assert await store.here.requests.ids(GUILD, ADA) == []
    assert await store.here.deliveries.pending(GUILD, ADA) == frozenset()
    assert store.cache.size == 0
    assert (store.outbox.posted, await store.in_line()) == ([ID], False)


async def test_a_member_who_is_forgotten_before_their_job_begins_leaves_nothing() -> None:
    store = Store()
    await forwarded(store)
    await store.forget()
    await store.here.run()
    await assert_forgotten(store)
    assert store.transcriber.calls == []


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_member_who_is_forgotten_while_their_job_runs_leaves_nothing(cancelled: bool) -> None:
    store = Store(model=FakeCompletionModel(HANG if cancelled else "All is well."))
    record = await forwarded(store)
    running = asyncio.create_task(store.here.run())
    await until(lambda: store.transcriber.calls)
    if cancelled:
        await until(lambda: store.model.calls)
        await store.here.dispatch.cancel(record)
    await store.forget()
    await running
    await assert_forgotten(store)
    assert store.depot.held == {}


# --- other versions -------------------------------------------------------------------------------------------------


async def test_a_job_of_a_later_version_keeps_its_place_for_a_process_of_that() -> None:
    store = Store()
    await forwarded(store)
    raw = await store.documents.get(keys.request(ID))
    assert raw is not None
    later = json.dumps({**json.loads(raw), "schema_version": 99}).encode()
    await store.documents.put(keys.request(ID), later, 60.0)
    for lane in (LANE, Lane.READY):
        await store.here.runner.run(ID, lane)
    assert (store.outbox.posted, await store.in_line()) == ([], True)
    await store.documents.put(keys.request(ID), raw, 60.0)
    await store.here.run()
    await assert_answered(store)


async def test_settings_of_a_later_version_do_not_keep_an_answer_back() -> None:
    store = Store()
    await forwarded(store)
    later = json.dumps({"schema_version": 99, "guild_id": GUILD}).encode()
    await store.documents.put(keys.settings(GUILD), later, 60.0)
    await store.process().run()
    assert store.outbox.posted == [ID]
    assert (await store.record()).state is RequestState.DONE
    assert not await store.in_line()


async def test_a_job_outlasts_what_its_guild_keeps_results_for() -> None:
    store = Store()
    entry = AuditEntry(guild_id=GUILD, at=1.0, who=1, what="settings.retention")
    await store.here.settings.change(GUILD, lambda kept: kept.model_copy(update={"retention_days": 0.05}), entry)
    await forwarded(store)
    store.clock.now += 0.9 * DAY_S
    await store.here.run()
    assert (await store.record()).state is RequestState.DONE
