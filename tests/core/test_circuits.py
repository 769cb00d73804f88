from __future__ import annotations

import asyncio

import pytest

from bot.core.circuits import CLOSED, FIRST_WAIT_S, LONGEST_RETRY_AFTER_S, LONGEST_WAIT_S, PATIENCE, PROBE_S, Circuits
from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable
from tests.fakes import FakeCircuitStore, FakeClock


class Ward:
    """Two processes and one store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = FakeCircuitStore()
        self.here = Circuits(self.store, now=self.clock)
        self.there = Circuits(self.store, now=self.clock)

    async def is_open(self, circuits: Circuits | None = None) -> bool:
        try:
            await (circuits or self.here).enter("m")
        except CompletionFailed:
            return True
        return False


async def test_a_few_failures_in_a_row_open_a_circuit_for_all_processes() -> None:
    ward = Ward()
    for number in range(PATIENCE):
        assert not await ward.is_open()
        await (ward.here if number % 2 else ward.there).failed("m", CompletionFailed("500"))
    assert await ward.is_open(ward.here)
    assert await ward.is_open(ward.there)
    with pytest.raises(CompletionFailed, match="passed over: 500"):
        await ward.here.enter("m")
    assert not await ward.here.enter("another")


async def test_an_answer_closes_it() -> None:
    ward = Ward()
    for _ in range(PATIENCE - 1):
        await ward.here.failed("m", CompletionFailed("500"))
    await ward.there.succeeded("m")
    await ward.here.failed("m", CompletionFailed("500"))
    assert not await ward.is_open(), "failures in a row count"


async def test_one_probe_at_a_time_sees_whether_it_is_back() -> None:
    ward = Ward()
    for _ in range(PATIENCE):
        await ward.here.failed("m", CompletionFailed("500"))
    ward.clock.now += FIRST_WAIT_S
    probes = await asyncio.gather(
        *(circuits.enter("m") for circuits in (ward.here, ward.there) * 5), return_exceptions=True
    )
    assert probes.count(True) == 1
    assert sum(isinstance(each, CompletionFailed) for each in probes) == 9
    await ward.there.succeeded("m")
    assert ward.store.known["m"] == CLOSED
    assert not await ward.is_open()


async def test_a_probe_that_is_never_heard_of_is_followed_by_another() -> None:
    ward = Ward()
    await ward.here.failed("m", CompletionUnavailable("404"))
    ward.clock.now += 600
    assert await ward.here.enter("m")
    ward.clock.now += PROBE_S - 1
    assert await ward.is_open(ward.there)
    ward.clock.now += 1
    assert await ward.there.enter("m")


async def test_the_wait_doubles_up_to_a_limit() -> None:
    ward = Ward()
    for _ in range(PATIENCE):
        await ward.here.failed("m", CompletionFailed("500"))
    waits: list[float] = []
    for _ in range(8):
        waits.append(ward.store.known["m"].wait_s)
        ward.clock.now += waits[-1]
        assert await ward.here.enter("m")
        await ward.here.failed("m", CompletionFailed("500"))
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (CompletionUnavailable("404"), 600),
        (CompletionRateLimited("429", retry_after_s=30), 30),
        (CompletionRateLimited("429", retry_after_s=1e9), LONGEST_RETRY_AFTER_S),
    ],
)
async def test_what_waiting_for_a_moment_does_not_cure_opens_it_at_once(error: CompletionFailed, wait_s: float) -> None:
    ward = Ward()
    await ward.here.failed("m", error)
    ward.clock.now += wait_s - 1
    assert await ward.is_open()
    ward.clock.now += 1
    assert await ward.here.enter("m")


async def test_a_request_that_is_refused_says_nothing_of_the_model() -> None:
    ward = Ward()
    for _ in range(10):
        await ward.here.failed("m", CompletionRefused("too long"))
    assert not await ward.is_open()
    assert ward.store.known == {}


async def test_without_its_store_it_goes_on_with_what_it_knows() -> None:
    ward = Ward()
    await ward.here.failed("m", CompletionUnavailable("404"))
    ward.store.away = True
    assert await ward.is_open(ward.here)
    assert not await ward.is_open(ward.there), "it never heard of it"
    for _ in range(PATIENCE):
        await ward.there.failed("m", CompletionFailed("500"))
    assert await ward.is_open(ward.there)
    await ward.there.succeeded("m")
    assert not await ward.is_open(ward.there)


async def test_failures_of_many_at_once_are_counted() -> None:
    ward = Ward()
    await asyncio.gather(*(ward.here.failed("m", CompletionFailed("500")) for _ in range(20)))
    assert await ward.is_open()
