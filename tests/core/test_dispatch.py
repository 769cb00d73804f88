"""What is accepted is answered: by a job, or here; and what is not leaves nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bot.core.dispatch import HELD_S, REVIVED_S
from bot.core.entries import failure_of
from bot.core.errors import (
    FetchFailed,
    LinkExpired,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RecordTooNew,
    SpoolFailed,
    SpoolFull,
    StoreUnavailable,
)
from bot.core.jobs import Lane
from bot.core.models import AudioLink, KeptTranscript, Reply, SpooledAudio, Stage
from bot.core.records import RequestRecord, RequestState
from bot.core.scheduling import Entry
from tests.core.workplace import ADA, GUILD, ID, LANE, LINK, Killed, Process, Store, a_request, an_address
from tests.fakes import FakeFetcher, FakeObserver, a_transcript, some_fetched
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from bot.core.models import AudioFile, FetchedAudio
    from bot.core.ports import Observer
    from bot.core.scheduling import Ledger

KEPT = "fedcba9876543210"
OTHERS = ("aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaa2")
JOB = [(ID, LANE)]
READY = [(ID, Lane.READY)]


class Gated(FakeFetcher):
    """Fetches once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.only_first = False

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        fetched = await super().fetch(source, on_fraction=on_fraction)
        if not self.only_first or len(self.calls) == 1:
            await self.open.wait()
        return fetched


async def accept(process: Process, request_id: str = ID, observer: Observer | None = None) -> RequestRecord | Reply:
    taken = process.dispatch.accept(a_request(request_id=request_id), an_address(), observer or FakeObserver())
    return await taken


async def let_in(store: Store, *, by: Process | None = None) -> None:
    """Somebody works."""
    await (by or store.here).admission.announce(LANE, "worker", 1, 10.0, 60.0)


async def held_again(store: Store) -> None:
    """Time passes, until a job is let in although nobody said that its audio is there."""
    store.clock.now += HELD_S + 1
    await let_in(store, by=store.process())


async def fill_line(store: Store) -> None:
    for request_id in OTHERS:
        entry = Entry(request_id=request_id, guild_id=GUILD, member_id=99, since=1.0, held_until=9e9)
        await store.here.admission.join(LANE, entry)


async def assert_nothing_is_left(store: Store) -> None:
    assert not await store.in_line()
    assert await store.here.requests.ids(GUILD, ADA) == []
    with pytest.raises(NotFound):
        await store.record()
    assert await store.left() == 3


# --- to the job engine ------------------------------------------------------------------------------------------------


async def test_a_request_is_written_down_before_anything_is_done_for_it() -> None:
    store = Store()
    record = await store.taken()
    assert await store.record() == record
    assert (record.state, record.price, record.starts) == (RequestState.RUNNING, 1, 0)
    assert record.address == an_address()
    assert record.order is not None
    assert record.order.source == LINK
    assert await store.left() == 2
    await let_in(store)
    assert (await store.in_line(), store.queue.submitted) == (True, []), "it is held until its audio is there"
    assert store.fetcher.calls == []


async def test_its_audio_is_fetched_ahead_and_then_it_takes_its_turn() -> None:
    store = Store()
    await let_in(store)
    record, observer = await store.taken(), FakeObserver()
    await store.here.dispatch.forward(record, observer)
    assert store.queue.submitted == JOB
    order = (await store.record()).order
    assert order is not None
    (key,) = store.depot.held
    assert order.source == SpooledAudio(key=key, sha256="0" * 64, size=1_000, link=LINK)
    assert store.here.spool.released == [some_fetched()]
    assert [progress.fraction for progress in observer.seen] == [None, 0.5, 1.0]
    assert {progress.stage for progress in observer.seen} == {Stage.FETCH}


async def test_what_was_heard_before_does_not_wait_for_a_transcriber() -> None:
    store = Store()
    first = a_request(request_id="a" * 16)
    await store.here.desk.serve(first)
    await store.here.dispatch.forward(await store.taken("summarize"))
    assert store.queue.submitted == READY, "although nobody works"
    await store.here.run()
    assert (await store.record()).cached_transcript
    assert len(store.transcriber.calls) == 1


