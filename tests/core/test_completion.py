from __future__ import annotations

import asyncio
import time

import pytest

from bot.core.completion import UNAVAILABLE_S, Chain, Completion, CompletionTask
from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable
from bot.core.models import ModeResult, Note, NoteKey
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt
from tests.fakes import HANG, BreaksOff, FakeClock, FakeCompletionModel, a_mode, a_transcript


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

    completion = await Chain([first, second], clock=FakeClock()).run(a_task(), on_text=shown.append)

    assert (completion.model, completion.result.text, completion.failed) == ("a", "One.", ())
    assert shown == ["One."]
    assert second.calls == []


@pytest.mark.parametrize("error", [CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable])
async def test_a_failure_leads_to_the_next_and_is_remembered(error: type[CompletionFailed]) -> None:
    models = [FakeCompletionModel(error("down"), name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await Chain(models, clock=FakeClock()).run(a_task(), on_text=ignore)

    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: down"]


async def test_notes_of_the_link_that_answered_are_kept() -> None:
    made = Completion(
        model="template",
        result=ModeResult(format="markdown", text="Key."),
        notes=(Note(key=NoteKey.TEMPLATE_USED),),
    )
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel(made, name="template")]

    completion = await Chain(models, clock=FakeClock()).run(a_task(), on_text=ignore)

    assert completion.notes == made.notes


async def test_after_a_break_in_the_middle_the_text_starts_over() -> None:
    shown: list[str] = []
    breaks = BreaksOff(text="Half an", error=CompletionFailed("cut"))
    models = [FakeCompletionModel(breaks, name="a"), FakeCompletionModel("Quite different.", name="b")]

    await Chain(models, clock=FakeClock()).run(a_task(), on_text=shown.append)

    assert shown == ["Half an", "Quite", "Quite different."]


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_an_empty_answer_is_a_failure(text: str) -> None:
    models = [FakeCompletionModel(text, name="a"), FakeCompletionModel("Two.", name="b")]

    completion = await Chain(models, clock=FakeClock()).run(a_task(), on_text=ignore)

    assert [str(attempt) for attempt in completion.failed] == ["a: the answer was empty"]


async def test_a_model_that_hangs_loses_its_turn() -> None:
    models = [FakeCompletionModel(HANG, name="a"), FakeCompletionModel("Two.", name="b")]
    started = time.monotonic()

    completion = await Chain(models, clock=FakeClock()).run(a_task(timeout_s=0.05), on_text=ignore)

    assert completion.model == "b"
    assert [str(attempt) for attempt in completion.failed] == ["a: no answer within 0.05 s"]
    assert time.monotonic() - started < 5


async def test_when_all_fail_every_reason_is_told() -> None:
    models = [FakeCompletionModel(CompletionFailed("x"), name="a"), FakeCompletionModel("", name="b")]

    with pytest.raises(CompletionFailed, match=r"^a: x; b: the answer was empty$"):
        await Chain(models, clock=FakeClock()).run(a_task(), on_text=ignore)


async def test_a_chain_without_links_fails() -> None:
    with pytest.raises(CompletionFailed, match="no links"):
        await Chain([], clock=FakeClock()).run(a_task(), on_text=ignore)


async def test_an_unavailable_model_is_passed_over_for_a_while() -> None:
    clock = FakeClock()
    model = FakeCompletionModel(CompletionUnavailable("401"), "Back.", name="a")
    chain = Chain([model, FakeCompletionModel("Two.", name="b")], clock=clock)

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
    chain = Chain([model, FakeCompletionModel(name="b")], clock=FakeClock())

    await chain.run(a_task(), on_text=ignore)

    assert (await chain.run(a_task(), on_text=ignore)).model == "a"


async def test_a_cancelled_request_asks_nobody_else() -> None:
    hanging, second = FakeCompletionModel(HANG, name="a"), FakeCompletionModel(name="b")
    task = asyncio.create_task(Chain([hanging, second], clock=FakeClock()).run(a_task(), on_text=ignore))
    await asyncio.wait([task], timeout=0)
    assert len(hanging.calls) == 1

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert second.calls == []


async def test_a_programming_error_is_not_taken_for_a_failing_model() -> None:
    chain = Chain([FakeCompletionModel(ZeroDivisionError(), name="a")], clock=FakeClock())

    with pytest.raises(ZeroDivisionError):
        await chain.run(a_task(), on_text=ignore)
