"""The order of turns, on plain ledgers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.core.load import ASSUMED_LENGTH_S
from bot.core.scheduling import AGAIN_S, LEDGER, Entry, Ledger, Place, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOW: Final = 1_700_000_000.0
ONE: Final = Worker(name="one", places=1, speed=4.0, until=NOW + 1e6)
GUILDS: Final = st.sampled_from([1, 2, 3, None])
MEMBERS: Final = st.integers(1, 3)


def an_id(number: int) -> str:
    return f"{number:016x}"


def an_entry(
    number: int,
    guild: int | None = 1,
    member: int = 1,
    *,
    since: float = NOW,
    length_s: float | None = None,
    held_s: float = 0.0,
) -> Entry:
    held_until = NOW + held_s if held_s else 0.0
    return Entry(
        request_id=an_id(number),
        guild_id=guild,
        member_id=member,
        since=since,
        length_s=length_s,
        held_until=held_until,
    )


def a_ledger(*entries: Entry, workers: Iterable[Worker] = (ONE,)) -> Ledger:
    ledger = Ledger()
    for worker in workers:
        ledger = ledger.announced(worker)
    for entry in entries:
        ledger = ledger.joined(entry)
    return ledger


def served(ledger: Ledger, now: float = NOW) -> tuple[Ledger, list[int]]:
    """Those who are let in next, who are gone at once."""
    ledger, ids = ledger.admitted_now(now)
    for request_id in ids:
        ledger = ledger.left(request_id)
    return ledger, [int(request_id, 16) for request_id in ids]


def drained(ledger: Ledger, now: float = NOW) -> list[int]:
    """All who can be let in, in their order."""
    order: list[int] = []
    while True:
        ledger, ids = served(ledger, now)
        if not ids:
            return order
        order += ids


# --- the order ------------------------------------------------------------------------------------------------------


def test_guilds_take_turns_and_in_them_their_members() -> None:
    ledger = a_ledger(
        *(an_entry(number, guild=1, member=1) for number in range(10, 14)),
        an_entry(20, guild=1, member=2),
        an_entry(30, guild=2, member=1),
        an_entry(31, guild=2, member=1),
        an_entry(40, guild=None, member=1),
    )
    assert drained(ledger) == [10, 30, 40, 20, 31, 11, 12, 13]


def test_a_members_requests_go_by_when_they_came_however_late_they_were_written_down() -> None:
    ledger = a_ledger(an_entry(2, since=NOW + 2), an_entry(1, since=NOW + 1), an_entry(3, since=NOW + 3))
    assert drained(ledger) == [1, 2, 3]


def test_who_was_served_stands_behind_those_who_came_meanwhile() -> None:
    ledger = a_ledger(*(an_entry(number) for number in range(4)))
    ledger, first = served(ledger)
    ledger = ledger.joined(an_entry(9, guild=2))
    assert (first, drained(ledger)) == ([0, 1], [2, 9, 3])


def test_who_is_held_is_passed_over_and_keeps_the_turn() -> None:
    ledger = a_ledger(
        an_entry(1, guild=1, held_s=20),
        an_entry(2, guild=1, held_s=20),
        *(an_entry(number, guild=2) for number in range(3, 9)),
    )
    ledger, before = served(ledger)
    ledger, after = served(ledger.readied(an_id(1)))
    assert (before, after) == ([3, 4], [1, 5])
    assert drained(ledger, NOW + 19) == [6, 7, 8]
    assert drained(ledger, NOW + 20) == [2, 6, 7, 8], "a hold ends by itself"


def test_a_member_who_is_held_does_not_hold_up_the_guild_or_their_own() -> None:
    ledger = a_ledger(
        an_entry(1, member=1, held_s=20), an_entry(2, member=1), an_entry(3, member=2), an_entry(4, member=2)
    )
    assert drained(ledger) == [2, 3, 4]


@given(floods=st.lists(st.integers(1, 40), min_size=1, max_size=4), later=st.lists(GUILDS, max_size=30))
def test_a_flood_delays_another_guild_by_one_turn_of_each_that_waits(
    floods: list[int], later: list[int | None]
) -> None:
    guild_of = {100 * guild + number: guild for guild, size in enumerate(floods) for number in range(size)}
    ledger = a_ledger(*(an_entry(number, guild=guild) for number, guild in guild_of.items()))
    ledger = ledger.joined(an_entry(9_999, guild=99))
    before: list[int | None] = []
    while True:
        ledger, ids = served(ledger)
        before += [guild_of.get(number) for number in ids[: ids.index(9_999) if 9_999 in ids else None]]
        if 9_999 in ids:
            break
        for number, guild in enumerate(later, start=1_000 * (len(before) + 10)):
            guild_of.setdefault(number, guild or 0)
            ledger = ledger.joined(an_entry(number, guild=guild or 0))
    assert all(times == 1 for times in Counter(before).values())
    assert len(before) <= len(floods)


@given(floods=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_flood_delays_another_member_by_one_turn_of_each_that_waits(floods: list[int]) -> None:
    member_of = {100 * member + number: member for member, size in enumerate(floods) for number in range(size)}
    ledger = a_ledger(*(an_entry(number, member=member) for number, member in member_of.items()))
    order = drained(ledger.joined(an_entry(9_999, member=99)))
    assert sorted(member_of[number] for number in order[: order.index(9_999)]) == list(range(len(floods)))


def test_three_hundred_of_one_guild_delay_the_only_one_of_a_third_by_two() -> None:
    flood = [an_entry(number, guild=1, member=number % 7) for number in range(300)]
    ledger = a_ledger(*flood, *(an_entry(1_000 + number, guild=2) for number in range(100)), an_entry(5_000, guild=3))
    assert drained(ledger).index(5_000) == 2


# --- nobody is lost -------------------------------------------------------------------------------------------------

_CHANGES: Final = st.one_of(
    st.tuples(st.just("join"), st.integers(0, 30), GUILDS, MEMBERS, st.sampled_from([0.0, 5.0, 50.0])),
    st.tuples(st.sampled_from(["ready", "leave"]), st.integers(0, 30)),
    st.tuples(st.just("announce"), st.sampled_from("abc"), st.integers(1, 3), st.floats(1, 100)),
    st.tuples(st.just("retire"), st.sampled_from("abc")),
    st.tuples(st.just("wait"), st.floats(0, 40)),
)


class Book:
    """What a ledger should say, kept as simply as can be."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.now = NOW
        self.held: dict[str, float] = {}
        self.inside: set[str] = set()

    def apply(self, change: Sequence[object]) -> None:
        match change:
            case ("join", int(number), (int() | None) as guild, int(member), float(held_s)):
                entry = an_entry(number, guild, member, since=self.now, held_s=held_s)
                self.ledger = self.ledger.joined(entry)
                if entry.request_id not in self.inside:
                    self.held.setdefault(entry.request_id, entry.held_until)
            case ("ready", int(number)):
                self.ledger = self.ledger.readied(an_id(number))
                if an_id(number) in self.held:
                    self.held[an_id(number)] = 0.0
            case ("leave", int(number)):
                self.ledger = self.ledger.left(an_id(number))
                self.held.pop(an_id(number), None)
                self.inside.discard(an_id(number))
            case ("announce", str(name), int(places), float(ttl_s)):
                worker = Worker(name=name, places=places, speed=4.0, until=self.now + ttl_s)
                self.ledger = self.ledger.announced(worker)
            case ("retire", str(name)):
                self.ledger = self.ledger.retired(name)
            case (_, float(seconds)):
                self.now += seconds
            case _:
                pytest.fail(f"no change: {change}")

    def admit(self) -> None:
        admitted_before = set(self.inside)
        self.ledger, ids = self.ledger.admitted_now(self.now)
        assert len(ids) == len(set(ids))
        new = {request_id for request_id in ids if request_id not in admitted_before}
        assert all(self.held.pop(request_id) <= self.now for request_id in new), "none that is held, none unknown"
        self.inside |= new

    def check(self) -> None:
        assert Counter(self.ledger.waiting) == Counter(list(self.held)), "nobody is lost"
        assert Counter(entry.request_id for entry in self.ledger.admitted) == Counter(list(self.inside))
        assert all(line.members and all(one.waiting for one in line.members) for line in self.ledger.guilds)
        workers = [worker for worker in self.ledger.workers if worker.until > self.now]
        room = sum(worker.places + 1 for worker in workers)
        ready = [request_id for request_id, until in self.held.items() if until <= self.now]
        assert len(self.inside) >= room or not ready, "room is used"
        assert LEDGER.decode(LEDGER.encode(self.ledger)) == self.ledger


