"""Who is strained, since when, and what a process makes of what it sees."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.core.chain_link import ChainLink, RetryPolicy
from bot.core.circuits import Circuits
from bot.core.completion import CompletionTask
from bot.core.errors import (
    CompletionFailed,
    CompletionRateLimited,
    CompletionRefused,
    CompletionUnavailable,
    DecodeFailed,
    FetchFailed,
    ModelUnavailable,
    NotAudio,
    Overloaded,
    StoreUnavailable,
    TranscriptionFailed,
    UnknownMode,
)
from bot.core.models import Stage
from bot.core.prompts import Prompt
from bot.core.stage_health import (
    HIGHEST,
    LONG,
    LOWEST,
    MINUTE_S,
    SHORT,
    Attempt,
    Outcome,
    StageHealth,
    Strain,
    Subject,
    Tally,
    outcome_of,
    power_of,
    strains,
    tallies,
)
from tests.fakes import (
    HANG,
    FakeCircuitStore,
    FakeClock,
    FakeCompletionModel,
    a_mode,
    a_transcript,
    some_shared_work,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bot.core.errors import EarshotError

HEAR = Subject(kind="stage", name=Stage.TRANSCRIBE)
NOW = 28_333_333
OK, FAILED, BAD = Outcome.OK, Outcome.TEMPORARY, Outcome.BAD_INPUT


def minutes(*counts: tuple[int, int], subject: Subject = HEAR) -> dict[int, Counter[Attempt]]:
    """Good and failed attempts, minute by minute, the last of them `NOW`."""
    return {
        NOW - ago: Counter(
            {Attempt(subject=subject, outcome=OK): good, Attempt(subject=subject, outcome=FAILED): failed}
        )
        for ago, (good, failed) in zip(range(len(counts) - 1, -1, -1), counts, strict=True)
    }


def is_strained(*counts: tuple[int, int]) -> bool:
    return HEAR in strains(minutes(*counts), NOW)


class Counts(InProcessStageCounts):
    """Counts that may be away."""

    away = False
    writes = 0
    reads = 0

    async def put(self, process: str, minutes: Mapping[int, Mapping[Attempt, int]]) -> None:
        self.writes += 1
        if self.away:
            raise StoreUnavailable("away")
        await super().put(process, minutes)

    async def read(self, minutes: Iterable[int]) -> dict[int, Mapping[Attempt, int]]:
        if self.away:
            raise StoreUnavailable("away")
        wanted = list(minutes)
        self.reads += len(wanted)
        return await super().read(wanted)


class World:
    """One process that counts."""

    def __init__(self) -> None:
        self.clock = FakeClock(float(NOW * MINUTE_S))
        self.counts = Counts(now=self.clock, keep_s=7_200)
        self.health = StageHealth(self.counts, now=self.clock, process="here")

    async def fail(self, times: int = 5) -> None:
        for _ in range(times):
            self.health.failed(TranscriptionFailed("x"), about=None)
        await self.health.look()

    def seen(self) -> dict[tuple[str, str], int]:
        return {(str(subject), str(outcome)): count for (subject, outcome), count in self.health.totals.items()}


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(0, 4)], False),  # too few
        ([(0, 5)], True),
        ([(3, 2)], False),
        ([(3, 3)], True),
        ([(0, 3), (0, 0), (0, 0), (0, 0), (0, 2)], True),  # five minutes
        ([(0, 3), (0, 0), (0, 0), (0, 0), (0, 0), (0, 2)], False),
        ([(0, 5), (7, 0)], True),  # 42 %: it was worse before
        ([(7, 0), (0, 5)], False),  # the same, but it was not
        ([(0, 5), (20, 0)], True),  # a fifth is not below it
        ([(0, 5), (21, 0)], False),
        ([(0, 5), (21, 0), (0, 10)], False),  # 15 of 36: it was well, and half do not fail
        ([(0, 5), (0, 0), (0, 0), (0, 0), (0, 0)], True),
        ([(0, 5), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)], False),  # nobody tries
        ([(0, 5), *[(0, 1)] * 40], True),  # a few are enough to stay so
    ],
)
def test_strained_from_half_and_well_below_a_fifth(counts: list[tuple[int, int]], *, expected: bool) -> None:
    assert is_strained(*counts) is expected


def test_a_strain_tells_who_since_when_how_much_and_mostly_what() -> None:
    known = minutes((4, 0), (1, 5), (0, 1))
    known[NOW][Attempt(subject=HEAR, outcome=Outcome.PERMANENT)] = 7
    strain = strains(known, NOW)[HEAR]
    assert (strain.since, strain.total) == (NOW - 1, False)
    assert str(strain) == "transcribe: 13 of 18 failed (72%) in 5 minutes, mostly permanent, since 22:12 UTC"


def test_what_members_got_wrong_and_what_was_given_in_part_is_no_failure() -> None:
    counts = Counter({Attempt(subject=HEAR, outcome=BAD): 50, Attempt(subject=HEAR, outcome=Outcome.PARTIAL): 5})
    tally = tallies({NOW: counts}, NOW, SHORT)[HEAR]
    assert (tally.attempts, tally.failures, tally.share) == (5, 0, 0)
    assert strains({NOW: Counter({Attempt(subject=HEAR, outcome=BAD): 50})}, NOW) == {}


def test_each_is_judged_alone() -> None:
    model = Subject(kind="model", name="transcribe")
    known = minutes((0, 5))
    known[NOW] += minutes((50, 0), subject=model)[NOW]
    assert set(strains(known, NOW)) == {HEAR}


def test_the_windows_are_of_five_and_sixty_minutes() -> None:
    known = minutes(*[(1, 0)] * 70)
    assert [tallies(known, NOW, length)[HEAR].attempts for length in (SHORT, LONG)] == [5, 60]


@pytest.mark.parametrize(
    ("seconds", "power"),
    [
        (-1.0, LOWEST),
        (0.0, LOWEST),
        (0.001, LOWEST),
        (0.5, -1),
        (0.51, 0),
        (1.0, 0),
        (1.001, 1),
        (8, 3),
        (1e9, HIGHEST),
    ],
)
def test_latencies_fall_between_powers_of_two(seconds: float, power: int) -> None:
    assert power_of(seconds) == power


def test_quantiles_lie_evenly_within_a_power_of_two() -> None:
    tally = Tally(outcomes=Counter({OK: 10}), powers={OK: Counter({1: 5, 3: 5})})
    assert tally.seconds(OK, 0.5) == pytest.approx(2.0)
    assert tally.seconds(OK, 0.25) == pytest.approx(1.5)
    assert tally.seconds(OK, 0.95) == pytest.approx(7.6)
    assert tally.seconds(FAILED, 0.5) is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotAudio(), BAD),
        (CompletionRefused("filtered"), BAD),
        (TranscriptionFailed(), FAILED),
        (ModelUnavailable(), Outcome.PERMANENT),
        (CompletionRateLimited(), Outcome.RATE_LIMIT),
    ],
)
def test_errors_have_a_class(error: EarshotError, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


# --- what a process sees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (FetchFailed(), {("fetch", "temporary"): 1}),
        (DecodeFailed(), {("fetch", "ok"): 1, ("decode", "permanent"): 1}),
        (NotAudio(), {("fetch", "ok"): 1, ("decode", "bad-input"): 1}),
        (TranscriptionFailed(), {("fetch", "ok"): 1, ("decode", "ok"): 1, ("transcribe", "temporary"): 1}),
        (UnknownMode(), {}),  # refused before anything was done
        (Overloaded(), {}),
        (StoreUnavailable(), {}),
    ],
)
def test_a_failure_counts_at_its_stage_and_those_before_went_well(
    error: EarshotError, seen: dict[tuple[str, str], int]
) -> None:
    world = World()
    world.health.failed(error, about=None)
    assert world.seen() == seen


def test_one_file_that_nobody_can_hear_counts_once_in_a_while() -> None:
    world = World()
    for _ in range(20):
        world.health.failed(TranscriptionFailed(), about="t1:file")
    world.health.failed(TranscriptionFailed(), about="t1:another")
    assert world.seen()["transcribe", "temporary"] == 2
    world.clock.now += SHORT * MINUTE_S
    world.health.failed(TranscriptionFailed(), about="t1:file")
    assert world.seen()["transcribe", "temporary"] == 3


async def test_what_is_known_is_read_whole_once_a_minute() -> None:
    world = World()
    await world.fail(1)
    assert (world.counts.writes, world.counts.reads) == (1, LONG + SHORT)
    for _ in range(3):
        await world.health.look()
    assert (world.counts.writes, world.counts.reads) == (1, LONG + SHORT + 3 * SHORT)
    assert world.health.tallies(SHORT)[HEAR].failures == 1


async def test_without_its_store_a_process_goes_by_what_it_saw() -> None:
    world = World()
    world.counts.away = True
    await world.fail()
    assert world.health.is_deaf
    world.counts.away = False
    world.clock.now += MINUTE_S
    await world.health.look()
    assert world.counts.writes == 2
    assert (await world.counts.read([NOW]))[NOW][Attempt(subject=HEAR, outcome=FAILED)] == 5


async def test_what_waits_for_its_store_is_bounded() -> None:
    world = World()
    world.counts.away = True
    for _ in range(3 * LONG):
        world.clock.now += MINUTE_S
        await world.fail(100)
    world.counts.away = False
    await world.health.look()
    last = NOW + 3 * LONG
    kept = await world.counts.read(range(NOW, last + 1))
    assert min(minute for minute, counts in kept.items() if counts) == last - LONG - SHORT + 1


async def test_a_success_ends_it_that_nothing_is_heard() -> None:
    world = World()
    await world.fail()
    assert world.health.is_deaf
    world.health.note(HEAR, OK, 1.0)
    await world.health.look()
    assert (world.health.is_deaf, list(world.health.strains)) == (False, [HEAR])


async def test_one_request_a_minute_sees_whether_it_is_back() -> None:
    world = World()
    assert not world.health.lets_probe()
    await world.fail()
    assert [world.health.lets_probe() for _ in range(3)] == [True, False, False]
    world.clock.now += MINUTE_S
    assert [world.health.lets_probe() for _ in range(3)] == [True, False, False]
    world.health.note(HEAR, OK, 1.0)
    await world.health.look()
    world.clock.now += MINUTE_S
    assert not world.health.lets_probe()


# --- models -----------------------------------------------------------------------------------------------------------


async def asked(world: World, model: FakeCompletionModel, *, timeout_s: float = 60.0) -> None:
    """Ask ``model`` once, whatever it says."""
    link = ChainLink(
        model,
        shared=some_shared_work(),
        circuits=Circuits(FakeCircuitStore(), now=FakeClock()),
        retries=RetryPolicy(tries=1),
        stages=world.health,
    )
    mode = a_mode()
    task = CompletionTask(
        mode=mode.model_copy(update={"model": mode.model.model_copy(update={"timeout_s": timeout_s})}),
        transcript=a_transcript("Hello."),
        prompt=Prompt(system="s", user="u"),
    )

    async def trail(_key: str, /, *, is_new: bool) -> None: ...

    with suppress(CompletionFailed):
        await link.answer(task, on_text=lambda _: None, on_asked=lambda _: None, trail=trail)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("Fine.", OK),
        (CompletionFailed("503"), FAILED),
        (CompletionRateLimited("429", retry_after_s=60), Outcome.RATE_LIMIT),
        (CompletionUnavailable("401"), Outcome.PERMANENT),
        (CompletionRefused("filtered"), BAD),
        ("", FAILED),
    ],
)
async def test_each_request_to_a_model_counts(reply: str | CompletionFailed, outcome: Outcome) -> None:
    world = World()
    await asked(world, FakeCompletionModel(reply, name="a"))
    assert world.health.totals == {(Subject(kind="model", name="a"), outcome): 1}
    await world.health.look()
    (tally,) = world.health.tallies(SHORT).values()
    assert tally.powers[outcome].total() == 1, "with the time that it took"


async def test_a_model_that_says_nothing_in_time_has_failed() -> None:
    world = World()
    await asked(world, FakeCompletionModel(HANG, name="a"), timeout_s=0.02)
    assert world.seen() == {("a", "temporary"): 1}


@pytest.mark.parametrize("reply", ["Extract.", CompletionFailed("nothing to extract")])
async def test_the_template_is_no_model_and_never_strained(reply: str | CompletionFailed) -> None:
    world = World()
    await asked(world, FakeCompletionModel(reply, name="template", cacheable=False))
    assert world.seen() == {}


def test_a_strain_names_its_model() -> None:
    model = Subject(kind="model", name="o3")
    tally = Tally(outcomes=Counter({Outcome.RATE_LIMIT: 5}))
    assert str(Strain(subject=model, since=NOW, tally=tally)).startswith("o3: 5 of 5 failed (100%)")