async def test_a_kept_transcript_needs_no_transcriber() -> None:
    store = Store()
    await store.here.transcripts.put(KEPT, a_transcript("Hello."), keep_s=60)
    await store.here.dispatch.forward(await store.taken(source=KeptTranscript(id=KEPT)))
    assert (store.queue.submitted, store.fetcher.calls) == (READY, [])


async def test_few_are_fetched_at_a_time() -> None:
    fetcher = Gated()
    store = Store(fetcher=fetcher)
    record = await store.taken()
    forwarding = [asyncio.create_task(store.here.dispatch.forward(record)) for _ in range(6)]
    await until(lambda: len(fetcher.calls) >= 4)
    await asyncio.sleep(0)
    assert len(fetcher.calls) == 4
    fetcher.open.set()
    await asyncio.gather(*forwarding)
    assert len(fetcher.calls) == 6


# --- what cannot be fetched ahead -------------------------------------------------------------------------------------


async def test_a_link_that_has_expired_is_told_by_the_job() -> None:
    store = Store(fetcher=FakeFetcher(LinkExpired("x")))
    await store.here.dispatch.forward(await store.taken())
    assert store.queue.submitted == READY
    await store.here.run()
    record = await store.record()
    assert (record.state, type(failure_of(record)), record.price) == (RequestState.FAILED, LinkExpired, 0)
    assert await store.left() == 3


@pytest.mark.parametrize("error", [FetchFailed("x"), SpoolFull("x"), SpoolFailed("x")], ids=repr)
async def test_what_could_not_be_fetched_is_fetched_by_the_job(error: Exception) -> None:
    store = Store(fetcher=FakeFetcher(error, some_fetched()))
    await let_in(store)
    await store.here.dispatch.forward(await store.taken())
    assert store.queue.submitted == JOB
    await store.here.run()
    assert (await store.record()).state is RequestState.DONE
    assert store.fetcher.calls == [LINK, LINK]


async def test_a_depot_without_room_is_gone_without() -> None:
    store = Store()
    store.depot.error = SpoolFull("x")
    await let_in(store)
    await store.here.dispatch.forward(await store.taken())
    assert (store.queue.submitted, store.here.spool.released) == (JOB, [some_fetched()])
    order = (await store.record()).order
    assert order is not None
    assert order.spooled is None


async def test_a_slip_of_the_fetcher_costs_the_job_nothing_but_time() -> None:
    store = Store(fetcher=FakeFetcher(ZeroDivisionError(), some_fetched()))
    await store.here.dispatch.forward(await store.taken())
    await held_again(store)
    assert store.queue.submitted == JOB
    await store.here.run()
    assert (await store.record()).state is RequestState.DONE


@pytest.mark.parametrize("flagged", [False, True], ids=["answered", "cancelled"])
async def test_a_job_that_ends_while_its_audio_is_fetched_is_not_set_back(flagged: bool) -> None:
    fetcher = Gated()
    store = Store(fetcher=fetcher)
    record = await store.taken()
    forwarding = asyncio.create_task(store.here.dispatch.forward(record))
    await until(lambda: fetcher.calls)
    if flagged:
        await store.process().dispatch.cancel(record)
    fetcher.only_first = True  # whoever does the job has a way of its own
    await store.process().run()
    before = await store.record()
    assert before.state is (RequestState.CANCELLED if flagged else RequestState.DONE)
    fetcher.open.set()
    await forwarding
    assert await store.record() == before
    assert store.depot.held == {}


async def test_a_job_that_was_begun_while_its_audio_is_fetched_is_not_set_back() -> None:
    fetcher = Gated()
    store = Store(fetcher=fetcher)
    record = await store.taken()
    forwarding = asyncio.create_task(store.here.dispatch.forward(record))
    await until(lambda: fetcher.calls)
    begun = record.model_copy(update={"starts": 1})
    await store.here.requests.put(begun, keep_s=60)
    fetcher.open.set()
    await forwarding
    assert (await store.record(), store.depot.held) == (begun, {})