@given(changes=st.lists(_CHANGES, max_size=60))
def test_nobody_is_lost_or_let_in_twice_and_room_is_used(changes: list[Sequence[object]]) -> None:
    book = Book()
    for change in changes:
        book.apply(change)
        inside = len(book.ledger.admitted)
        book.admit()
        room = sum(worker.places + 1 for worker in book.ledger.workers)
        assert len(book.ledger.admitted) <= max(inside, room), "and no more than there is"
        book.check()
        assert book.ledger.admitted_now(book.now) == (book.ledger, ()), "to look again changes nothing"


def test_to_join_again_changes_nothing() -> None:
    ledger, _ = a_ledger(*(an_entry(number) for number in range(5))).admitted_now(NOW)
    assert ledger.joined(an_entry(0, guild=7)) == ledger, "let in"
    assert ledger.joined(an_entry(4, guild=7)) == ledger, "waiting"
    assert ledger.left(an_id(99)) == ledger == ledger.readied(an_id(99))


def test_what_could_not_be_read_again_is_refused_at_the_door() -> None:
    for wrong in ({"request_id": "nothing"}, {"member_id": -1}, {"since": float("nan")}, {"length_s": -1.0}):
        with pytest.raises(ValidationError):
            Entry.model_validate(an_entry(1).model_dump() | wrong)


# --- room, and those who were let in --------------------------------------------------------------------------------


