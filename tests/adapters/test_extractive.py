from __future__ import annotations

import pytest

from bot.adapters.extractive import ExtractiveModel
from bot.core.completion import CompletionTask
from bot.core.errors import CompletionFailed
from bot.core.models import NoteKey, Transcript
from bot.core.modes import OutputBlock, TemplateBlock
from bot.core.prompts import Prompt
from tests.fakes import a_mode, a_transcript


async def extract(transcript: Transcript, *, heading: str = "Key points", sentences: int = 5) -> str:
    output = OutputBlock(template=TemplateBlock(heading=heading, sentences=sentences))
    task = CompletionTask(mode=a_mode(output=output), transcript=transcript, prompt=Prompt(system="", user=""))
    completion = await ExtractiveModel().complete(task, on_text=lambda _: None)
    assert completion.model == "template"
    assert [note.key for note in completion.notes] == [NoteKey.TEMPLATE_USED]
    return completion.result.text


async def test_a_short_transcript_is_given_whole_with_times() -> None:
    text = await extract(a_transcript("We start.", "We end.", speakers=("Ann_1", None)), heading="Key *points*")

    assert text == "**Key \\*points\\***\n- `0:00` **Ann\\_1:** We start.\n- `0:02` We end."


async def test_the_mode_says_how_many_sentences() -> None:
    spoken = [f"Sentence number {number} is about topic {number * 7}." for number in range(20)]

    assert (await extract(a_transcript(*spoken), sentences=3)).count("\n- ") == 3


async def test_members_words_stay_words() -> None:
    text = await extract(a_transcript("# <@123> @everyone [x](https://evil.example) `a` **b**"))

    line = text.splitlines()[1]
    assert line == ("- `0:00` \\# \\<@123\\> @\u200beveryone \\[x\\](https\\://evil.example) \\`a\\` \\*\\*b\\*\\*")


@pytest.mark.parametrize("spoken", [(), ("",), (" \n", "\x00")])
async def test_of_nothing_there_is_no_extract(spoken: tuple[str, ...]) -> None:
    with pytest.raises(CompletionFailed, match="nothing was said"):
        await extract(a_transcript(*spoken))
