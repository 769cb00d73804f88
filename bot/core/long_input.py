"""A mode's answer for a transcript of any length.

One that is too long for the model is read in chunks, and the answers for those are put together (map-reduce). Whatever
fails on the way leaves a note; what is there is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from bot.core.chunks import chunks_of, fits, shortened, tokens_of
from bot.core.completion import Completion, CompletionTask, FailedAttempt
from bot.core.errors import BadInput, EarshotError, NotCached
from bot.core.models import ModeResult, Note, NoteKey, Segment, Stage, StageStatus, Transcript
from bot.core.prompts import Part, Prompt, build_prompt, chunk_prompt, joining_prompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bot.core.chain import Chain
    from bot.core.chunks import Chunk
    from bot.core.models import Request
    from bot.core.modes import Mode
    from bot.core.ports import CacheTrail

OnText = Callable[[str], None]
Ask = Callable[[Transcript, Prompt, OnText], Awaitable[Completion]]
"""Asks the chain. The answer is cached by the transcript, from which the prompt has to follow."""

OnProgress = Callable[[str, float | None], None]
"""Gets the text that is best to read now, and the share of the chunks that are done; None where that says nothing."""

AT_ONCE: Final = 3
"""Completions at a time. Where so many chunks have failed and none was answered, no model is there."""

_AROUND_A_PART: Final = 30
"""Tokens of a part's times and of the lines between parts."""


_PARTIAL: Final = frozenset({NoteKey.TEMPLATE_USED, NoteKey.PART_MISSING, NoteKey.PARTS_NOT_JOINED})
"""Notes on a result that is not what was asked for."""


class TooMuchSaid(BadInput):
    """The transcript is longer than the mode reads at once, and the mode says to refuse that."""

    key = "error.too_much_said"
    stage = Stage.COMPLETE


async def complete(
    chain: Chain, mode: Mode, transcript: Transcript, request: Request, *, on_progress: OnProgress, trail: CacheTrail
) -> Completion:
    """Answer ``request`` by ``mode``, however long ``transcript`` is.

    Each completion has the mode's time limit for itself. Where no model answers for any chunk, the answer is that for
    the whole transcript: the template reads all of it, a model that is back its beginning.

    Raises:
        TooMuchSaid: the mode refuses long input.
        NotCached: with ``request.only_cached``, where a model would have to be asked.
        CompletionFailed: there is no answer.
    """

    async def ask(read: Transcript, prompt: Prompt, on_text: OnText) -> Completion:
        task = CompletionTask(
            mode=mode,
            transcript=read,
            prompt=prompt,
            variables=request.variables,
            scope=request.scope,
            only_cached=request.only_cached,
            keep_s=request.keep_s,
        )
        return await chain.run(task, on_text=on_text, trail=trail)

    if mode.model.long_input != "truncate" and not fits(transcript, mode.model.input_tokens):
        if mode.model.long_input == "refuse":
            raise TooMuchSaid(f"more than {mode.model.input_tokens} tokens")
        completion = await _MapReduce(ask, mode, transcript, on_progress, only_cached=request.only_cached).run()
        if completion is not None:
            return completion
    prompt, notes = build_prompt(mode, transcript)
    completion = await ask(transcript, prompt, lambda text: on_progress(text, None))
    # The template has read the whole transcript: what was cut for the models says nothing of its answer.
    return completion if _is_extract(completion) else replace(completion, notes=notes + completion.notes)


def status_of(completion: Completion) -> StageStatus:
    """How the stage went that gave ``completion``."""
    if completion.cached:
        return StageStatus.SKIPPED
    return StageStatus.PARTIAL if any(note.key in _PARTIAL for note in completion.notes) else StageStatus.OK