def test_there_is_room_for_one_more_than_each_worker_has_places() -> None:
    two = Worker(name="two", places=2, speed=4.0, until=NOW + 30)
    waiting = [an_entry(number, member=number) for number in range(9)]
    assert len(a_ledger(*waiting, workers=[]).admitted_now(NOW)[1]) == 0
    assert len(a_ledger(*waiting).admitted_now(NOW)[1]) == 2
    assert len(a_ledger(*waiting, workers=[ONE, two]).admitted_now(NOW)[1]) == 5
    ledger, ids = a_ledger(*waiting, workers=[ONE, two]).admitted_now(NOW + 30)
    assert (len(ids), ledger.workers) == (2, (ONE,)), "one that did not renew is gone"
    assert ledger.retired("one").workers == ()
    faster = ONE.model_copy(update={"speed": 9.0})
    assert ledger.announced(faster).workers == (faster,)


def test_who_stays_in_is_submitted_again_each_minute() -> None:
    ledger, ids = a_ledger(an_entry(1)).admitted_now(NOW)
    assert ids == (an_id(1),)
    times = [NOW + seconds for seconds in range(1, 181)]
    again: list[float] = []
    for now in times:
        ledger, ids = ledger.admitted_now(now)
        again += [now] * len(ids)
    assert again == [NOW + AGAIN_S, NOW + 2 * AGAIN_S, NOW + 3 * AGAIN_S]
    assert ledger.left(an_id(1)).admitted_now(NOW + 1e4)[1] == ()


# --- places ---------------------------------------------------------------------------------------------------------


@given(entries=st.lists(st.tuples(GUILDS, MEMBERS, st.booleans()), max_size=30))
def test_places_are_the_order_in_which_they_are_let_in(entries: list[tuple[int | None, int, bool]]) -> None:
    ledger = a_ledger(
        *(an_entry(number, guild, member, held_s=held) for number, (guild, member, held) in enumerate(entries))
    )
    ready = ledger
    for request_id in ledger.waiting:
        ready = ready.readied(request_id)
    places = ledger.places(NOW)
    assert sorted(place.before for place in places.values()) == list(range(len(entries)))
    assert [places[an_id(number)].before for number in drained(ready)] == list(range(len(entries)))


def test_the_wait_is_the_audio_before_over_what_all_get_through() -> None:
    two = Worker(name="two", places=2, speed=8.0, until=NOW + 30)
    entries = [an_entry(number, member=number, length_s=200.0) for number in range(7)]
    ledger, _ = a_ledger(*entries, workers=[ONE, two]).admitted_now(NOW)
    assert ledger.place(an_id(0), NOW) is None, "it is in"
    assert ledger.place(an_id(99), NOW) is None
    assert ledger.place(an_id(5), NOW) == Place(before=0, wait_s=5 * 200.0 / 20.0)
    assert ledger.place(an_id(6), NOW) == Place(before=1, wait_s=6 * 200.0 / 20.0)
    assert ledger.place(an_id(6), NOW + 30) == Place(before=1, wait_s=(3 * (200 - 30 * 4.0) + 3 * 200) / 4.0)


def test_the_wait_grows_shorter_as_those_before_are_heard() -> None:
    entries = [an_entry(number, member=number, length_s=40.0) for number in range(3)]
    ledger, _ = a_ledger(*entries).admitted_now(NOW)
    waits = [place.wait_s for now in (0, 5, 10, 15) if (place := ledger.place(an_id(2), NOW + now))]
    assert waits == [20.0, 15.0, 10.0, 10.0], "the second has not begun"
    ledger, _ = ledger.left(an_id(0)).joined(an_entry(3, length_s=40.0)).admitted_now(NOW + 15)
    assert ledger.place(an_id(3), NOW + 20) == Place(before=0, wait_s=5.0 + 10.0)


def test_where_nobody_works_nobody_knows_the_wait() -> None:
    assert a_ledger(an_entry(1), workers=[]).place(an_id(1), NOW) == Place(before=0, wait_s=None)


def test_where_a_place_is_free_there_is_no_wait_but_for_being_held() -> None:
    two = Worker(name="two", places=2, speed=4.0, until=NOW + 30)
    held = (an_entry(number, member=number, held_s=9) for number in (1, 2))
    ledger, _ = a_ledger(an_entry(0, member=9), *held, workers=[two]).admitted_now(NOW)
    assert ledger.places(NOW) == {
        an_id(1): Place(before=0, wait_s=0.0),
        an_id(2): Place(before=1, wait_s=2 * ASSUMED_LENGTH_S / 8.0),
    }


# --- what it weighs -------------------------------------------------------------------------------------------------


def test_a_ledger_of_five_hundred_is_small() -> None:
    long_id = 1_234_567_890_123_456_789
    entries = [
        an_entry(number, long_id + number, long_id + number, since=NOW + number / 7, length_s=100 / 7, held_s=1 / 7)
        for number in range(500)
    ]
    assert len(LEDGER.encode(a_ledger(*entries))) < 60_000, "each of a guild of its own"
    one = [entry.model_copy(update={"guild_id": long_id, "member_id": long_id}) for entry in entries]
    assert len(LEDGER.encode(a_ledger(*one))) < 30_000, "all of one member"
