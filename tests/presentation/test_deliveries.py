"""Answers of jobs arrive: once, whatever ends or is away meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bot.core.errors import DecodeFailed, NotAudio
from bot.core.orders import Address
from bot.core.records import RequestState
from bot.presentation import deliveries as module
from bot.presentation.courier import Arrival, Undelivered
from bot.presentation.deliveries import AT_A_TIME, MOST_SLIPS, MOST_TAKES, SOON, Deliveries
from bot.presentation.watches import Watches
from tests.core.workplace import ADA, GUILD, ID, Killed, Process, Store, a_request, an_address
from tests.fakes import FakeDecoder, FakeObserver, FakeOutbox
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Literal

    from bot.core.desk import Ended
    from bot.presentation.courier import Placeholder
    from bot.presentation.replies import Answer

URL = "https://discord.com/channels/1/2/3"
ARRIVED = Arrival(url=URL)
LATER = Undelivered(temporary=True, reason="Discord is away")
NEVER = Undelivered(temporary=False, reason="nobody may write there")
IDLE_S = 16.0
"""A taker that keeps still for so long loses what it took."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    answer: Answer
    nonce: str
    address: Address


class ScriptedCourier:
    """Brings answers as it is told: one outcome after another, the last one from then on; once ``open`` is set."""

    def __init__(self, *outcomes: Arrival | Undelivered | Exception) -> None:
        self._outcomes = outcomes or (ARRIVED,)
        self.sent: list[Sent] = []
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> Arrival | Undelivered:
        self.sent.append(Sent(answer=answer, nonce=nonce, address=placeholder.address))
        outcome = self._outcomes[min(len(self.sent), len(self._outcomes)) - 1]
        await self.open.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Office:
    """Deliveries of a process, and a courier."""

    def __init__(
        self, store: Store, *outcomes: Arrival | Undelivered | Exception, process: Process | None = None
    ) -> None:
        self.store = store
        self.process = process or store.process()
        self.courier = ScriptedCourier(*outcomes)
        self.watches = Watches(store.bus)
        courier: Any = self.courier
        self.deliveries = Deliveries(
            self.process.desk,
            courier,
            outbox=self.process.gate.through(store.outbox),
            requests=self.process.requests,
            transcripts=self.process.transcripts,
            deliveries=self.process.deliveries,
            watches=self.watches,
            consumer="here",
            now=store.clock,
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[asyncio.Task[None]]:
        client: Any = SimpleNamespace()
        task = asyncio.create_task(self.deliveries.run(client))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, BaseExceptionGroup):
                await task

    @property
    def is_done(self) -> bool:
        """Whether everything that was posted is off the list."""
        return len(self.store.outbox.finished) == len(self.store.outbox.posted)

    async def until_done(self) -> None:
        """Time passes for whoever waits for what others dropped."""

        def look() -> bool:
            if not self.is_done:
                self.store.clock.now += 1
            return self.is_done

        await until(look)


async def answered(store: Store, request_id: str = ID) -> None:
    """A job has ended, and its answer waits."""
    taken = await store.here.dispatch.accept(a_request(request_id=request_id), an_address())
    assert not hasattr(taken, "transcript")
    await store.here.run(request_id)


async def an_office(*outcomes: Arrival | Undelivered | Exception, **parts: Any) -> Office:
    store = Store(**parts)
    await answered(store)
    return Office(store, *outcomes)


async def taken_often(store: Store, times: int) -> None:
    """Somebody took the answer so often, and never brought it."""
    for _ in range(times):
        assert await store.outbox.take("another", most=1, wait_s=0)
        store.clock.now += IDLE_S


# --- to its member ----------------------------------------------------------------------------------------------------


