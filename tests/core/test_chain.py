from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.core.chain import SMART, Chain, ChainPolicy, Refusal, all_refuse
from bot.core.circuits import PATIENCE, UNAVAILABLE_S, Circuits
from bot.core.completion import Completion, CompletionTask
from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable, NotCached
from bot.core.models import ModeResult, Note, NoteKey
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt
from bot.core.stage_health import Outcome, StageHealth
from tests.fakes import (
    HANG,
    BreaksOff,
    FakeCircuitStore,
    FakeClock,
    FakeCompletionModel,
    a_chain,
    a_mode,
    a_transcript,
    some_shared_work,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


def a_task(said: str = "Hello.", *, timeout_s: float = 60) -> CompletionTask:
    return CompletionTask(
        mode=a_mode(model=ModelBlock(timeout_s=timeout_s)),
        transcript=a_transcript(said),
        prompt=Prompt(system="s", user="u"),
    )


def ignore(_text: str) -> None:
    pass


async def test_the_first_that_answers_is_the_last_that_is_asked() -> None:
    first, second = FakeCompletionModel("One.", name="a"), FakeCompletionModel(name="b")
    shown: list[str] = []

    completion = await a_chain(first, second).run(a_task(), on_text=shown.append)

    assert (completion.model, completion.result.text, completion.failed) == ("a", "One.", ())
    assert shown == ["One."]
    assert second.calls == []


@pytest.mark.parametrize("error", [CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable])
async def test_a_failure_leads_to_the_next_and_is_remembered(error: type[CompletionFailed]) -> None:
    models = [FakeCompletionModel(error("down"), name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await a_chain(*models).run(a_task(), on_text=ignore)

    assert completion.model == "b"
    assert [(attempt.model, attempt.why) for attempt in completion.failed] == [("a", "down")]


async def test_notes_of_the_link_that_answered_are_kept() -> None:
    made = Completion(
        model="template",
        result=ModeResult(format="markdown", text="Key."),
        notes=(Note(key=NoteKey.TEMPLATE_USED),),
    )
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel(made, name="template")]

    completion = await a_chain(*models).run(a_task(), on_text=ignore)

    assert completion.notes == made.notes


async def test_after_a_break_in_the_middle_the_text_starts_over() -> None:
    shown: list[str] = []
    breaks = BreaksOff(text="Half an", error=CompletionFailed("cut"))
    models = [FakeCompletionModel(breaks, name="a"), FakeCompletionModel("Quite different.", name="b")]

    await a_chain(*models).run(a_task(), on_text=shown.append)

    assert shown == ["Half an", "Quite", "Quite different."]


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_an_empty_answer_is_a_failure(text: str) -> None:
    models = [FakeCompletionModel(text, name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await a_chain(*models).run(a_task(), on_text=ignore)

    assert [str(attempt) for attempt in completion.failed] == ["a: the answer was empty"]


async def test_a_model_that_hangs_loses_its_turn() -> None:
    models = [FakeCompletionModel(HANG, name="a"), FakeCompletionModel("Two.", name="b")]
    started = time.monotonic()

    completion = await a_chain(*models).run(a_task(timeout_s=0.05), on_text=ignore)

    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: no answer within 0.05 s"]
    assert time.monotonic() - started < 5


async def test_when_all_fail_every_reason_is_told() -> None:
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel("", name="b")]

    with pytest.raises(CompletionFailed, match=r"^a: x; b: the answer was empty$"):
        await a_chain(*models).run(a_task(), on_text=ignore)


@pytest.mark.parametrize("others", [CompletionRefused("too long"), CompletionFailed("x")])
async def test_a_refusal_among_failures_is_told_apart(others: CompletionFailed) -> None:
    models = [FakeCompletionModel(CompletionRefused("filtered"), name="a"), FakeCompletionModel(others, name="b")]
    with pytest.raises(CompletionRefused) as told:
        await a_chain(*models).run(a_task(), on_text=ignore)
    assert all_refuse(told.value.detail) is isinstance(others, CompletionRefused)

    completion = await a_chain(*models, FakeCompletionModel("Two.", name="c")).run(a_task(), on_text=ignore)
    assert [isinstance(attempt, Refusal) for attempt in completion.failed] == [
        True,
        isinstance(others, CompletionRefused),
    ]


async def test_a_chain_without_links_fails() -> None:
    with pytest.raises(CompletionFailed, match="no links"):
        await a_chain().run(a_task(), on_text=ignore)


async def test_an_unavailable_model_is_passed_over_for_a_while() -> None:
    clock = FakeClock()
    model = FakeCompletionModel(CompletionUnavailable("401"), "Back.", name="a")
    circuits = Circuits(FakeCircuitStore(), now=clock)
    chain = a_chain(model, FakeCompletionModel("Two.", name="b"), circuits=circuits)

    await chain.run(a_task(), on_text=ignore)
    clock.now += UNAVAILABLE_S - 1
    second = await chain.run(a_task(), on_text=ignore)
    assert len(model.calls) == 1
    assert [str(attempt) for attempt in second.failed] == ["a: passed over: 401"]

    clock.now += 1
    third = await chain.run(a_task(), on_text=ignore)
    assert third.result.text == "Back."
    assert third.failed == ()


@pytest.mark.parametrize("error", [CompletionFailed, CompletionRateLimited, CompletionRefused])
async def test_other_failures_are_not_held_against_a_model(error: type[CompletionFailed]) -> None:
    model = FakeCompletionModel(error("once"), "Back.", name="a")
    chain = a_chain(model, FakeCompletionModel(name="b"))

    await chain.run(a_task(), on_text=ignore)

    assert (await chain.run(a_task(), on_text=ignore)).model == "a"


async def test_a_cancelled_request_asks_nobody_else() -> None:
    hanging, second = FakeCompletionModel(HANG, name="a"), FakeCompletionModel(name="b")
    task = asyncio.create_task(a_chain(hanging, second).run(a_task(), on_text=ignore))
    await asyncio.wait([task], timeout=0)
    assert len(hanging.calls) == 1

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert second.calls == []


async def test_a_programming_error_is_not_taken_for_a_failing_model() -> None:
    chain = a_chain(FakeCompletionModel(ZeroDivisionError(), name="a"))

    with pytest.raises(ZeroDivisionError):
        await chain.run(a_task(), on_text=ignore)


# --- what was answered before -----------------------------------------------------------------------------------------


async def test_an_answer_is_given_once() -> None:
    model = FakeCompletionModel("One.", "Two.", name="a")
    chain = a_chain(model)
    first = await chain.run(a_task(), on_text=ignore)
    again = await chain.run(a_task(), on_text=ignore)
    assert (first.cached, again.cached) == (False, True)
    assert again.result == first.result
    assert len(model.calls) == 1


async def test_a_better_link_that_is_back_is_asked_again() -> None:
    better = FakeCompletionModel(CompletionFailed("down"), "Better.", name="better")
    chain = a_chain(better, FakeCompletionModel("Worse.", name="worse"))
    assert (await chain.run(a_task(), on_text=ignore)).model == "worse"
    assert (await chain.run(a_task(), on_text=ignore)).model == "better"


async def test_the_fallbacks_answer_is_not_asked_for_twice_while_the_better_link_is_down() -> None:
    better, worse = FakeCompletionModel(CompletionFailed("down"), name="better"), FakeCompletionModel(name="worse")
    chain = a_chain(better, worse)
    await chain.run(a_task(), on_text=ignore)
    again = await chain.run(a_task(), on_text=ignore)
    assert (again.model, again.cached, len(again.failed)) == ("worse", True, 1)
    assert (len(better.calls), len(worse.calls)) == (2, 1)


async def test_a_link_that_is_passed_over_still_gives_what_it_gave_before() -> None:
    first = FakeCompletionModel("One.", CompletionUnavailable("no key"), name="a")
    chain = a_chain(first, FakeCompletionModel("Two.", name="b"))
    await chain.run(a_task(), on_text=ignore)
    assert (await chain.run(another_task(), on_text=ignore)).model == "b"
    known = await chain.run(a_task(), on_text=ignore)
    assert (known.model, known.cached) == ("a", True)


async def test_what_the_template_makes_is_never_cached() -> None:
    template = FakeCompletionModel("Extract.", name="template", cacheable=False)
    cache = InProcessCache(max_bytes=1 << 20, now=FakeClock(), jitter=lambda: 1.0)
    chain = a_chain(template, shared=some_shared_work(cache))
    for _ in range(2):
        assert not (await chain.run(a_task(), on_text=ignore)).cached
    assert (len(template.calls), cache.size) == (2, 0)


async def test_many_at_once_share_one_answer_and_all_see_it_grow() -> None:
    model = FakeCompletionModel("All is well here.", name="a")
    chain = a_chain(model)
    seen = [list[str]() for _ in range(20)]
    completions = await asyncio.gather(*(chain.run(a_task(), on_text=texts.append) for texts in seen))
    assert len(model.calls) == 1
    assert {completion.result.text for completion in completions} == {"All is well here."}
    assert sum(not completion.cached for completion in completions) == 1
    assert all(texts[-1] == "All is well here." for texts in seen)


async def test_a_failure_is_shared_with_those_who_wait_and_with_nobody_later() -> None:
    all_there = asyncio.Event()

    class Gate(FakeCompletionModel):
        async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
            await all_there.wait()
            return await super().complete(task, on_text=on_text)

    model = Gate(CompletionFailed("down"), "Up.", name="a")
    chain = a_chain(model)
    waiting = [asyncio.create_task(chain.run(a_task(), on_text=ignore)) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0.05)
    all_there.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, CompletionFailed) for each in failed)
    assert len(model.calls) == 1
    assert (await chain.run(a_task(), on_text=ignore)).result.text == "Up."


async def test_only_what_is_cached_is_given_where_no_work_is_wanted() -> None:
    model, shared = FakeCompletionModel("One.", name="a"), some_shared_work()
    chain = a_chain(FakeCompletionModel(CompletionFailed("x"), name="z"), model, shared=shared)
    asking = replace(a_task(), only_cached=True)
    with pytest.raises(NotCached):
        await chain.run(asking, on_text=ignore)
    assert model.calls == []
    await chain.run(a_task(), on_text=ignore)
    assert (await chain.run(asking, on_text=ignore)).result.text == "One."


async def test_where_there_is_only_the_template_its_answer_needs_no_work() -> None:
    template = FakeCompletionModel("Extract.", name="template", cacheable=False)
    chain = a_chain(template)
    assert (await chain.run(replace(a_task(), only_cached=True), on_text=ignore)).result.text == "Extract."


def another_task() -> CompletionTask:
    return replace(a_task(), transcript=a_transcript("Something else."))


# --- another try ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [CompletionFailed("500"), CompletionRateLimited("429")])
async def test_what_may_pass_is_tried_again(error: CompletionFailed) -> None:
    model = FakeCompletionModel(error, error, "Third.", name="a")
    completion = await a_chain(model, tries=3).run(a_task(), on_text=ignore)
    assert (completion.result.text, completion.failed, len(model.calls)) == ("Third.", (), 3)


@pytest.mark.parametrize("error", [CompletionRefused("too long"), CompletionUnavailable("404")])
async def test_what_will_not_pass_is_not_tried_again(error: CompletionFailed) -> None:
    model = FakeCompletionModel(error, name="a")
    assert (await a_chain(model, FakeCompletionModel(name="b"), tries=3).run(a_task(), on_text=ignore)).model == "b"
    assert len(model.calls) == 1


async def test_a_provider_is_given_the_time_that_it_asks_for() -> None:
    model = FakeCompletionModel(CompletionRateLimited("429", retry_after_s=0.2), "Later.", name="a")
    began = time.monotonic()
    assert (await a_chain(model, tries=2).run(a_task(), on_text=ignore)).model == "a"
    assert time.monotonic() - began >= 0.2


async def test_one_that_asks_for_long_is_left_alone_for_as_long() -> None:
    clock = FakeClock()
    model = FakeCompletionModel(CompletionRateLimited("429", retry_after_s=30), "Back.", name="a")
    other = FakeCompletionModel("One.", "Two.", "Three.", name="b")
    chain = a_chain(model, other, tries=3, circuits=Circuits(FakeCircuitStore(), now=clock))
    assert (await chain.run(a_task(), on_text=ignore)).model == "b"
    clock.now += 29
    assert (await chain.run(another_task(), on_text=ignore)).model == "b"
    assert len(model.calls) == 1
    clock.now += 1
    assert (await chain.run(a_task("And more."), on_text=ignore)).model == "a"


async def test_retries_are_a_share_of_the_requests() -> None:
    down = FakeCompletionModel(CompletionFailed("500"), name="a")
    circuits = Circuits(FakeCircuitStore(), now=FakeClock())
    chain = a_chain(down, FakeCompletionModel(name="b"), tries=2, circuits=circuits)
    for number in range(100):
        await chain.run(a_task(f"Text {number}."), on_text=ignore)
        await circuits.succeeded("a")
    assert 110 <= len(down.calls) <= 131


# --- hedging ----------------------------------------------------------------------------------------------------------


class Slow(FakeCompletionModel):
    """Speaks when it is let."""

    def __init__(self, *replies: str | Exception, name: str, cacheable: bool = True) -> None:
        super().__init__(*replies, name=name, cacheable=cacheable)
        self.let = asyncio.Event()

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        await self.let.wait()
        return await super().complete(task, on_text=on_text)


async def test_where_one_is_silent_the_next_is_asked_too() -> None:
    silent, next_one = Slow("Better.", name="a"), FakeCompletionModel("Worse.", name="b")
    shown: list[str] = []
    completion = await a_chain(silent, next_one, hedge_s=0.02, upgrade_s=0.02).run(a_task(), on_text=shown.append)
    assert (completion.model, shown) == ("b", ["Worse."])
    assert [str(attempt) for attempt in completion.failed] == ["a: too slow, broken off"]


async def test_the_better_answer_takes_the_place_of_the_other() -> None:
    slow, quick = Slow("Far better.", name="a"), FakeCompletionModel("Worse.", name="b")
    shown: list[str] = []

    def on_text(text: str) -> None:
        shown.append(text)
        asyncio.get_running_loop().call_later(0.1, slow.let.set)

    completion = await a_chain(slow, quick, hedge_s=0.02).run(a_task(), on_text=on_text)
    assert (completion.model, completion.failed) == ("a", ())
    assert shown == ["Worse.", "Far better."], "an answer stays until there is all of a better one"


async def test_an_extract_gives_way_to_the_first_words() -> None:
    slow, template = Slow("All is well.", name="a"), FakeCompletionModel("Extract.", name="t", cacheable=False)
    shown: list[str] = []

    def on_text(text: str) -> None:
        shown.append(text)
        slow.let.set()

    completion = await a_chain(slow, template, hedge_s=0.02).run(a_task(), on_text=on_text)
    assert completion.model == "a"
    assert shown == ["Extract.", "All", "All is", "All is well."]


async def test_an_extract_never_ends_the_wait_for_a_model() -> None:
    slow, template = Slow("At last.", name="a"), FakeCompletionModel("Extract.", name="t", cacheable=False)
    asyncio.get_running_loop().call_later(0.2, slow.let.set)
    completion = await a_chain(slow, template, hedge_s=0.01, upgrade_s=0.01).run(a_task(), on_text=ignore)
    assert completion.model == "a"


async def test_where_the_better_one_fails_in_the_end_the_answer_stays() -> None:
    slow, quick = Slow(CompletionFailed("500"), name="a"), FakeCompletionModel("Worse.", name="b")
    completion = await a_chain(slow, quick, hedge_s=0.02).run(a_task(), on_text=lambda _: slow.let.set())
    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: 500"]


async def test_one_that_speaks_is_not_hedged() -> None:
    class Slowly(FakeCompletionModel):
        async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
            for words in range(1, 20):
                on_text("and so on " * words)
                await asyncio.sleep(0.05)
            return await super().complete(task, on_text=on_text)

    second = FakeCompletionModel(name="b")
    await a_chain(Slowly("All is well.", name="a"), second, hedge_s=0.5).run(a_task(), on_text=ignore)
    assert second.calls == []


async def test_one_that_falls_silent_is_hedged() -> None:
    class Stalls(FakeCompletionModel):
        async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
            on_text("All is")
            return await super().complete(task, on_text=on_text)

    shown: list[str] = []
    models = Stalls(HANG, name="a"), FakeCompletionModel("Two words.", name="b")
    completion = await a_chain(*models, hedge_s=0.05, upgrade_s=0.05).run(a_task(), on_text=shown.append)
    assert completion.model == "b"
    assert shown == ["All is", "Two", "Two words."]


async def test_a_failing_hedge_is_followed_by_the_next() -> None:
    silent = Slow("Never.", name="a")
    models = [silent, FakeCompletionModel(CompletionFailed("500"), name="b"), FakeCompletionModel("Three.", name="c")]
    completion = await a_chain(*models, hedge_s=0.02, upgrade_s=0.02).run(a_task(), on_text=ignore)
    assert completion.model == "c"
    assert [attempt.model for attempt in completion.failed] == ["a", "b"]


async def test_a_probe_keeps_nobody_waiting() -> None:
    clock = FakeClock()
    circuits = Circuits(FakeCircuitStore(), now=clock)
    await circuits.failed("a", CompletionUnavailable("404"))
    clock.now += UNAVAILABLE_S
    silent, next_one = Slow("Never.", name="a"), FakeCompletionModel("Two.", name="b")
    chain = a_chain(silent, next_one, circuits=circuits, hedge_s=60, upgrade_s=0.02)
    assert (await asyncio.wait_for(chain.run(a_task(), on_text=ignore), 5)).model == "b"


async def test_one_that_is_always_silent_is_passed_over() -> None:
    silent = Slow("Never.", name="a")
    other = FakeCompletionModel("Two.", name="b")
    chain = a_chain(silent, other, hedge_s=0.02, upgrade_s=0.0)
    for number in range(PATIENCE):
        await chain.run(a_task(f"Text {number}."), on_text=ignore)
    completion = await chain.run(a_task("One more."), on_text=ignore)
    assert [str(attempt) for attempt in completion.failed] == ["a: passed over: silent for too long"]


async def test_one_that_is_given_up_counts_as_failing() -> None:
    clock = FakeClock()
    stages = StageHealth(InProcessStageCounts(now=clock, keep_s=7_200), now=clock, process="here")
    models = [Slow("Never.", name="a"), FakeCompletionModel("Two.", name="b")]
    chain = Chain(
        {SMART: models},
        shared=some_shared_work(),
        circuits=Circuits(FakeCircuitStore(), now=clock),
        policy=ChainPolicy(hedge_s=0.02, upgrade_s=0.0),
        stages=stages,
    )
    assert (await chain.run(a_task(), on_text=ignore)).model == "b"
    assert {(str(subject), outcome): count for (subject, outcome), count in stages.totals.items()} == {
        ("a", Outcome.TEMPORARY): 1,
        ("b", Outcome.OK): 1,
    }


async def test_one_that_thinks_for_long_is_not_held_to_have_failed() -> None:
    thinker, quick = Slow("Better.", name="a"), FakeCompletionModel("Worse.", name="b")
    store = FakeCircuitStore()
    chain = a_chain(thinker, quick, hedge_s=0.01, circuits=Circuits(store, now=FakeClock()))

    def on_text(_text: str) -> None:
        asyncio.get_running_loop().call_later(0.05, thinker.let.set)

    for number in range(PATIENCE + 1):
        thinker.let.clear()
        completion = await chain.run(a_task(f"Text {number}."), on_text=on_text)
        assert completion.model == "a"
    assert store.known == {}


async def test_a_cancelled_request_breaks_off_all_of_them() -> None:
    broken_off: list[str] = []

    class Counts(FakeCompletionModel):
        async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
            try:
                return await super().complete(task, on_text=on_text)
            except asyncio.CancelledError:
                broken_off.append(self.name)
                raise

    models = [Counts(HANG, name=name) for name in "abc"]
    task = asyncio.create_task(a_chain(*models, hedge_s=0.01).run(a_task(), on_text=ignore))
    await until(lambda: len(models[2].calls) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(broken_off) == ["a", "b", "c"]


async def test_modes_choose_their_chain() -> None:
    models = {name: FakeCompletionModel(name=name) for name in ("a", "b")}
    policy = ChainPolicy()
    chain = Chain(
        {"smart": [models["a"], models["b"]], "fast": [models["b"]]},
        shared=some_shared_work(),
        circuits=Circuits(FakeCircuitStore(), now=FakeClock()),
        policy=policy,
    )
    asked = [
        (await chain.run(replace(a_task(), mode=a_mode(model=ModelBlock(chain=alias))), on_text=ignore)).model
        for alias in ("smart", "fast", "nowhere")
    ]
    assert asked == ["a", "b", "a"]
