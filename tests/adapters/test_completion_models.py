"""What every link of the chain keeps to: the fake, the template, and the OpenAI adapter against two servers."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.extractive import ExtractiveModel
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.completion import CompletionTask
from bot.core.modes import ModelBlock
from bot.core.prompts import build_prompt
from tests.fakes import FakeCompletionModel, a_mode, a_transcript
from tests.llm_server import Streams, real_llm, scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from bot.core.ports import CompletionModel

MODEL_FILE = (
    Path(__file__).parents[2] / ".cache" / "models" / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
)


@asynccontextmanager
async def fake() -> AsyncGenerator[CompletionModel, None]:
    yield FakeCompletionModel("The garden needs water.")


@asynccontextmanager
async def template() -> AsyncGenerator[CompletionModel, None]:
    yield ExtractiveModel()


@asynccontextmanager
async def scripted() -> AsyncGenerator[CompletionModel, None]:
    async with scripted_llm() as server, openai_client(None, server.url) as client:
        server.answers = [Streams(pieces=(" The ", "garden ", "", "needs\n", "water. "))]
        yield OpenAIChatModel(client, "scripted")


@pytest.fixture(scope="module")
def real_server() -> Generator[str, None, None]:
    if not MODEL_FILE.exists():
        pytest.skip("the small language model is not here; `make test` fetches it")
    with real_llm(MODEL_FILE) as url:
        yield url


@pytest.fixture(
    params=[
        "fake",
        "template",
        "scripted",
        pytest.param("real", marks=[pytest.mark.llm, pytest.mark.xdist_group("llm")]),
    ]
)
async def model(request: pytest.FixtureRequest) -> AsyncGenerator[CompletionModel, None]:
    made: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[CompletionModel]]] = {
        "fake": fake,
        "template": template,
        "scripted": scripted,
    }
    if request.param in made:
        async with made[request.param]() as link:
            yield link
        return
    async with openai_client(None, request.getfixturevalue("real_server")) as client:
        yield OpenAIChatModel(client, "smollm2")


@pytest.fixture
def task() -> CompletionTask:
    mode = a_mode(
        system="You sum up what was said in one short sentence.",
        user="Sum this up:\n{{ transcript }}",
        model=ModelBlock(temperature=0, max_output_tokens=24),
    )
    transcript = a_transcript("We water the garden every day.", "It is very dry this year.", speakers=("Ann", "Bo"))
    prompt, _ = build_prompt(mode, transcript)
    return CompletionTask(mode=mode, transcript=transcript, prompt=prompt)


async def test_an_answer_comes_and_names_its_model(model: CompletionModel, task: CompletionTask) -> None:
    completion = await model.complete(task, on_text=lambda _: None)

    assert completion.result.text.strip()
    assert completion.result.format == "markdown"
    assert completion.model == model.name
    assert completion.failed == ()


async def test_each_text_holds_all_so_far_and_the_last_is_the_answer(
    model: CompletionModel, task: CompletionTask
) -> None:
    shown: list[str] = []

    completion = await model.complete(task, on_text=shown.append)

    assert shown[-1] == completion.result.text
    assert all(after.startswith(before) for before, after in pairwise(shown))
    assert all(shown)


async def test_it_answers_again_and_to_several_at_once(model: CompletionModel, task: CompletionTask) -> None:
    completions = await asyncio.gather(*(model.complete(task, on_text=lambda _: None) for _ in range(3)))

    assert all(completion.result.text for completion in completions)


async def test_it_can_be_cancelled(model: CompletionModel, task: CompletionTask) -> None:
    running = asyncio.create_task(model.complete(task, on_text=lambda _: None))
    await asyncio.wait([running], timeout=0)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    assert (await model.complete(task, on_text=lambda _: None)).result.text


async def test_an_error_of_the_one_who_watches_is_not_taken_for_its_own(
    model: CompletionModel, task: CompletionTask
) -> None:
    def fail(_text: str) -> None:
        raise ValueError("no more of this")

    with pytest.raises(ValueError, match="no more of this"):
        await model.complete(task, on_text=fail)