async def test_an_answer_arrives_and_what_it_took_is_gone() -> None:
    office = await an_office()
    async with office.open():
        await until(lambda: office.is_done)
    (sent,) = office.courier.sent
    assert (sent.answer.description, sent.answer.transcript_id) == ("All is well.", ID)
    assert (sent.nonce, sent.address) == (ID, an_address())
    record = await office.store.record()
    assert (record.state, record.answer_url, record.order, record.address) == (RequestState.DONE, URL, None, None)
    assert await office.process.deliveries.pending(GUILD, ADA) == frozenset()


async def test_a_long_id_makes_a_nonce_that_discord_takes() -> None:
    store, request_id = Store(), "a" * 64
    await answered(store, request_id)
    office = Office(store)
    async with office.open():
        await until(lambda: office.is_done)
    assert office.courier.sent[0].nonce == "a" * 25


@pytest.mark.parametrize(
    ("error", "said", "has_reference"),
    [(DecodeFailed("x"), "couldn't decode", True), (NotAudio("x"), "", False)],
    ids=["of ours", "of theirs"],
)
async def test_a_failure_is_told(error: Exception, said: str, has_reference: bool) -> None:
    office = await an_office(decoder=FakeDecoder(error))
    async with office.open():
        await until(lambda: office.is_done)
    (sent,) = office.courier.sent
    assert sent.answer.is_error
    assert said in sent.answer.description
    assert bool(sent.answer.footer) is has_reference
    assert (await office.store.record()).failure is None


async def test_a_cancelled_job_says_so() -> None:
    store = Store()
    await store.here.dispatch.cancel(await store.taken())
    await store.here.run()
    office = Office(store)
    async with office.open():
        await until(lambda: office.is_done)
    assert [sent.answer.description for sent in office.courier.sent] == ["Cancelled."]


async def test_an_answer_whose_transcript_is_gone_is_shown_without() -> None:
    office = await an_office()
    await office.process.transcripts.delete(ID)
    async with office.open():
        await until(lambda: office.is_done)
    (sent,) = office.courier.sent
    assert sent.answer.description == "All is well."
    assert sent.answer.transcript_id is None


async def test_where_nobody_asked_a_failure_is_kept_quiet() -> None:
    store = Store(decoder=FakeDecoder(NotAudio("x")))
    address = Address(reply_to=5, guild_id=GUILD, channel_id=1, member_id=ADA, file_limit=1_000)
    await store.here.dispatch.accept(a_request(None), address)
    await store.here.run()
    office = Office(store)
    async with office.open():
        await until(lambda: office.is_done)
    assert office.courier.sent == []
    assert (await store.record()).address is None


async def test_several_are_brought_at_a_time_but_not_all() -> None:
    store = Store()
    for number in range(AT_A_TIME + 2):
        await answered(store, f"{number:016x}")
        await store.here.fair_use.reset(a_request().asker)  # pyright: ignore[reportArgumentType] - she is one
    office = Office(store)
    office.courier.open.clear()
    async with office.open():
        await until(lambda: len(office.courier.sent) == AT_A_TIME)
        await asyncio.sleep(0)
        assert len(office.courier.sent) == AT_A_TIME
        office.courier.open.set()
        await until(lambda: office.is_done)
    assert len({sent.nonce for sent in office.courier.sent}) == len(office.courier.sent) == AT_A_TIME + 2


# --- once -------------------------------------------------------------------------------------------------------------


async def test_an_answer_that_was_posted_twice_arrives_once() -> None:
    office = await an_office()
    await office.store.outbox.post(ID)
    office.courier.open.clear()
    async with office.open():
        await until(lambda: office.courier.sent)
        await asyncio.sleep(0)
        office.courier.open.set()
        await office.until_done()
    assert len(office.courier.sent) == 1


