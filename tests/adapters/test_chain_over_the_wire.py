"""The chain on servers that fail in every way that servers fail: what the member gets, and what it took."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bot.adapters.extractive import ExtractiveModel
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.circuits import Circuits
from bot.core.completion import CompletionTask
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt
from tests.fakes import FakeCircuitStore, FakeClock, a_chain, a_mode, a_transcript
from tests.llm_server import Fails, Hangs, Sends, Streams, scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.core.chain import Chain
    from tests.llm_server import Answer, ScriptedLLM

PATIENCE_S = 0.3
"""Of the chain, before the next link is asked too."""
LIMIT_S = 3.0
"""Of the mode, for one model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the first server does; then who answers, how often the first was asked, and whether it is left alone."""

    answers: tuple[Answer, ...]
    by: str = "second"
    asked: int = 1
    passed_over: bool = False
    within_s: float = 2.0


WELL = Streams(pieces=("From ", "the ", "first."))
CASES = {
    "429 that says when": Case(answers=(Fails(status=429, headers={"Retry-After": "0.2"}), WELL), by="first", asked=2),
    "429 for long": Case(answers=(Fails(status=429, headers={"Retry-After": "60"}),), passed_over=True),
    "429 that says nothing": Case(answers=(Fails(status=429), WELL), by="first", asked=2),
    "500 once": Case(answers=(Fails(status=500), WELL), by="first", asked=2),
    "500 for good": Case(answers=(Fails(status=500),), asked=3),
    "404, retired": Case(answers=(Fails(status=404, code="model_not_found"),), passed_over=True),
    "401": Case(answers=(Fails(status=401, code="invalid_api_key"),), passed_over=True),
    "context overflow": Case(answers=(Fails(status=400, code="context_length_exceeded"),)),
    "silence": Case(answers=(Hangs(),)),
    "slow first token": Case(answers=(Streams(pieces=WELL.pieces, after_s=0.6),), by="first"),
    "a stream that stalls": Case(answers=(Hangs(pieces=("From ",)),)),
    "a stream that breaks off": Case(answers=(Streams(pieces=("From ",), cut=True), WELL), by="first", asked=2),
    "an empty answer": Case(answers=(Streams(pieces=("",)), WELL), by="first", asked=2),
    "garbage": Case(answers=(Sends(body=b"\xff\x00 garbage"), WELL), by="first", asked=2),
    "JSON that is none": Case(answers=(Sends(body=b'data: {"choices": [\n\n'),), asked=3),
    "a page of HTML": Case(answers=(Sends(body=b"<html>Gateway</html>", content_type="text/html"),), asked=3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Two servers and the template behind them."""

    first: ScriptedLLM
    second: ScriptedLLM
    chain: Chain


@asynccontextmanager
async def a_wire(upgrade_s: float = 1.0) -> AsyncGenerator[Wire]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(scripted_llm()) for _ in range(2)]
        second.answers = (Streams(pieces=("From ", "the ", "second.")),)
        models = [
            OpenAIChatModel(await stack.enter_async_context(openai_client(None, server.url)), name)
            for name, server in (("first", first), ("second", second))
        ]
        circuits = Circuits(FakeCircuitStore(), now=FakeClock())
        yield Wire(
            first=first,
            second=second,
            chain=a_chain(
                *models, ExtractiveModel(), circuits=circuits, tries=3, hedge_s=PATIENCE_S, upgrade_s=upgrade_s
            ),
        )


def a_task(said: str) -> CompletionTask:
    return CompletionTask(
        mode=a_mode(model=ModelBlock(timeout_s=LIMIT_S)),
        transcript=a_transcript(said),
        prompt=Prompt(system="s", user="u"),
    )


@pytest.mark.parametrize("name", CASES)
async def test_the_member_gets_an_answer_whatever_the_first_model_does(name: str) -> None:
    case, shown = CASES[name], list[str]()
    async with a_wire() as wire:
        wire.first.answers = case.answers
        began = time.monotonic()
        completion = await wire.chain.run(a_task("The garden needs water."), on_text=shown.append)
        assert time.monotonic() - began < case.within_s
        assert (completion.model, completion.result.text) == (case.by, f"From the {case.by}.")
        assert shown[-1] == completion.result.text
        assert len(wire.first.requests) == case.asked
        assert [attempt.model for attempt in completion.failed] == (["first"] if case.by == "second" else [])

        await wire.chain.run(a_task("Another clip."), on_text=shown.append)
        assert (len(wire.first.requests) == case.asked) is case.passed_over


async def test_with_both_down_there_is_an_extract() -> None:
    async with a_wire() as wire:
        wire.first.answers = (Fails(status=500),)
        wire.second.answers = (Fails(status=404),)
        completion = await wire.chain.run(a_task("The garden needs water."), on_text=lambda _: None)
    assert completion.model == "template"
    assert "The garden needs water." in completion.result.text
    assert [attempt.model for attempt in completion.failed] == ["first", "second"]


async def test_what_a_broken_off_model_costs_ends_at_once() -> None:
    async with a_wire(upgrade_s=0.2) as wire:
        wire.first.answers = (Hangs(),)
        await wire.chain.run(a_task("The garden needs water."), on_text=lambda _: None)
        assert wire.first.left.is_set() or await wire.first.left.wait()
