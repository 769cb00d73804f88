from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.cache import InProcessCache
from bot.core.completion import UNAVAILABLE_S, Chain, Completion, CompletionTask
from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable, NotCached
from bot.core.models import ModeResult, Note, NoteKey
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt
from tests.fakes import HANG, BreaksOff, FakeClock, FakeCompletionModel, a_mode, a_transcript, some_shared_work

if TYPE_CHECKING:
    from collections.abc import Callable


def a_task(timeout_s: float = 60) -> CompletionTask:
    return CompletionTask(
        mode=a_mode(model=ModelBlock(timeout_s=timeout_s)),
        transcript=a_transcript("Hello."),
        prompt=Prompt(system="s", user="u"),
    )


def ignore(_text: str) -> None:
    pass


async def test_the_first_that_answers_is_the_last_that_is_asked() -> None:
    first, second = FakeCompletionModel("One.", name="a"), FakeCompletionModel(name="b")
    shown: list[str] = []

    completion = await Chain([first, second], shared=some_shared_work(), clock=FakeClock()).run(
        a_task(), on_text=shown.append
    )

    assert (completion.model, completion.result.text, completion.failed) == ("a", "One.", ())
    assert shown == ["One."]
    assert second.calls == []


@pytest.mark.parametrize("error", [CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable])
async def test_a_failure_leads_to_the_next_and_is_remembered(error: type[CompletionFailed]) -> None:
    models = [FakeCompletionModel(error("down"), name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)

    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: down"]


async def test_notes_of_the_link_that_answered_are_kept() -> None:
    made = Completion(
        model="template",
        result=ModeResult(format="markdown", text="Key."),
        notes=(Note(key=NoteKey.TEMPLATE_USED),),
    )
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel(made, name="template")]

    completion = await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)

    assert completion.notes == made.notes


async def test_after_a_break_in_the_middle_the_text_starts_over() -> None:
    shown: list[str] = []
    breaks = BreaksOff(text="Half an", error=CompletionFailed("cut"))
    models = [FakeCompletionModel(breaks, name="a"), FakeCompletionModel("Quite different.", name="b")]

    await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=shown.append)

    assert shown == ["Half an", "Quite", "Quite different."]


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_an_empty_answer_is_a_failure(text: str) -> None:
    models = [FakeCompletionModel(text, name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)

    assert [str(attempt) for attempt in completion.failed] == ["a: the answer was empty"]


async def test_a_model_that_hangs_loses_its_turn() -> None:
    models = [FakeCompletionModel(HANG, name="a"), FakeCompletionModel("Two.", name="b")]
    started = time.monotonic()

    completion = await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(
        a_task(timeout_s=0.05), on_text=ignore
    )

    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: no answer within 0.05 s"]
    assert time.monotonic() - started < 5


async def test_when_all_fail_every_reason_is_told() -> None:
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel("", name="b")]

    with pytest.raises(CompletionFailed, match=r"^a: x; b: the answer was empty$"):
        await Chain(models, shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)


async def test_a_chain_without_links_fails() -> None:
    with pytest.raises(CompletionFailed, match="no links"):
        await Chain([], shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)


async def test_an_unavailable_model_is_passed_over_for_a_while() -> None:
    clock = FakeClock()
    model = FakeCompletionModel(CompletionUnavailable("401"), "Back.", name="a")
    chain = Chain([model, FakeCompletionModel("Two.", name="b")], shared=some_shared_work(), clock=clock)

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
    chain = Chain([model, FakeCompletionModel(name="b")], shared=some_shared_work(), clock=FakeClock())

    await chain.run(a_task(), on_text=ignore)

    assert (await chain.run(a_task(), on_text=ignore)).model == "a"


async def test_a_cancelled_request_asks_nobody_else() -> None:
    hanging, second = FakeCompletionModel(HANG, name="a"), FakeCompletionModel(name="b")
    task = asyncio.create_task(
        Chain([hanging, second], shared=some_shared_work(), clock=FakeClock()).run(a_task(), on_text=ignore)
    )
    await asyncio.wait([task], timeout=0)
    assert len(hanging.calls) == 1

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert second.calls == []


async def test_a_programming_error_is_not_taken_for_a_failing_model() -> None:
    chain = Chain([FakeCompletionModel(ZeroDivisionError(), name="a")], shared=some_shared_work(), clock=FakeClock())

    with pytest.raises(ZeroDivisionError):
        await chain.run(a_task(), on_text=ignore)


