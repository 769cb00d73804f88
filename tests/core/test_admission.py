"""Who is let in, and that whoever is let in is submitted."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from bot.core.admission import Admission
from bot.core.errors import Overloaded, StoreUnavailable
from bot.core.jobs import Lane
from bot.core.scheduling import AGAIN_S, Entry, Ledger, Place, Worker
from tests.core.test_scheduling import NOW, ONE, a_ledger, an_entry, an_id
from tests.fakes import FakeClock, FakeJobQueue, FakeLedgerStore

LANE: Final = Lane.INTERACTIVE


class Bench:
    """An admission, and all that it touches."""

    def __init__(self, *, most_waiting: int = 500) -> None:
        self.clock = FakeClock(NOW)
        self.store = FakeLedgerStore()
        self.engine = FakeJobQueue()
        self.admission = Admission(self.store, self.engine, now=self.clock, most_waiting=most_waiting)

    @property
    def submitted(self) -> list[str]:
        return [request_id for request_id, _ in self.engine.submitted]

    async def open(self, places: int = 1, *, lane: Lane = LANE) -> None:
        await self.admission.announce(lane, "one", places, 4.0, 1e6)

    async def join(self, *numbers: int) -> None:
        for number in numbers:
            await self.admission.join(LANE, an_entry(number, member=number))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_where_there_is_room_to_join_is_to_be_submitted_by_one_read_and_one_write(bench: Bench) -> None:
    await bench.open()
    reads, writes = bench.store.reads, bench.store.writes
    await bench.join(1)
    assert bench.engine.submitted == [(an_id(1), LANE)]
    assert (bench.store.reads - reads, bench.store.writes - writes) == (1, 1)


async def test_whoever_leaves_lets_the_next_one_in(bench: Bench) -> None:
    await bench.open()
    await bench.join(1, 2, 3, 4)
    assert bench.submitted == [an_id(1), an_id(2)]
    await bench.admission.leave(LANE, an_id(2))
    assert bench.submitted[2:] == [an_id(3)]
    await bench.admission.leave(LANE, an_id(4))
    await bench.admission.leave(LANE, an_id(1))
    assert bench.submitted[3:] == [], "the fourth has left without having been let in"
    assert bench.store.kept[LANE].waiting == ()


async def test_a_worker_that_comes_lets_in_those_who_wait(bench: Bench) -> None:
    await bench.join(1, 2, 3, 4)
    assert bench.submitted == []
    await bench.open(places=2)
    assert bench.submitted == [an_id(1), an_id(2), an_id(3)]
    await bench.admission.retire(LANE, "one")
    await bench.admission.leave(LANE, an_id(1))
    assert len(bench.submitted) == 3


async def test_a_worker_that_does_not_renew_lets_nobody_in(bench: Bench) -> None:
    await bench.admission.announce(LANE, "one", 1, 4.0, 30.0)
    bench.clock.now += 30.0
    await bench.join(1)
    assert bench.submitted == []


async def test_who_is_held_is_let_in_once_ready_or_when_the_hold_ends(bench: Bench) -> None:
    await bench.open()
    for number in (1, 2):
        await bench.admission.join(LANE, an_entry(number, member=number, held_s=20))
    assert bench.submitted == []
    await bench.admission.ready(LANE, an_id(2))
    assert bench.submitted == [an_id(2)]
    bench.clock.now += 20
    await bench.admission.let_in(LANE)
    assert bench.submitted == [an_id(2), an_id(1)]


async def test_lanes_do_not_wait_for_one_another(bench: Bench) -> None:
    await bench.open()
    await bench.open(lane=Lane.RECORDINGS)
    await bench.join(1, 2, 3)
    await bench.admission.join(Lane.RECORDINGS, an_entry(4))
    assert bench.engine.submitted[2:] == [(an_id(4), Lane.RECORDINGS)]


async def test_where_nothing_is_to_do_nothing_is_written(bench: Bench) -> None:
    await bench.admission.let_in(LANE)
    await bench.open()
    await bench.join(1, 2, 3)
    writes = bench.store.writes
    await bench.admission.let_in(LANE)
    await bench.join(1, 3)
    await bench.admission.ready(LANE, an_id(3))
    await bench.admission.leave(LANE, an_id(9))
    await bench.admission.retire(LANE, "nobody")
    assert bench.store.writes == writes


# --- too many -------------------------------------------------------------------------------------------------------


async def test_too_many_are_refused_with_the_wait_and_nothing_is_written() -> None:
    bench = Bench(most_waiting=2)
    await bench.open()
    await bench.join(1, 2, 3, 4)
    before = bench.store.kept[LANE]
    with pytest.raises(Overloaded) as refused:
        await bench.join(5)
    assert refused.value.values == {"wait_s": 4 * 60.0 / 4.0}
    assert bench.store.kept[LANE] == before
    await bench.join(1, 4)
    await bench.admission.leave(LANE, an_id(1))
    await bench.join(5)
    assert await bench.admission.place(LANE, an_id(5)) == Place(before=1, wait_s=3 * 60.0 / 4.0)


async def test_a_guild_that_floods_fills_its_own_part_of_the_line_alone() -> None:
    store, clock = FakeLedgerStore(), FakeClock(NOW)
    admission = Admission(store, FakeJobQueue(), now=clock, most_in_guild=2)

    async def join(number: int, guild_id: int | None) -> None:
        await admission.join(LANE, Entry(request_id=an_id(number), guild_id=guild_id, member_id=number, since=NOW))

    await join(1, 7)
    await join(2, 7)
    with pytest.raises(Overloaded):
        await join(3, 7)
    await join(4, 8)
    await join(5, None)
    assert sorted(await admission.known(LANE)) == [an_id(1), an_id(2), an_id(4), an_id(5)]


async def test_where_nobody_works_a_refusal_names_no_wait() -> None:
    bench = Bench(most_waiting=1)
    await bench.join(1)
    with pytest.raises(Overloaded) as refused:
        await bench.join(2)
    assert refused.value.values == {}


async def test_places_are_told_of_those_who_wait(bench: Bench) -> None:
    await bench.open()
    await bench.join(1, 2, 3, 4)
    reads = bench.store.reads
    places = await bench.admission.places(LANE, [an_id(4), an_id(1), an_id(9), an_id(3)])
    assert {request_id: place.before for request_id, place in places.items()} == {an_id(3): 0, an_id(4): 1}
    assert bench.store.reads == reads + 1
    assert await bench.admission.place(LANE, an_id(1)) is None


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def test_what_was_let_in_by_one_that_died_is_submitted_by_another_once_a_minute(bench: Bench) -> None:
    bench.store.kept[LANE], ids = a_ledger(an_entry(1)).admitted_now(NOW)
    assert ids, "whoever was to submit it has not"
    for _ in range(120):
        await bench.admission.let_in(LANE)
        bench.clock.now += 1
    assert bench.submitted == [an_id(1)]
    await bench.admission.let_in(LANE)
    assert bench.submitted == [an_id(1)] * 2
    await bench.admission.leave(LANE, an_id(1))
    bench.clock.now += AGAIN_S
    await bench.admission.let_in(LANE)
    assert len(bench.submitted) == 2


async def test_a_queue_that_is_away_loses_nobody(bench: Bench) -> None:
    await bench.open(places=2)
    bench.engine.away = True
    await bench.join(1, 2)
    assert bench.store.kept[LANE].is_in(an_id(1))
    bench.engine.away = False
    bench.clock.now += AGAIN_S
    await bench.admission.let_in(LANE)
    assert bench.submitted == [an_id(1), an_id(2)]


async def test_a_store_that_is_away_says_so(bench: Bench) -> None:
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await bench.join(1)
    with pytest.raises(StoreUnavailable):
        await bench.admission.let_in(LANE)
    assert bench.submitted == []


async def test_who_was_let_in_by_a_write_that_seemed_to_fail_is_submitted(bench: Bench) -> None:
    await bench.open()
    bench.store.rivals.append(lambda ledger: ledger.joined(an_entry(1, member=1)).admitted_now(NOW)[0])
    await bench.join(1)
    assert bench.submitted == [an_id(1)]


async def test_who_lost_the_place_to_a_rival_waits_and_is_not_submitted(bench: Bench) -> None:
    await bench.open()
    await bench.join(1)
    bench.store.rivals.append(lambda ledger: ledger.joined(an_entry(7, member=7)).admitted_now(NOW)[0])
    await bench.join(2)
    assert bench.submitted == [an_id(1)], "the seventh is its rival's to submit"
    assert bench.store.kept[LANE].waiting == (an_id(2),)


async def test_many_processes_at_it_submit_each_once_and_lose_none() -> None:
    bench = Bench()
    peers = [Admission(bench.store, bench.engine, now=bench.clock) for _ in range(4)]
    await bench.open(places=3)

    async def live(peer: Admission, first: int) -> None:
        for number in range(first, first + 10):
            await peer.join(LANE, an_entry(number, guild=first, member=number % 3))
            await peer.let_in(LANE)

    async def work() -> None:
        done = 0
        while done < 40:
            for request_id in bench.submitted[done:]:
                await peers[done % 4].leave(LANE, request_id)
                done += 1
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(work(), *(live(peer, 100 * at) for at, peer in enumerate(peers)))
    assert sorted(bench.submitted) == sorted(an_id(100 * at + number) for at in range(4) for number in range(10))
    assert bench.store.kept[LANE].model_copy(update={"workers": ()}) == Ledger()


def test_a_worker_that_cannot_be_is_refused() -> None:
    for wrong in ({"places": 0}, {"speed": 0.0}, {"name": ""}):
        with pytest.raises(ValueError, match="validation error"):
            Worker.model_validate(ONE.model_dump() | wrong)