async def test_a_member_who_is_forgotten_meanwhile_leaves_no_audio_and_is_told() -> None:
    fetcher = Gated()
    store = Store(fetcher=fetcher)
    await let_in(store)
    forwarding = asyncio.create_task(store.here.dispatch.forward(await store.taken()))
    await until(lambda: fetcher.calls)
    await store.forget()
    fetcher.open.set()
    await forwarding
    assert store.depot.held == {}
    assert store.queue.submitted == JOB, "whoever finds nothing tells that"
    await store.here.run()
    assert (store.outbox.posted, await store.in_line()) == ([ID], False)


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_a_line_that_is_full_refuses_and_gives_the_price_back() -> None:
    store = Store()
    await fill_line(store)
    with pytest.raises(Overloaded):
        await accept(store.here)
    assert await store.left() == 3
    assert await store.here.requests.ids(GUILD, ADA) == []


async def test_while_the_line_is_full_what_is_finished_is_served() -> None:
    store = Store()
    first = await store.here.desk.serve(a_request(request_id="a" * 16))
    await fill_line(store)
    again = await accept(store.here)
    assert isinstance(again, Reply)
    assert again.result == first.result
    assert (await store.left(), store.queue.submitted) == (2, [])


async def test_an_empty_bucket_refuses_and_nothing_is_entered() -> None:
    store = Store()
    for number in range(3):
        await accept(store.here, f"{number:016x}")
        await store.here.admission.leave(LANE, f"{number:016x}")
    before = await store.here.ledgers.get(LANE)
    with pytest.raises(QuotaExceeded):
        await accept(store.here)
    assert await store.here.ledgers.get(LANE) == before


async def test_what_can_be_no_job_costs_nothing() -> None:
    store = Store()
    request = replace(a_request(), source=AudioLink(url="u", filename="f", declared_s=-1.0))
    with pytest.raises(ValueError, match="declared_s"):
        await store.here.dispatch.accept(request, an_address())
    await assert_nothing_is_left(store)


# --- without a store --------------------------------------------------------------------------------------------------


async def test_without_a_store_a_request_is_answered_here() -> None:
    store, observer = Store(), FakeObserver()
    store.here.gate.away = True
    reply = await accept(store.here, observer=observer)
    assert isinstance(reply, Reply)
    assert reply.result is not None
    assert observer.seen
    store.here.gate.away = False
    assert await store.left() == 2
    assert not await store.in_line()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_once_anywhere_on_the_way_in_loses_nothing(
    when: Literal["before", "after"],
) -> None:
    async def failing_at(number: int) -> bool:
        store = Store()
        await let_in(store)
        process = store.process()
        process.gate.trouble = lambda call: when if call == number else None
        taken = await accept(process)
        if isinstance(taken, RequestRecord):
            await process.dispatch.forward(taken)
        else:
            assert not await store.in_line(), "what has no job waits for nobody"
        await held_again(store)
        for request_id, _ in dict.fromkeys(store.queue.submitted):
            await store.process().run(request_id)
        assert (await store.record()).state is RequestState.DONE
        assert store.outbox.posted == ([] if isinstance(taken, Reply) else [ID]), "answered once"
        assert (int(await store.left()), await store.in_line()) == (2, False)
        assert len(store.transcriber.calls) == 1
        return process.gate.calls >= number

    number = 1
    while await failing_at(number):
        number += 1
    assert number > 8, "there is no other way to the store"


async def test_wherever_its_process_is_killed_on_the_way_in_what_was_written_down_is_answered() -> None:
    async def killed_at(number: int) -> tuple[bool, bool]:
        store = Store()
        process = store.process()
        process.gate.trouble = lambda call: "kill" if call == number else None
        with suppress(Killed):
            taken = await accept(process)
            assert isinstance(taken, RequestRecord)
            await process.dispatch.forward(taken)
        is_accepted = await store.here.requests.ids(GUILD, ADA) == [ID]
        await held_again(store)
        for request_id, _ in dict.fromkeys(store.queue.submitted):
            await store.process().run(request_id)
        if is_accepted:
            assert (await store.record()).state is RequestState.DONE
        assert not await store.in_line()
        return process.gate.is_killed, is_accepted

    number, accepted = 1, 0
    while (seen := await killed_at(number))[0]:
        number, accepted = number + 1, accepted + seen[1]
    assert 0 < accepted < number - 1


