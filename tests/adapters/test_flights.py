"""One contract for single flight, within a process and through Redis."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.redis.flights import RedisFlights
from bot.core.errors import EarshotError, NotAudio, QuotaExceeded, TranscriptionFailed
from bot.core.ports import Shared
from bot.core.quotas import Verdict
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.redis.connections import RedisServer
    from bot.core.ports import Flights

COUNT = 12


class Party:
    """Callers of one flight, each with work of its own, which ends when the test says so."""

    def __init__(self, flights: list[Flights]) -> None:
        self._flights = itertools.cycle(flights)
        self.gate = asyncio.Event()
        self.ran: list[int] = []
        self.tells: list[Callable[[bytes], None]] = []
        self.news: list[list[bytes]] = []
        self.callers: list[asyncio.Task[Shared]] = []

    def ask(self, outcome: bytes | BaseException = b"value", *, key: str = "k") -> asyncio.Task[Shared]:
        number, heard = len(self.callers), list[bytes]()

        async def work(tell: Callable[[bytes], None]) -> bytes:
            self.ran.append(number)
            self.tells.append(tell)
            tell(b"begun by %d" % number)
            await self.gate.wait()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        self.news.append(heard)
        task = asyncio.create_task(next(self._flights).share(key, work, on_news=heard.append))
        self.callers.append(task)
        return task

    async def gather(self, outcome: bytes | BaseException = b"value", *, count: int = COUNT) -> int:
        """Have ``count`` callers in the flight, all of them with news; the number of the one that leads."""
        for _ in range(count):
            self.ask(outcome)
        await self.all_heard()
        assert len(self.ran) == 1
        return self.ran[0]

    async def all_heard(self) -> None:
        await until(
            lambda: (
                self.ran
                and all(
                    heard or number == self.ran[-1] or self.callers[number].done()
                    for number, heard in enumerate(self.news)
                )
            )
        )

    async def land(self) -> list[Shared | BaseException]:
        self.gate.set()
        async with asyncio.timeout(20):
            return await asyncio.gather(*self.callers, return_exceptions=True)


def in_redis(server: RedisServer) -> RedisFlights:
    numbers = itertools.count()
    return RedisFlights(
        server, new_token=lambda: f"{id(numbers):x}{next(numbers):x}", clock=time.monotonic, lock_s=2.0, patience_s=1.0
    )


@pytest.fixture(params=["in process", "redis", "in process over redis"])
def party(request: pytest.FixtureRequest, store_server: RedisServer) -> Party:
    match request.param:
        case "in process":
            return Party([LocalFlights()])
        case "redis":
            return Party([in_redis(store_server), in_redis(store_server)])
        case _:
            return Party([LocalFlights(in_redis(store_server)), LocalFlights(in_redis(store_server))])


async def test_one_works_and_all_get_what_came_of_it(party: Party) -> None:
    leader = await party.gather()
    given = await party.land()
    assert given == [Shared(value=b"value", led=number == leader) for number in range(COUNT)]
    assert party.ran == [leader]


async def test_other_work_is_not_waited_for(party: Party) -> None:
    party.ask(b"one", key="k1")
    party.ask(b"other", key="k2")
    await until(lambda: len(party.ran) == 2)
    assert await party.land() == [Shared(value=b"one", led=True), Shared(value=b"other", led=True)]


async def test_news_come_live_and_in_order(party: Party) -> None:
    leader = await party.gather()
    others = [heard for number, heard in enumerate(party.news) if number != leader]
    for number in range(5):
        party.tells[0](b"news %d" % number)
        await until(lambda number=number: all(heard[-1] == b"news %d" % number for heard in others))
    told = [b"begun by %d" % leader, *(b"news %d" % number for number in range(5))]
    assert all(heard == told for heard in others)
    assert party.news[leader] == [], "the leader knows its own"
    await party.land()


async def test_who_comes_late_gets_the_newest_news_at_once(party: Party) -> None:
    leader = await party.gather()
    party.tells[0](b"newest")
    await until(lambda: all(heard[-1] == b"newest" for n, heard in enumerate(party.news) if n != leader))
    party.ask()
    party.ask()
    await until(lambda: party.news[-1] and party.news[-2])
    assert party.news[-1] == party.news[-2] == [b"newest"]
    assert await party.land() == [Shared(value=b"value", led=number == leader) for number in range(COUNT + 2)]


async def test_a_leader_that_is_cancelled_is_followed_by_one_who_waits(party: Party) -> None:
    leader = await party.gather()
    party.callers[leader].cancel()
    await until(lambda: len(party.ran) == 2)
    second = party.ran[1]
    assert second != leader
    party.callers[second].cancel()
    await until(lambda: len(party.ran) == 3)
    third = party.ran[2]
    await until(lambda: all(h[-1] == b"begun by %d" % third for n, h in enumerate(party.news) if n not in party.ran))
    given = await party.land()
    assert [n for n, outcome in enumerate(given) if isinstance(outcome, asyncio.CancelledError)] == sorted(
        [leader, second]
    )
    assert [n for n, outcome in enumerate(given) if outcome == Shared(value=b"value", led=True)] == [third]
    assert given.count(Shared(value=b"value", led=False)) == COUNT - 3


async def test_one_who_waits_and_is_cancelled_just_leaves(party: Party) -> None:
    leader = await party.gather()
    gone = [number for number in range(COUNT) if number != leader][:5]
    for number in gone:
        party.callers[number].cancel()
    await until(lambda: all(party.callers[number].done() for number in gone))
    given = await party.land()
    assert party.ran == [leader]
    assert [n for n, outcome in enumerate(given) if isinstance(outcome, asyncio.CancelledError)] == gone


async def test_all_leave(party: Party) -> None:
    await party.gather()
    for caller in party.callers:
        caller.cancel()
    await asyncio.gather(*party.callers, return_exceptions=True)
    party.ask(b"again")
    party.gate.set()
    assert await party.callers[-1] == Shared(value=b"again", led=True)


async def test_an_error_reaches_those_who_waited_and_nobody_after_them(party: Party) -> None:
    error = TranscriptionFailed("the model crashed", after_s=1.5)
    leader = await party.gather(error)
    given = await party.land()
    assert party.ran == [leader]
    assert [type(outcome) for outcome in given] == [TranscriptionFailed] * COUNT
    assert given[leader] is error
    values = [outcome.values for outcome in given if isinstance(outcome, EarshotError)]
    assert values == [{"after_s": 1.5}] * COUNT
    with pytest.raises(TranscriptionFailed, match="again"):
        await party.ask(TranscriptionFailed("again"))
    assert await party.ask(b"better") == Shared(value=b"better", led=True)


async def test_an_error_that_is_for_one_caller_is_a_plain_one_to_the_others(party: Party) -> None:
    verdict = Verdict(allowed=False, cost=1, remaining=0, retry_after_s=60, full_at=60, now=0, refused_by="bucket")
    leader = await party.gather(QuotaExceeded(verdict))
    given = await party.land()
    assert {type(outcome) for number, outcome in enumerate(given) if number != leader} == {EarshotError}


@pytest.mark.parametrize("slip", [ZeroDivisionError("x"), TimeoutError(), asyncio.CancelledError()], ids=repr)
async def test_a_slip_in_the_work_is_not_repeated_by_everybody(party: Party, slip: BaseException) -> None:
    leader = await party.gather(slip)
    given = await party.land()
    assert party.ran == [leader], "nobody ran into it after the leader"
    assert isinstance(given[leader], type(slip))
    assert {type(outcome) for number, outcome in enumerate(given) if number != leader} == {EarshotError}
    assert await party.ask(b"better") == Shared(value=b"better", led=True)


async def test_who_waited_through_two_leaders_gets_the_error_of_the_second(party: Party) -> None:
    leader = await party.gather(NotAudio())
    party.callers[leader].cancel()
    await until(lambda: len(party.ran) == 2)
    given = await party.land()
    assert len(party.ran) == 2
    assert [type(outcome) for number, outcome in enumerate(given) if number != leader] == [NotAudio] * (COUNT - 1)


async def test_an_old_error_does_not_reach_one_who_waits_for_the_next_try(party: Party) -> None:
    await party.gather(NotAudio())
    await party.land()
    party.gate.clear()
    party.ask(b"better")
    await until(lambda: len(party.ran) == 2)
    for _ in range(3):
        party.ask(b"worse")
    await party.all_heard()
    given = await party.land()
    assert given[COUNT:] == [Shared(value=b"better", led=number == 0) for number in range(4)]


# --- in process ---------------------------------------------------------------------------------------------------


async def test_what_is_done_is_done_anew_without_a_store() -> None:
    party = Party([LocalFlights()])
    party.gate.set()
    for _ in range(2):
        assert await party.ask() == Shared(value=b"value", led=True)


async def test_one_whose_turn_it_became_as_it_left_hands_it_on() -> None:
    party = Party([LocalFlights()])
    leader = await party.gather(count=4)
    party.callers[leader].cancel()
    await asyncio.sleep(0)  # the leader has left, and its heir does not know yet
    heirs = [number for number in range(4) if number != leader]
    party.callers[heirs[0]].cancel()
    await until(lambda: len(party.ran) == 2)
    assert party.ran[1] == heirs[1]
    given = await party.land()
    assert given[heirs[2]] == Shared(value=b"value", led=False)


async def test_one_who_cannot_listen_disturbs_nobody() -> None:
    flights, gate, heard = LocalFlights(), asyncio.Event(), list[bytes]()

    async def work(tell: Callable[[bytes], None]) -> bytes:
        await gate.wait()
        tell(b"news")
        return b"value"

    def refuse(_news: bytes) -> None:
        raise ZeroDivisionError

    asked = [
        asyncio.create_task(flights.share("k", work, on_news=on_news)) for on_news in (refuse, refuse, heard.append)
    ]
    await asyncio.sleep(0)
    gate.set()
    assert [shared.value for shared in await asyncio.gather(*asked)] == [b"value"] * 3
    assert heard == [b"news"]


class Counting:
    """Flights beyond that count who takes part."""

    def __init__(self, beyond: Flights) -> None:
        self._beyond = beyond
        self.calls = 0

    async def share(self, key: str, work: Callable[..., object], *, on_news: Callable[[bytes], None]) -> Shared:
        self.calls += 1
        return await self._beyond.share(key, work, on_news=on_news)  # pyright: ignore[reportArgumentType] - passed on


async def test_all_callers_of_a_process_are_one_beyond_it(store_server: RedisServer) -> None:
    beyond = Counting(in_redis(store_server))
    party = Party([LocalFlights(beyond)])  # pyright: ignore[reportArgumentType] - passed on
    await party.gather(count=500)
    await party.land()
    assert beyond.calls == 1
