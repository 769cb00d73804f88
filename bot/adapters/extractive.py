"""The last link of the chain: an extract of the transcript, which needs no model, no key and no network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bot.core.completion import Completion
from bot.core.errors import CompletionFailed
from bot.core.extracts import key_sentences
from bot.core.models import ModeResult, Note, NoteKey
from bot.core.rendering import clock_time, escape_markdown, spoken_line
from bot.core.sentences import sentences_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.completion import CompletionTask
    from bot.core.modes import TemplateBlock
    from bot.core.sentences import Sentence

NAME: Final = "template"


class ExtractiveModel:
    """Answers with the most telling sentences of the transcript, as the mode's ``output.template`` says."""

    @property
    def name(self) -> str:
        """``template``."""
        return NAME

    @property
    def cacheable(self) -> bool:
        """Its answers cost nothing, and any model does better."""
        return False

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        """Make the extract, in a thread.

        Raises:
            CompletionFailed: nothing was said.
        """
        text = await asyncio.to_thread(_extract, task)
        on_text(text)
        return Completion(
            model=NAME,
            result=ModeResult(format="markdown", text=text),
            notes=(Note(key=NoteKey.TEMPLATE_USED),),
        )


def _extract(task: CompletionTask) -> str:
    template = task.mode.output.template
    chosen = key_sentences(sentences_of(task.transcript.segments), template.sentences)
    if not chosen:
        raise CompletionFailed("nothing was said")
    return _markdown(template, chosen)


def _markdown(template: TemplateBlock, sentences: tuple[Sentence, ...]) -> str:
    lines = [f"**{escape_markdown(spoken_line(template.heading))}**"]
    for sentence in sentences:
        speaker = escape_markdown(spoken_line(sentence.speaker or ""))
        who = f"**{speaker}:** " if speaker else ""
        lines.append(f"- `{clock_time(sentence.start)}` {who}{escape_markdown(sentence.text)}")
    return "\n".join(lines)