async def test_whoever_is_cancelled_on_the_way_in_leaves_nothing() -> None:
    async def cancelled_at(number: int) -> bool:
        store = Store()
        process = store.process()
        reached = asyncio.Event()

        def trouble(call: int) -> None:
            if call == number:
                reached.set()
                task.cancel()

        process.gate.trouble = trouble
        task = asyncio.create_task(accept(process))
        await asyncio.wait({task})
        if not reached.is_set():
            return False
        if not task.cancelled():  # it had ended
            assert isinstance(task.result(), RequestRecord)
            return True
        await assert_nothing_is_left(store)
        await store.process().run()
        assert store.transcriber.calls == []
        return True

    number = 1
    while await cancelled_at(number):
        number += 1
    assert number > 4, "there is no other way to the store"


async def test_a_ledger_of_a_later_version_is_gone_without() -> None:
    class Later:
        async def get(self, lane: Lane) -> Ledger:
            raise RecordTooNew(lane)

        async def change(self, lane: Lane, change: object) -> Ledger:
            raise RecordTooNew(f"{lane}: {change}")

    store = Store()
    ledgers: Any = Later()
    record = await store.taken()
    store.here.admission._ledgers = ledgers  # pyright: ignore[reportPrivateUsage] - as it is read from now on
    assert isinstance(await accept(store.here, "a" * 16), Reply)
    await store.here.dispatch.forward(record)
    assert await store.here.dispatch.places([ID]) == {}
    await store.here.run()
    assert (await store.record()).state is RequestState.DONE


# --- meanwhile --------------------------------------------------------------------------------------------------------


async def test_who_waits_is_told_where() -> None:
    store = Store()
    await fill_line(store)
    for request_id in OTHERS:
        await store.here.admission.leave(LANE, request_id)
    await store.taken()
    places = await store.here.dispatch.places([ID, KEPT])
    assert {request_id: place.before for request_id, place in places.items()} == {ID: 0}
    store.here.gate.away = True
    assert await store.here.dispatch.places([ID]) == {}


async def test_a_store_that_is_away_cancels_nothing() -> None:
    store = Store()
    record = await store.taken()
    store.here.gate.away = True
    with pytest.raises(StoreUnavailable):
        await store.here.dispatch.cancel(record)
    store.here.gate.away = False
    assert await store.here.flags.raised([ID]) == frozenset()


async def test_a_job_that_the_store_has_lost_is_taken_again() -> None:
    store = Store()
    record = await store.taken()
    store.documents.__init__(now=store.clock)  # emptied
    await let_in(store)
    await store.here.dispatch.revive(record)
    assert await store.record() == record
    assert store.queue.submitted == JOB
    await store.here.dispatch.revive(record)
    assert store.queue.submitted == JOB, "what is known is left alone"
    await store.here.run()
    assert (await store.record()).state is RequestState.DONE


async def test_what_came_to_its_end_long_ago_is_not_lost() -> None:
    store = Store()
    record = await store.taken()
    store.documents.__init__(now=store.clock)  # its time is over
    store.clock.now += REVIVED_S + 1
    await store.here.dispatch.revive(record)
    assert not await store.in_line()
    assert not await store.here.dispatch.is_answered(ID), "it is not there at all"


async def test_a_job_that_ended_while_its_audio_was_handed_over_stays_ended() -> None:
    store = Store()
    record = await store.taken()
    reading = store.here.requests.get

    async def get(request_id: str) -> RequestRecord:
        found = await reading(request_id)
        if found.state is RequestState.RUNNING:  # another process is quicker
            await store.process().requests.put(found.model_copy(update={"state": RequestState.FAILED}), keep_s=60)
        return found

    store.here.requests.get = get  # type: ignore[method-assign]
    await store.here.dispatch.forward(record)
    store.here.requests.get = reading  # type: ignore[method-assign]
    assert (await store.record()).state is RequestState.FAILED
    assert store.depot.held == {}, "nobody will ask for it"


async def test_what_a_member_had_forgotten_is_not_taken_again_but_told() -> None:
    store = Store()
    record = await store.taken()
    await store.forget()
    await let_in(store)
    await store.here.dispatch.revive(record)
    with pytest.raises(NotFound):
        await store.record()
    await store.here.run()
    assert (store.outbox.posted, await store.in_line()) == ([ID], False)
    assert store.transcriber.calls == []
