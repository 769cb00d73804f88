"""Map-reduce: a transcript is read in chunks, and the answers for those are put together.

A chunk that models refuse is cut: it may be too long for them, or one sentence of it is what they refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol

from bot.core.chain import Refusal
from bot.core.chain_link import TOLD_CHARS
from bot.core.chunks import LEAST_TOKENS, chunks_of, shortened, size_of, tokens_of
from bot.core.completion import Completion, FailedAttempt
from bot.core.errors import CompletionRefused, EarshotError, NotCached
from bot.core.models import ModeResult, Note, NoteKey, Segment, Transcript
from bot.core.prompts import Part, Prompt, chunk_prompt, joining_prompt
from bot.core.spending import total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bot.core.chunks import Chunk
    from bot.core.modes import Mode
    from bot.core.spending import Usage

OnText = Callable[[str], None]

OnProgress = Callable[[str, float | None], None]
"""Gets the text that is best to read now, and the share of the chunks that are done; None where that says nothing."""


class Ask(Protocol):
    """Asks the chain. The answer is cached by the transcript, from which the prompt has to follow."""

    async def __call__(
        self, read: Transcript, prompt: Prompt, on_text: OnText, *, only_cached: bool = False, is_last: bool = False
    ) -> Completion:
        """An answer, or `CompletionFailed`, or `NotCached`; ``is_last`` says that it is the request's."""
        ...


AT_ONCE: Final = 3
"""Completions at a time. Where so many chunks have failed and none was answered, no model is there."""

_AROUND_A_PART: Final = 30
"""Tokens of a part's times and of the lines between parts."""

_SMALLER: Final = 0.6
"""What pieces of a refused text have of it: with half, what is left over by the first two would be a third."""
_DEEPEST: Final = 2
"""How often a refused chunk is cut, and its pieces again: it may have been refused for what it says."""


def smaller_size(tokens: int) -> int | None:
    """How large pieces are of what was refused; None where it is small already."""
    return max(round(tokens * _SMALLER), LEAST_TOKENS) if tokens > LEAST_TOKENS else None


def part_missing(start_s: float, end_s: float) -> Note:
    """Says that no model answered for a part; times in seconds."""
    return Note(key=NoteKey.PART_MISSING, values={"start_s": start_s, "end_s": end_s})


def has_refusal(completion: Completion) -> bool:
    """Whether one of the better links will not answer that."""
    return any(isinstance(attempt, Refusal) for attempt in completion.failed)


def is_extract(completion: Completion) -> bool:
    """Whether it is the template's."""
    return any(note.key is NoteKey.TEMPLATE_USED for note in completion.notes)


class _Piece:
    """A chunk, or a piece of one that was refused, and what came of it.

    Args:
        chunk: what is read.
        share: of all chunks, between 0 and 1.
        cuts: how often it was cut.
    """

    def __init__(self, chunk: Chunk, share: float, cuts: int = 0) -> None:
        self.chunk = chunk
        self.share = share
        self.cuts = cuts
        self.text = ""
        """What there is of the answer."""
        self.is_done = False
        self.answer: Completion | None = None
        """None where no model answered, if it is done."""

    def halves(self, tokens: int) -> list[_Piece]:
        """Pieces of no more than ``tokens``; two as a rule."""
        cut = chunks_of(self.chunk.transcript, tokens)
        share = self.share / len(cut)
        return [_Piece(replace(self.chunk, transcript=half.transcript), share, self.cuts + 1) for half in cut]