async def test_what_another_process_delivered_is_let_be() -> None:
    office = await an_office()
    await office.process.desk.delivered(ID, url=URL)
    async with office.open():
        await until(lambda: office.is_done)
    assert office.courier.sent == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_once_anywhere_makes_nothing_arrive_twice(when: Literal["before", "after"]) -> None:
    async def failing_at(number: int) -> bool:
        office = await an_office()
        gate = office.process.gate
        gate.trouble = lambda call: when if call == number else None
        async with office.open():
            await office.until_done()
        assert len(office.courier.sent) == 1
        record = await office.store.record()
        assert (record.address, record.answer_url) == (None, URL)
        assert await office.store.here.deliveries.pending(GUILD, ADA) == frozenset()
        return gate.calls >= number

    assert await asyncio.gather(*map(failing_at, range(1, 9))) == [True] * 8


async def test_wherever_its_process_is_killed_another_brings_the_answer_and_discord_takes_it_once() -> None:
    async def killed_at(number: int) -> bool:
        store = Store()
        await answered(store)
        first = Office(store)
        gate = first.process.gate
        gate.trouble = lambda call: "kill" if call == number else None
        async with first.open() as task:
            await until(lambda: first.is_done or task.done())
            if not first.is_done:
                with suppress(Killed, BaseExceptionGroup):
                    await task
        second = Office(store)
        async with second.open():
            await second.until_done()
        sent = [*first.courier.sent, *second.courier.sent]
        assert {one.nonce for one in sent} == {ID}
        assert len(sent) in (1, 2)
        assert (await store.record()).address is None
        return gate.is_killed

    assert await asyncio.gather(*map(killed_at, range(1, 8))) == [True] * 7


async def test_a_delivery_that_is_cut_off_is_made_by_another() -> None:
    office = await an_office()
    office.courier.open.clear()
    async with office.open():
        await until(lambda: office.courier.sent)
    assert not office.is_done
    another = Office(office.store)
    async with another.open():
        await another.until_done()
    assert [sent.nonce for sent in (*office.courier.sent, *another.courier.sent)] == [ID, ID]
    assert (await office.store.record()).answer_url == URL


async def test_what_takes_long_is_kept_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keeping(FakeOutbox):
        kept = 0

        async def keep(self, consumer: str, *entries: str) -> None:
            await super().keep(consumer, *entries)
            self.kept += bool(entries)

    monkeypatch.setattr(module, "_KEEP_S", 0.001)
    store = Store()
    outbox = store.outbox = Keeping(store.clock)
    store.here = store.process()
    await answered(store)
    office = Office(store)
    office.courier.open.clear()
    async with office.open():
        await until(lambda: office.courier.sent)
        for _ in range(3):
            store.clock.now += IDLE_S / 2
            seen = outbox.kept
            await until(lambda seen=seen: outbox.kept > seen)
            assert not await outbox.take("another", most=1, wait_s=0)
        office.courier.open.set()
        await until(lambda: office.is_done)


# --- what does not arrive ---------------------------------------------------------------------------------------------


async def test_what_fails_for_a_while_is_taken_up_again() -> None:
    office = await an_office(LATER, LATER, ARRIVED)
    async with office.open():
        await office.until_done()
    assert len(office.courier.sent) == 3
    assert (await office.store.record()).answer_url == URL


async def assert_left_to_results(office: Office) -> None:
    assert await office.process.deliveries.pending(GUILD, ADA) == {ID}
    record = await office.store.record()
    assert record.state is RequestState.DONE
    assert record.result is not None


async def test_what_can_never_arrive_is_left_to_results() -> None:
    office = await an_office(NEVER)
    async with office.open():
        await until(lambda: office.is_done)
    assert len(office.courier.sent) == 1
    await assert_left_to_results(office)


@pytest.mark.parametrize("outcome", [LATER, ZeroDivisionError()], ids=["Discord", "a slip"])
async def test_nothing_is_tried_for_ever(outcome: Undelivered | Exception) -> None:
    office = await an_office(outcome)
    is_slip = isinstance(outcome, Exception)
    await taken_often(office.store, MOST_SLIPS - 1 if is_slip else MOST_TAKES - 1)
    async with office.open():
        await office.until_done()
    assert len(office.courier.sent) == 1
    await assert_left_to_results(office)


