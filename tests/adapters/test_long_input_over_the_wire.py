"""A transcript that is too long for its model, on a server that is asked for each part of it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, overload

from bot.adapters.extractive import ExtractiveModel
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.chain import untraced
from bot.core.long_input import complete
from bot.core.models import KeptTranscript, NoteKey, Request
from bot.core.modes import ModelBlock
from bot.presentation.replies import note_line
from tests.fakes import a_chain, a_mode, a_transcript
from tests.llm_server import Fails, Streams, scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.core.completion import Completion
    from tests.llm_server import Answer, ScriptedLLM

LONG = a_transcript(*[f"Number {at}. " + "x" * 1_200 for at in range(8)])
"""Each segment, two seconds long, is a chunk for itself."""
REQUEST = Request(id="a" * 16, source=KeptTranscript(id="b" * 16), mode="summarize")
LIMIT_S = 1.5


class ByPart(Sequence["Answer"]):
    """Answers the part that was asked for, in whatever order parts come; the last request is the one to answer."""

    def __init__(self, server: ScriptedLLM, fails: str, after_s: float) -> None:
        self._server = server
        self._fails = fails
        self._after_s = after_s

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Answer]: ...
    def __getitem__(self, index: int | slice) -> Answer | Sequence[Answer]:
        part = re.search(r"This is part (\d) of 8 ", self._server.requests[-1]["messages"][0]["content"])
        name = part[1] if part else "all"
        return Fails(status=500) if name in self._fails else Streams(pieces=("Of ", name, "."), after_s=self._after_s)

    def __len__(self) -> int:
        return 1_000


@asynccontextmanager
async def a_server(fails: str = "", after_s: float = 0.0) -> AsyncGenerator[ScriptedLLM]:
    async with scripted_llm() as server:
        server.answers = ByPart(server, fails, after_s)
        yield server


async def ask(server: ScriptedLLM) -> Completion:
    async with openai_client(None, server.url) as client:
        chain = a_chain(OpenAIChatModel(client, "scripted"), ExtractiveModel())
        mode = a_mode(model=ModelBlock(max_input_tokens=500, timeout_s=LIMIT_S))
        return await complete(chain, mode, LONG, REQUEST, on_progress=lambda _text, _done: None, trail=untraced)


async def test_a_chunk_that_fails_is_a_note_and_the_rest_a_result() -> None:
    async with a_server(fails="4") as server:
        completion = await ask(server)
        assert len(server.requests) == 8 + 1
        sent = server.requests[-1]["messages"][1]["content"]
    assert completion.result.text == "Of all."
    assert re.findall(r"Of (\d)\.", sent) == list("1235678")
    (note,) = completion.notes
    assert note.key is NoteKey.PART_MISSING
    assert note_line(note, "en-US").startswith("0:06-0:08 is missing: the model did not answer")


async def test_the_limit_is_of_each_completion_and_not_of_all() -> None:
    async with a_server(after_s=0.5) as server:
        began = time.monotonic()
        completion = await ask(server)
        assert time.monotonic() - began > LIMIT_S
    assert (completion.result.text, completion.notes) == ("Of all.", ())