class MapReduce:
    """One transcript's way: `_map` has its chunks answered, `_reduce` makes one answer of theirs."""

    def __init__(
        self,
        ask: Ask,
        mode: Mode,
        transcript: Transcript,
        on_progress: OnProgress,
        *,
        tokens: int,
        only_cached: bool,
    ) -> None:
        self._ask = ask
        self._mode = mode
        self._whole = transcript
        self._on_progress = on_progress
        self._only_cached = only_cached
        self._budget = tokens
        chunks = chunks_of(transcript, tokens)
        self._pieces = [_Piece(chunk, 1 / len(chunks)) for chunk in chunks]
        self._places = asyncio.Semaphore(AT_ONCE)
        self._failed: list[FailedAttempt] = []
        self._spent: list[Usage | None] = []
        self._is_cut = False

    async def run(self) -> Completion | None:
        """The answer; None where no model answered for any chunk.

        Raises:
            NotCached: only finished work was asked for, and the last step is none.
        """
        await self._map()
        if not any(piece.answer for piece in self._pieces):
            return None
        await self._map()  # those that were passed over while nobody seemed to be there
        answered = [(piece.chunk, piece.answer) for piece in self._pieces if piece.answer is not None]
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
            usage=total(self._spent),
        )

    async def _by_model(
        self,
        transcript: Transcript,
        prompt: Prompt,
        on_text: OnText = lambda _: None,
        *,
        only_cached: bool = False,
        is_last: bool = False,
    ) -> tuple[Completion | None, bool]:
        """A model's answer, and whether one refused to give it.

        None where there is no answer, or an extract, which cannot stand among answers.
        """
        try:
            completion = await self._ask(transcript, prompt, on_text, only_cached=only_cached, is_last=is_last)
        except EarshotError as exc:
            refused = isinstance(exc, CompletionRefused)
            if self._only_cached or not isinstance(exc, NotCached):
                self._failed.append((Refusal if refused else FailedAttempt)(model="no answer", why=str(exc)))
            return None, refused or self._only_cached  # what is not finished may have been refused, and its pieces be
        self._failed.extend(completion.failed)
        self._spent.append(completion.usage)
        return (None if is_extract(completion) else completion), has_refusal(completion)

    # --- map ----------------------------------------------------------------------------------------------------

    async def _map(self) -> None:
        async with asyncio.TaskGroup() as group:
            for piece in self._pieces:
                if not piece.is_done:
                    group.create_task(self._answer(piece))

    async def _answer(self, piece: _Piece) -> None:
        async with self._places:
            done = [other for other in self._pieces if other.is_done]
            nobody = len(done) >= AT_ONCE and not any(other.answer for other in done)
            await self._read(piece, only_cached=nobody)

    async def _read(self, piece: _Piece, *, only_cached: bool = False) -> None:
        """Have a piece answered, or, where models refuse, its pieces; with ``only_cached`` perhaps not at all."""

        def show(text: str) -> None:
            piece.text = text
            self._show()

        transcript = piece.chunk.transcript
        answer, refused = await self._by_model(
            transcript, chunk_prompt(self._mode, piece.chunk), show, only_cached=only_cached
        )
        may_cut = refused and answer is None and piece.cuts < _DEEPEST
        if may_cut and (tokens := smaller_size(size_of(transcript))) is not None:
            await self._read_halves(piece, tokens)
        elif answer is not None or not only_cached:
            piece.answer, piece.is_done = answer, True
            show(answer.result.text if answer else "")

    async def _read_halves(self, piece: _Piece, tokens: int) -> None:
        halves = piece.halves(tokens)
        at = self._pieces.index(piece)
        self._pieces[at : at + 1] = halves
        for half in halves:
            await self._read(half)
        if any(half.answer for half in halves):  # it was too long: so would answers of that length be
            self._budget = min(self._budget, tokens)

    def _show(self) -> None:
        read = [str(_part(piece.chunk, piece.text)) for piece in self._pieces if piece.text]
        done = sum(piece.share for piece in self._pieces if piece.is_done)
        self._on_progress("\n\n".join(read)[:TOLD_CHARS], done)

    def _missing(self) -> Iterator[Note]:
        """A note for each stretch without an answer."""
        for is_missing, stretch in groupby(self._pieces, key=lambda piece: piece.answer is None):
            if is_missing:
                chunks = [piece.chunk for piece in stretch]
                yield part_missing(min(chunk.start for chunk in chunks), max(chunk.end for chunk in chunks))

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
        # People may talk at the same time: the last part need not be the one that ends last.
        start, end = min(part.start for part in group), max(part.end for part in group)
        return answer and Part(start=start, end=end, text=answer.result.text)

    async def _join(
        self, parts: Sequence[Part], *, is_last: bool, on_text: OnText = lambda _: None
    ) -> Completion | None:
        segments = tuple(Segment(start=part.start, end=part.end, text=part.text) for part in parts)
        made_of = "answers for all parts" if is_last else "answers for some parts"
        read = self._whole.model_copy(update={"segments": segments, "model": made_of, "notes": ()})
        prompt = joining_prompt(self._mode, self._whole, parts, is_last=is_last)
        return (await self._by_model(read, prompt, on_text, is_last=is_last))[0]


def _part(chunk: Chunk, text: str) -> Part:
    return Part(start=chunk.start, end=chunk.end, text=text)


def _one_by_one(parts: Iterable[Part]) -> str:
    return "\n\n".join(map(str, parts))