async def test_what_cannot_be_delivered_for_long_is_tried_now_and_then() -> None:
    office = await an_office(LATER)
    await taken_often(office.store, 2 * SOON - 3)
    async with office.open():
        for _ in range(2):
            taken = office.store.outbox.takes
            office.store.clock.now += IDLE_S
            await until(lambda before=taken: office.store.outbox.takes > before)
        assert office.courier.sent == []
        office.store.clock.now += IDLE_S
        await until(lambda: office.courier.sent)


async def test_what_fails_for_one_is_no_reason_to_leave_the_others() -> None:
    store = Store()
    await answered(store)
    await answered(store, "a" * 16)
    office = Office(store, ZeroDivisionError(), ARRIVED)
    async with office.open():
        await office.until_done()
    first, second, third = (sent.nonce for sent in office.courier.sent)
    assert ({first, second}, third) == ({ID, "a" * 16}, first)


async def test_an_outbox_that_is_away_is_asked_again() -> None:
    office = await an_office()
    office.store.outbox.away = True
    async with office.open():
        await until(lambda: office.process.gate.calls)
        office.store.outbox.away = False
        await until(lambda: office.is_done)
    assert len(office.courier.sent) == 1


# --- whoever watches --------------------------------------------------------------------------------------------------


async def test_an_answer_waits_until_nothing_else_is_written_in_its_place() -> None:
    office = await an_office()
    with office.watches.on(ID, FakeObserver()) as watch:
        async with office.open():
            await watch.over()
            assert office.courier.sent == []
            watch.leave()
            await until(lambda: office.is_done)
    assert len(office.courier.sent) == 1


async def test_whoever_watches_what_was_forgotten_is_told() -> None:
    store = Store()
    await store.taken()
    await store.forget()
    await store.here.run()
    office = Office(store)
    with office.watches.on(ID, FakeObserver()) as watch:
        async with office.open():
            await watch.over()
            assert watch.gone
            watch.leave()
            await until(lambda: office.is_done)
    assert office.courier.sent == []


@pytest.mark.parametrize("parts", [dict[str, Any], lambda: {"decoder": FakeDecoder(NotAudio("x"))}])
async def test_without_a_store_whoever_watches_here_is_answered_and_not_again(
    parts: Callable[[], dict[str, Any]],
) -> None:
    store = Store(**parts())
    done = await store.here.desk.work(await store.taken())
    office = Office(store)
    async with office.open():
        with office.watches.on(ID, FakeObserver()) as watch:
            office.process.gate.away = True
            await asyncio.sleep(0)
            handing = asyncio.create_task(office.deliveries.hand_over(done))
            await watch.over()
        await handing
        assert len(office.courier.sent) == 1
        assert office.courier.sent[0].answer.is_error is (done.reply is None)
        office.process.gate.away = False
        await store.here.desk.conclude(done.record)
        await store.outbox.post(ID)
        await office.until_done()
    assert len(office.courier.sent) == 1
    record = await store.record()
    assert (record.address, record.answer_url) == (None, URL)


async def test_without_a_store_an_answer_that_nobody_watches_waits() -> None:
    store = Store()
    done: Ended = await store.here.desk.work(await store.taken())
    office = Office(store)
    async with office.open():
        await asyncio.sleep(0)
        await office.deliveries.hand_over(done)
    assert office.courier.sent == []


async def test_what_no_job_brings_is_brought_and_entered() -> None:
    store = Store()
    office = Office(store)
    async with office.open():
        await asyncio.sleep(0)
        reply = await store.here.desk.serve(a_request())
        await office.deliveries.bring(reply, an_address())
    assert [sent.answer.description for sent in office.courier.sent] == ["All is well."]
    assert (await store.record()).answer_url == URL
    assert await office.process.deliveries.pending(GUILD, ADA) == frozenset()
