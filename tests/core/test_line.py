from __future__ import annotations

import pytest

from bot.core.admission import Admission
from bot.core.errors import StoreUnavailable
from bot.core.jobs import Lane
from bot.core.line import Line
from bot.core.load import ASSUMED_LENGTH_S
from bot.core.scheduling import Entry, Ledger, Worker
from tests.fakes import FakeClock, FakeJobQueue, FakeLedgerStore

LANE = Lane.INTERACTIVE


class Street:
    """A line in front of a lane; ``works`` says how many places a worker has who hears 10 s of audio a second."""

    def __init__(self, *lengths_s: float | None, works: int = 0) -> None:
        self.clock = FakeClock()
        self.ledgers = FakeLedgerStore()
        self.line = Line(self.ledgers, now=self.clock)
        ledger = Ledger()
        for number, length_s in enumerate(lengths_s):
            entry = Entry(request_id=f"{number:08x}", guild_id=1, member_id=2, since=1.0, length_s=length_s)
            ledger = ledger.joined(entry)
        if works:
            worker = Worker(name="worker", places=works, speed=10.0, until=self.clock() + 20)
            ledger, _ = ledger.announced(worker).admitted_now(self.clock())
        self.ledgers.kept[LANE] = ledger


async def test_nothing_is_expected_before_anybody_looked() -> None:
    street = Street(600.0, works=1)
    assert (street.line.expected_wait_s(), street.line.waiting) == (0.0, 0)


async def test_a_newcomer_waits_for_all_audio_before_it() -> None:
    street = Street(100.0, 200.0, None, works=1)
    await street.line.look()
    assert street.line.expected_wait_s() == pytest.approx((300.0 + ASSUMED_LENGTH_S) / 10)
    assert (street.line.waiting, street.line.admitted, street.line.places) == (1, 2, 1)


async def test_where_a_place_is_free_nobody_waits() -> None:
    street = Street(100.0, works=2)
    await street.line.look()
    assert street.line.expected_wait_s() == 0.0


async def test_where_nobody_works_nobody_knows() -> None:
    street = Street(100.0, 200.0)
    await street.line.look()
    assert (street.line.expected_wait_s(), street.line.waiting, street.line.places) == (0.0, 2, 0)


async def test_a_worker_that_is_not_heard_of_any_more_counts_for_nothing() -> None:
    street = Street(100.0, 200.0, works=1)
    street.clock.now += 21
    await street.line.look()
    assert (street.line.expected_wait_s(), street.line.places) == (0.0, 0)


async def test_what_was_seen_no_longer_counts_where_the_store_is_away() -> None:
    street = Street(600.0, 600.0, works=1)
    await street.line.look()
    assert street.line.expected_wait_s() > 60
    street.ledgers.away = True
    with pytest.raises(StoreUnavailable):
        await street.line.look()
    assert street.line.expected_wait_s() == 0.0, "nobody is refused for what nobody knows"
    street.ledgers.away = False
    await street.line.look()
    assert street.line.expected_wait_s() > 60


async def test_other_lanes_do_not_count() -> None:
    street = Street(600.0, 600.0, works=1)
    street.ledgers.kept[Lane.RECORDINGS] = street.ledgers.kept.pop(LANE)
    await street.line.look()
    assert (street.line.expected_wait_s(), street.line.waiting) == (0.0, 0)


async def test_what_a_process_changes_itself_it_knows_at_once() -> None:
    street, queue = Street(600.0, 600.0, works=1), FakeJobQueue()
    admission = Admission(street.ledgers, queue, now=street.clock, seen=street.line.see)
    await admission.let_in(LANE)
    assert street.line.expected_wait_s() > 60
    for number in range(2):
        await admission.leave(LANE, f"{number:08x}")
    assert street.line.expected_wait_s() == 0.0
    await admission.let_in(Lane.RECORDINGS)
    assert street.line.places == 1, "other lanes are none of its concern"