# --- what was answered before -----------------------------------------------------------------------------------------


async def test_an_answer_is_given_once() -> None:
    model = FakeCompletionModel("One.", "Two.", name="a")
    chain = Chain([model], shared=some_shared_work(), clock=FakeClock())
    first = await chain.run(a_task(), on_text=ignore)
    again = await chain.run(a_task(), on_text=ignore)
    assert (first.cached, again.cached) == (False, True)
    assert again.result == first.result
    assert len(model.calls) == 1


async def test_a_better_link_that_is_back_is_asked_again() -> None:
    better = FakeCompletionModel(CompletionFailed("down"), "Better.", name="better")
    chain = Chain([better, FakeCompletionModel("Worse.", name="worse")], shared=some_shared_work(), clock=FakeClock())
    assert (await chain.run(a_task(), on_text=ignore)).model == "worse"
    assert (await chain.run(a_task(), on_text=ignore)).model == "better"


async def test_the_fallbacks_answer_is_not_asked_for_twice_while_the_better_link_is_down() -> None:
    better, worse = FakeCompletionModel(CompletionFailed("down"), name="better"), FakeCompletionModel(name="worse")
    chain = Chain([better, worse], shared=some_shared_work(), clock=FakeClock())
    await chain.run(a_task(), on_text=ignore)
    again = await chain.run(a_task(), on_text=ignore)
    assert (again.model, again.cached, len(again.failed)) == ("worse", True, 1)
    assert (len(better.calls), len(worse.calls)) == (2, 1)


async def test_a_link_that_is_passed_over_still_gives_what_it_gave_before() -> None:
    clock = FakeClock()
    first = FakeCompletionModel("One.", CompletionUnavailable("no key"), name="a")
    chain = Chain([first, FakeCompletionModel("Two.", name="b")], shared=some_shared_work(), clock=clock)
    await chain.run(a_task(), on_text=ignore)
    assert (await chain.run(another_task(), on_text=ignore)).model == "b"
    known = await chain.run(a_task(), on_text=ignore)
    assert (known.model, known.cached) == ("a", True)


async def test_what_the_template_makes_is_never_cached() -> None:
    template = FakeCompletionModel("Extract.", name="template", cacheable=False)
    cache = InProcessCache(max_bytes=1 << 20, now=FakeClock(), jitter=lambda: 1.0)
    chain = Chain([template], shared=some_shared_work(cache), clock=FakeClock())
    for _ in range(2):
        assert not (await chain.run(a_task(), on_text=ignore)).cached
    assert (len(template.calls), cache.size) == (2, 0)


async def test_many_at_once_share_one_answer_and_all_see_it_grow() -> None:
    model = FakeCompletionModel("All is well here.", name="a")
    chain = Chain([model], shared=some_shared_work(), clock=FakeClock())
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
    chain = Chain([model], shared=some_shared_work(), clock=FakeClock())
    waiting = [asyncio.create_task(chain.run(a_task(), on_text=ignore)) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0.05)
    all_there.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, CompletionFailed) for each in failed)
    assert len(model.calls) == 1
    assert (await chain.run(a_task(), on_text=ignore)).result.text == "Up."


async def test_only_what_is_cached_is_given_where_no_work_is_wanted() -> None:
    model, shared = FakeCompletionModel("One.", name="a"), some_shared_work()
    chain = Chain([FakeCompletionModel(CompletionFailed("x"), name="z"), model], shared=shared, clock=FakeClock())
    asking = replace(a_task(), only_cached=True)
    with pytest.raises(NotCached):
        await chain.run(asking, on_text=ignore)
    assert model.calls == []
    await chain.run(a_task(), on_text=ignore)
    assert (await chain.run(asking, on_text=ignore)).result.text == "One."


async def test_where_there_is_only_the_template_its_answer_needs_no_work() -> None:
    template = FakeCompletionModel("Extract.", name="template", cacheable=False)
    chain = Chain([template], shared=some_shared_work(), clock=FakeClock())
    assert (await chain.run(replace(a_task(), only_cached=True), on_text=ignore)).result.text == "Extract."


def another_task() -> CompletionTask:
    return replace(a_task(), transcript=a_transcript("Something else."))
