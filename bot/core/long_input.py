"""A mode's answer for a transcript of any length.

One that is too long for the model is read in chunks, and the answers for those are put together (map-reduce). Whatever
fails on the way leaves a note; what is there is given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bot.core.chunks import fits, size_of
from bot.core.completion import CompletionTask
from bot.core.errors import BadInput, CompletionRefused, NotCached
from bot.core.map_reduce import MapReduce, has_refusal, is_extract, part_missing, smaller_size
from bot.core.models import NoteKey, Stage, StageStatus
from bot.core.prompts import build_prompt

if TYPE_CHECKING:
    from bot.core.chain import Chain
    from bot.core.completion import Completion
    from bot.core.json_schemas import JsonSchema
    from bot.core.map_reduce import Ask, OnProgress, OnText
    from bot.core.models import Request, Transcript
    from bot.core.modes import Mode
    from bot.core.ports import CacheTrail
    from bot.core.prompts import Prompt

_PARTIAL: Final = frozenset({NoteKey.TEMPLATE_USED, NoteKey.PART_MISSING, NoteKey.PARTS_NOT_JOINED})
"""Notes on a result that is not what was asked for."""


class TooMuchSaid(BadInput):
    """The transcript is longer than the mode reads at once, and the mode says to refuse that.

    No member reads it: the transcript is answered, with a note.
    """

    stage = Stage.COMPLETE


async def complete(  # noqa: PLR0913 - what is asked, of what, and who watches
    chain: Chain,
    mode: Mode,
    transcript: Transcript,
    request: Request,
    *,
    on_progress: OnProgress,
    trail: CacheTrail,
    schema: JsonSchema | None = None,
) -> Completion:
    """Answer ``request`` by ``mode``, however long ``transcript`` is.

    Each completion has the mode's time limit for itself. Where no model answers for any chunk, the answer is that for
    the whole transcript: the template reads all of it, a model that is back its beginning. What is not too long for
    the mode, and is refused, is read in chunks too: it may be too long for the model. With a ``schema``, the answer is
    JSON by it; those for chunks are not.

    Raises:
        TooMuchSaid: the mode refuses long input.
        NotCached: with ``request.only_cached``, where a model would have to be asked.
        CompletionFailed: there is no answer.
    """

    async def ask(
        read: Transcript, prompt: Prompt, on_text: OnText, *, only_cached: bool = False, is_last: bool = False
    ) -> Completion:
        task = CompletionTask(
            mode=mode,
            transcript=read,
            prompt=prompt,
            variables=request.variables,
            scope=request.scope,
            only_cached=only_cached or request.only_cached,
            keep_s=request.keep_s,
            schema=schema if is_last else None,
        )
        return await chain.run(task, on_text=on_text, trail=trail)

    async def in_parts(tokens: int) -> Completion | None:
        work = MapReduce(ask, mode, transcript, on_progress, tokens=tokens, only_cached=request.only_cached)
        return await work.run()

    too_long, in_chunks = not fits(transcript, mode.model.input_tokens), mode.model.long_input == "map-reduce"
    if too_long and mode.model.long_input == "refuse":
        raise TooMuchSaid(f"more than {mode.model.input_tokens} tokens")
    if too_long and in_chunks and (parts := await in_parts(mode.model.input_tokens)) is not None:
        return parts
    tokens = smaller_size(size_of(transcript)) if in_chunks and not too_long else None
    try:
        completion = await _at_once(ask, mode, transcript, on_progress)
    except (CompletionRefused, NotCached):  # what is finished may have been refused as a whole
        if tokens is None or (parts := await in_parts(tokens)) is None:
            raise
        return parts
    if tokens is None or not (is_extract(completion) and has_refusal(completion)):
        return completion
    return await in_parts(tokens) or completion


def status_of(completion: Completion) -> StageStatus:
    """How the stage went that gave ``completion``."""
    if completion.cached:
        return StageStatus.SKIPPED
    return StageStatus.PARTIAL if any(note.key in _PARTIAL for note in completion.notes) else StageStatus.OK


async def _at_once(ask: Ask, mode: Mode, transcript: Transcript, on_progress: OnProgress) -> Completion:
    """The answer for the whole transcript, as far as it may be shown."""
    prompt, notes = build_prompt(mode, transcript)
    if mode.model.long_input == "map-reduce":  # the rest should have been read: another try may do so
        end_s = max(segment.end for segment in transcript.segments) if notes else 0.0
        notes = tuple(part_missing(float(note.values["until_s"]), end_s) for note in notes)
    completion = await ask(transcript, prompt, lambda text: on_progress(text, None), is_last=True)
    # The template has read the whole transcript: what was cut for the models says nothing of its answer.
    return completion if is_extract(completion) else replace(completion, notes=notes + completion.notes)