class _MapReduce:
    """One transcript's way: `_map` has its chunks answered, `_reduce` makes one answer of theirs."""

    def __init__(
        self, ask: Ask, mode: Mode, transcript: Transcript, on_progress: OnProgress, *, only_cached: bool
    ) -> None:
        self._ask = ask
        self._mode = mode
        self._whole = transcript
        self._on_progress = on_progress
        self._only_cached = only_cached
        self._budget = mode.model.input_tokens
        self._chunks = chunks_of(transcript, self._budget)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._growing: dict[int, str] = {}
        self._ended: dict[int, Completion | None] = {}
        """What came of chunks, by number; None where no model answered."""
        self._failed: list[FailedAttempt] = []
        self._is_cut = False

    async def run(self) -> Completion | None:
        """The answer; None where no model answered for any chunk.

        Raises:
            NotCached: only finished work was asked for, and the last step is none.
        """
        await self._map(self._chunks)
        if not any(self._ended.values()):
            return None
        # Those that were passed over while nobody seemed to be there.
        await self._map([chunk for chunk in self._chunks if chunk.number not in self._ended])
        answered = [(chunk, said) for chunk in self._chunks if (said := self._ended[chunk.number]) is not None]
        parts = [_part(chunk, said.result.text) for chunk, said in answered]
        self._on_progress(_one_by_one(parts), None)
        reduced = await self._reduce(parts)
        notes = [Note(key=NoteKey.RESULT_CUT)] if reduced and self._is_cut else []
        if reduced is None:
            if self._only_cached:
                raise NotCached("the parts were not put together yet")
            reduced = Completion(
                model=answered[0][1].model,
                result=ModeResult(format="markdown", text=_one_by_one(parts)),
                notes=(Note(key=NoteKey.PARTS_NOT_JOINED),),
            )
        notes += [note for said in (reduced, *(said for _, said in answered)) for note in said.notes]
        return replace(
            reduced,
            notes=(*self._missing(), *{note.key: note for note in notes}.values()),
            failed=tuple(dict.fromkeys(self._failed)),
            cached=reduced.cached and all(said.cached for _, said in answered),
        )

    async def _by_model(
        self, transcript: Transcript, prompt: Prompt, on_text: OnText = lambda _: None
    ) -> Completion | None:
        """A model's answer; None where there is none, or an extract, which cannot stand among answers."""
        try:
            completion = await self._ask(transcript, prompt, on_text)
        except EarshotError as exc:
            self._failed.append(FailedAttempt(model="no answer", why=str(exc)))
            return None
        self._failed.extend(completion.failed)
        return None if _is_extract(completion) else completion

    # --- map ----------------------------------------------------------------------------------------------------

    async def _map(self, chunks: Iterable[Chunk]) -> None:
        async with asyncio.TaskGroup() as group:
            for chunk in chunks:
                group.create_task(self._answer(chunk))

    async def _answer(self, chunk: Chunk) -> None:
        async with self._places:
            if len(self._ended) >= AT_ONCE and not any(self._ended.values()):
                return
            answer = await self._by_model(
                chunk.transcript, chunk_prompt(self._mode, chunk), lambda text: self._show(chunk, text)
            )
            self._ended[chunk.number] = answer
            self._show(chunk, answer.result.text if answer else "")

    def _show(self, chunk: Chunk, text: str) -> None:
        self._growing[chunk.number] = str(_part(chunk, text)) if text else ""
        read = filter(None, (self._growing[number] for number in sorted(self._growing)))
        self._on_progress("\n\n".join(read), len(self._ended) / len(self._chunks))

    def _missing(self) -> Iterator[Note]:
        """A note for each stretch without an answer."""
        for is_missing, stretch in groupby(self._chunks, key=lambda chunk: self._ended[chunk.number] is None):
            if is_missing:
                first, *rest = stretch
                yield Note(
                    key=NoteKey.PART_MISSING, values={"start_s": first.start, "end_s": (rest or [first])[-1].end}
                )

    # --- reduce -------------------------------------------------------------------------------------------------

    async def _reduce(self, parts: Sequence[Part]) -> Completion | None:
        """One answer of those for ``parts``, over several levels where they are too long; None where a model fails."""
        while len(groups := self._groups(parts)) > 1:
            async with asyncio.TaskGroup() as level:
                tasks = [level.create_task(self._joined_part(group)) for group in groups]
            joined = [task.result() for task in tasks]
            if None in joined:
                return None
            parts = [part for part in joined if part is not None]
        return await self._join(groups[0], is_last=True, on_text=lambda text: self._on_progress(text, None))

    def _groups(self, parts: Sequence[Part]) -> list[list[Part]]:
        """Parts next to each other that fit into a prompt; one is cut to half of that, so that levels get shorter."""
        groups: list[list[Part]] = []
        room = 0
        for part in parts:
            text = shortened(part.text, self._budget // 2 - _AROUND_A_PART)
            self._is_cut |= text != part.text
            cost = tokens_of(text) + _AROUND_A_PART
            if cost > room:
                groups.append([])
                room = self._budget
            groups[-1].append(replace(part, text=text))
            room -= cost
        return groups

    async def _joined_part(self, group: Sequence[Part]) -> Part | None:
        if len(group) == 1:
            return group[0]
        async with self._places:
            answer = await self._join(group, is_last=False)
        return answer and Part(start=group[0].start, end=group[-1].end, text=answer.result.text)

    async def _join(
        self, parts: Sequence[Part], *, is_last: bool, on_text: OnText = lambda _: None
    ) -> Completion | None:
        segments = tuple(Segment(start=part.start, end=part.end, text=part.text) for part in parts)
        made_of = "answers for all parts" if is_last else "answers for some parts"
        read = self._whole.model_copy(update={"segments": segments, "model": made_of, "notes": ()})
        prompt = joining_prompt(self._mode, self._whole, parts, is_last=is_last)
        return await self._by_model(read, prompt, on_text)


def _part(chunk: Chunk, text: str) -> Part:
    return Part(start=chunk.start, end=chunk.end, text=text)


def _one_by_one(parts: Iterable[Part]) -> str:
    return "\n\n".join(map(str, parts))


def _is_extract(completion: Completion) -> bool:
    return any(note.key is NoteKey.TEMPLATE_USED for note in completion.notes)
