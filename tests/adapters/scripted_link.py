"""A link to a scripted server, and what a test may ask of it."""

from __future__ import annotations

import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.completion import CompletionTask
from bot.core.errors import CompletionFailed
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt
from tests.fakes import a_mode, a_transcript
from tests.llm_server import scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai

    from bot.core.completion import Completion
    from tests.llm_server import Answer, ScriptedLLM

KEY = "sk-proj-0123456789abcdefSECRET"
SPOKEN = "what a member said in confidence"


def a_task(temperature: float | None = 0.2) -> CompletionTask:
    return CompletionTask(
        mode=a_mode(model=ModelBlock(temperature=temperature, max_output_tokens=500)),
        transcript=a_transcript(SPOKEN),
        prompt=Prompt(system="Sum up.", user=SPOKEN),
    )


class Asked:
    """A model of ``server`` and what it showed."""

    def __init__(self, server: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
        self.server = server
        self.client = client
        self.shown: list[str] = []
        self.model = OpenAIChatModel(client, "gpt-4o")

    def use(self, name: str) -> None:
        self.model = OpenAIChatModel(self.client, name)

    async def answer(self, *answers: Answer, temperature: float | None = 0.2) -> Completion:
        if answers:
            self.server.answers = answers
        self.server.requests.clear()
        self.shown.clear()
        return await self.model.complete(a_task(temperature), on_text=self.shown.append)

    async def failure(self, *answers: Answer) -> CompletionFailed:
        with pytest.raises(CompletionFailed) as caught:
            await self.answer(*answers)
        tells_no_secret(caught.value)
        return caught.value


def tells_no_secret(error: CompletionFailed) -> None:
    """Neither the error nor the traceback that a log would show holds the key or what was said."""
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.values) + error.detail
    assert KEY not in told
    assert SPOKEN not in told


@asynccontextmanager
async def asking() -> AsyncGenerator[Asked, None]:
    """Run a scripted server and a link to it."""
    async with scripted_llm() as server, openai_client(KEY, server.url, silence_s=10) as client:
        yield Asked(server, client)
