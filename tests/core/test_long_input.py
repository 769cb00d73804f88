from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from bot.adapters.extractive import ExtractiveModel
from bot.core.chain import all_refuse
from bot.core.chain_link import TOLD_CHARS
from bot.core.chunks import chunks_of, size_of, tokens_of
from bot.core.completion import Completion
from bot.core.errors import CompletionFailed, CompletionRefused, NotCached
from bot.core.long_input import TooMuchSaid, complete, status_of
from bot.core.map_reduce import AT_ONCE
from bot.core.models import KeptTranscript, ModeResult, Note, NoteKey, Request, StageStatus
from bot.core.modes import ModelBlock
from tests.fakes import a_chain, a_mode, a_transcript
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bot.core.chain import Chain
    from bot.core.completion import CompletionTask
    from bot.core.models import Transcript
    from bot.core.modes import Mode

BUDGET = 500
LONG = a_transcript(*[f"Number {at}. " + "x" * 1_200 for at in range(8)])
"""Each segment, two seconds long, is a chunk for itself."""


class Reader:
    """A model that says which part it has read; "all" stands for answers put together, "whole" for a transcript.

    ``fails`` are those that it has no answer for; it is at most at work on ``most`` at a time, and waits for ``go``.
    It refuses more than ``longest`` tokens, and what has the words ``refuses`` in it.
    """

    name = "reader"
    cacheable = True

    def __init__(self, *, fails: Collection[str] = (), says: str = "", note: NoteKey | None = None) -> None:
        self.fails = fails
        self.says = says
        self.note = note
        self.read: list[str] = []
        self.tasks: list[CompletionTask] = []
        self.go: Callable[[str], object] = lambda _part: True
        self.longest = 1_000_000
        self.refuses = "\0"
        self.running = self.most = 0

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        part = self.part_of(task)
        self.read.append(part)
        self.tasks.append(task)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if not self.go(part):
                await until(lambda: self.go(part))
            if tokens_of(task.prompt.user) > self.longest or self.refuses in task.prompt.user:
                raise CompletionRefused("400")
            if part in self.fails:
                raise CompletionFailed(f"no {part}")
        finally:
            self.running -= 1
        text = f"Of {part}.{self.says if part != 'all' else ''}"
        on_text(text)
        notes = () if self.note is None else (Note(key=self.note),)
        return Completion(model=self.name, result=ModeResult(format="markdown", text=text), notes=notes)

    @staticmethod
    def part_of(task: CompletionTask) -> str:
        if "<parts-" in task.prompt.system:
            return "some" if "They are not all" in task.prompt.system else "all"
        found = re.search(r"This is part (\d+) of", task.prompt.system)
        return found[1] if found else "whole"


class Asked:
    """One request after another to the same chain; ``progress`` is what was shown."""

    def __init__(self, chain: Chain, mode: Mode | None = None) -> None:
        self.chain = chain
        self.mode = mode or a_mode(model=ModelBlock(max_input_tokens=BUDGET))
        self.progress: list[tuple[str, float | None]] = []
        self.keys: set[str] = set()

    async def complete(self, transcript: Transcript = LONG, *, only_cached: bool = False) -> Completion:
        request = Request(id="a" * 16, source=KeptTranscript(id="b" * 16), mode="summarize", only_cached=only_cached)

        async def trail(key: str, /, *, is_new: bool) -> None:
            self.keys.add(key)

        return await complete(
            self.chain,
            self.mode,
            transcript,
            request,
            on_progress=lambda text, done: self.progress.append((text, done)),
            trail=trail,
        )


def keys_of(completion: Completion) -> list[NoteKey]:
    return [note.key for note in completion.notes]


async def extract_of_the_whole() -> Completion:
    return await Asked(a_chain(ExtractiveModel()), a_mode(model=ModelBlock(long_input="truncate"))).complete()


async def test_what_fits_is_read_at_once() -> None:
    reader = Reader()
    completion = await Asked(a_chain(reader)).complete(a_transcript("Hello."))
    assert (completion.result.text, reader.read, completion.notes) == ("Of whole.", ["whole"], ())


async def test_chunks_are_read_and_their_answers_put_together() -> None:
    reader = Reader()
    asked = Asked(a_chain(reader))
    completion = await asked.complete()

    assert (completion.result.text, completion.model, completion.notes) == ("Of all.", "reader", ())
    assert status_of(completion) is StageStatus.OK
    assert sorted(reader.read[:-1]) == list("12345678")
    assert reader.read[-1] == "all"
    joined = reader.tasks[-1].prompt.user
    assert re.findall(r"\*\*(.*)\*\*\n(.*)", joined)[:2] == [("0:00-0:02", "Of 1."), ("0:02-0:04", "Of 2.")]
    assert "xxx" not in joined
    assert len(asked.keys) == 9, "each has a key of its own, and /forget-me learns of it"


async def test_no_more_than_three_are_read_at_a_time() -> None:
    reader = Reader()
    reader.go = lambda _part: len(reader.read) >= AT_ONCE
    await Asked(a_chain(reader)).complete()
    assert reader.most == AT_ONCE == 3


async def test_progress_shows_what_was_read_so_far() -> None:
    asked = Asked(a_chain(Reader()))
    await asked.complete()
    fractions = [done for _, done in asked.progress]
    assert sorted({done for done in fractions if done is not None}) == [at / 8 for at in range(9)]
    assert fractions == sorted(fractions, key=lambda done: 2.0 if done is None else done)
    read = next(text for text, done in asked.progress if done == 2 / 8)
    assert read.startswith("**0:00-0:02**\nOf 1.\n\n**0:02-0:04**\nOf 2.")
    assert asked.progress[-1] == ("Of all.", None)


async def test_a_part_without_an_answer_is_named_and_the_others_count() -> None:
    reader = Reader(fails={"2", "3", "6"})
    completion = await Asked(a_chain(reader)).complete()

    assert completion.result.text == "Of all."
    assert [(note.key, note.values) for note in completion.notes] == [
        (NoteKey.PART_MISSING, {"start_s": 2.0, "end_s": 6.0}),
        (NoteKey.PART_MISSING, {"start_s": 10.0, "end_s": 12.0}),
    ]
    assert status_of(completion) is StageStatus.PARTIAL
    assert "no 6" in "; ".join(map(str, completion.failed))
    assert re.findall(r"Of (\d)\.", reader.tasks[-1].prompt.user) == ["1", "4", "5", "7", "8"]


async def test_an_extract_of_a_part_does_not_stand_among_answers() -> None:
    reader = Reader(fails={"4"})
    completion = await Asked(a_chain(reader, ExtractiveModel())).complete()

    assert (completion.result.text, keys_of(completion)) == ("Of all.", [NoteKey.PART_MISSING])
    assert "Number 3" not in reader.tasks[-1].prompt.user
    assert [str(failed) for failed in completion.failed] == ["reader: no 4"]


async def test_a_failed_part_is_asked_for_again_and_the_others_are_not() -> None:
    reader = Reader(fails={"4"})
    asked = Asked(a_chain(reader))
    await asked.complete()
    reader.fails = ()
    before = len(reader.read)
    completion = await asked.complete()
    assert reader.read[before:] == ["4", "all"]
    assert completion.notes == ()


async def test_without_a_model_there_is_an_extract_of_the_whole() -> None:
    reader = Reader(fails={*"12345678", "whole"})
    completion = await Asked(a_chain(reader, ExtractiveModel())).complete()

    assert (completion.model, keys_of(completion)) == ("template", [NoteKey.TEMPLATE_USED])
    assert completion.result == (await extract_of_the_whole()).result
    assert len(reader.read) <= 2 * AT_ONCE, "the rest is not asked for"


async def test_without_any_answer_it_fails_as_ever() -> None:
    with pytest.raises(CompletionFailed):
        await Asked(a_chain(Reader(fails={*"12345678", "whole"}))).complete()


async def test_parts_that_were_passed_over_are_asked_for_once_a_model_answers() -> None:
    reader = Reader(fails={"1", "2", "3"})
    asked = Asked(a_chain(reader))

    def go(part: str) -> bool:
        if part == "3":
            return "5" in reader.read
        return part not in "45" or any(done == 3 / 8 for _, done in asked.progress)

    reader.go = go
    completion = await asked.complete()
    assert sorted(reader.read) == [*"12345678", "all"]
    assert [note.values for note in completion.notes] == [{"start_s": 0.0, "end_s": 6.0}]


@pytest.mark.parametrize("with_template", [True, False])
async def test_answers_that_cannot_be_put_together_are_given_one_by_one(with_template: bool) -> None:
    models = (Reader(fails={"all", "7"}), *([ExtractiveModel()] if with_template else []))
    completion = await Asked(a_chain(*models)).complete()

    assert completion.model == "reader"
    assert completion.result.text.startswith("**0:00-0:02**\nOf 1.\n\n**0:02-0:04**\nOf 2.")
    assert completion.result.text.endswith("**0:14-0:16**\nOf 8.")
    assert keys_of(completion) == [NoteKey.PART_MISSING, NoteKey.PARTS_NOT_JOINED]
    assert status_of(completion) is StageStatus.PARTIAL
    assert not completion.cached


@pytest.mark.parametrize(("fails", "joined"), [((), 4 + 2), (("8",), 3 + 2)])
async def test_answers_that_are_too_long_are_put_together_in_levels(fails: Collection[str], joined: int) -> None:
    reader = Reader(says=" So it is." * 60, fails=fails)
    completion = await Asked(a_chain(reader)).complete()

    assert completion.result.text == "Of all."
    assert keys_of(completion) == [NoteKey.PART_MISSING] * len(fails)
    assert reader.read.count("some") == joined, "two by two, twice, one that is left over as it is; then all"
    joining = [task.prompt.user for task in reader.tasks if "<parts-" in task.prompt.system]
    assert all(tokens_of(user) <= BUDGET + 50 for user in joining), "the fence around it comes on top"
    assert reader.most <= AT_ONCE


async def test_an_answer_for_some_parts_is_not_taken_for_one_for_all() -> None:
    reader = Reader(says=" So it is." * 60, fails={"3", "4"})
    asked = Asked(a_chain(reader))
    half = a_transcript(*[segment.text for segment in LONG.segments[:4]])
    await asked.complete(half)
    assert reader.read[-1] == "all"
    reader.fails = ()
    await asked.complete(half)
    assert (reader.read.count("some"), reader.read.count("all")) == (2, 2)


async def test_a_long_answer_among_parts_is_cut_and_said_to_be() -> None:
    reader = Reader(says=" So it is." * 200)
    completion = await Asked(a_chain(reader)).complete()
    assert (completion.result.text, keys_of(completion)) == ("Of all.", [NoteKey.RESULT_CUT])


async def test_a_level_that_fails_gives_the_answers_one_by_one() -> None:
    completion = await Asked(a_chain(Reader(says=" So it is." * 80, fails={"some"}))).complete()
    assert keys_of(completion) == [NoteKey.PARTS_NOT_JOINED]
    assert [f"Of {part}." in completion.result.text for part in "12345678"] == [True] * 8


async def test_what_models_say_of_their_answers_is_said_once() -> None:
    completion = await Asked(a_chain(Reader(note=NoteKey.RESULT_CUT))).complete()
    assert keys_of(completion) == [NoteKey.RESULT_CUT]


@pytest.mark.parametrize("fails", [(), ("4",)])
async def test_what_is_finished_costs_no_work(fails: Collection[str]) -> None:
    reader = Reader(fails=fails)
    asked = Asked(a_chain(reader))
    with pytest.raises(NotCached):
        await asked.complete(only_cached=True)
    assert reader.read == []

    first = await asked.complete()
    assert not first.cached
    before = len(reader.read)
    again = await asked.complete(only_cached=True)

    assert (again.result, again.notes, again.cached) == (first.result, first.notes, True)
    assert status_of(again) is StageStatus.SKIPPED
    assert len(reader.read) == before


async def test_parts_that_were_never_put_together_are_not_finished() -> None:
    reader = Reader(fails={"all"})
    asked = Asked(a_chain(reader))
    await asked.complete()
    before = len(reader.read)
    with pytest.raises(NotCached):
        await asked.complete(only_cached=True)
    assert len(reader.read) == before


async def test_an_extract_of_a_long_transcript_is_always_finished() -> None:
    completion = await Asked(a_chain(ExtractiveModel())).complete(only_cached=True)
    assert completion.result == (await extract_of_the_whole()).result


async def test_a_mode_may_read_the_beginning_alone() -> None:
    reader = Reader()
    mode = a_mode(model=ModelBlock(max_input_tokens=BUDGET, long_input="truncate"))
    completion = await Asked(a_chain(reader), mode).complete()
    assert reader.read == ["whole"]
    assert [(note.key, note.values) for note in completion.notes] == [(NoteKey.INPUT_CUT, {"until_s": 2.0})]


async def test_a_mode_may_refuse_what_is_too_long() -> None:
    reader = Reader()
    asked = Asked(a_chain(reader), a_mode(model=ModelBlock(max_input_tokens=BUDGET, long_input="refuse")))
    with pytest.raises(TooMuchSaid):
        await asked.complete()
    assert reader.read == []
    assert (await asked.complete(a_transcript("Hello."))).result.text == "Of whole."


@pytest.mark.parametrize(("stops_at", "read"), [("1", AT_ONCE), ("some", 8 + AT_ONCE), ("all", 8 + 4 + 2 + 1)])
async def test_a_request_that_is_cancelled_asks_no_more(stops_at: str, read: int) -> None:
    reader = Reader(says=" So it is." * 60)
    steps = ["1", "some", "all"]
    before = steps[: steps.index(stops_at)]
    reader.go = lambda part: part in before or (part.isdigit() and "1" in before)
    work = asyncio.create_task(Asked(a_chain(reader)).complete())
    await until(lambda: len(reader.read) == read)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (reader.running, len(reader.read)) == (0, read)


async def test_what_is_told_while_it_runs_is_not_longer_than_anybody_shows() -> None:
    asked = Asked(a_chain(Reader(says=" So it is." * 300)))
    await asked.complete()
    told = [text for text, done in asked.progress if done is not None]
    assert max(map(len, told)) == TOLD_CHARS


# --- what is finished, or fails as a whole --------------------------------------------------------------------------


async def test_what_is_finished_is_found_though_nobody_is_there_any_more() -> None:
    reader = Reader(fails={"1", "2", "3"})
    asked = Asked(a_chain(reader, ExtractiveModel()))
    reader.go = lambda part: part != "3" or "5" in reader.read
    first = await asked.complete()
    assert (first.result.text, keys_of(first)) == ("Of all.", [NoteKey.PART_MISSING])

    reader.go = lambda _part: reader.read[-3:] == ["1", "2", "3"]  # they fail in one moment
    before = len(reader.read)
    again = await asked.complete()
    assert (again.result, again.notes) == (first.result, first.notes)
    assert reader.read[before:] == ["1", "2", "3"]
    assert (await asked.complete(only_cached=True)).result == first.result


async def test_where_a_model_is_back_too_late_the_rest_is_said_to_be_missing() -> None:
    reader = Reader(fails={"1", "2"})
    two = a_transcript(*[segment.text for segment in LONG.segments[:2]])
    completion = await Asked(a_chain(reader, ExtractiveModel())).complete(two)
    assert completion.result.text == "Of whole."
    assert [(note.key, note.values) for note in completion.notes] == [
        (NoteKey.PART_MISSING, {"start_s": 2.0, "end_s": 4.0})
    ]
    assert status_of(completion) is StageStatus.PARTIAL


async def test_a_part_in_which_people_talk_at_the_same_time_ends_with_the_last_of_them() -> None:
    ends = (90.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)
    segments = tuple(segment.model_copy(update={"end": end}) for segment, end in zip(LONG.segments, ends, strict=True))
    both = LONG.model_copy(update={"segments": segments, "duration_s": 90.0})

    missing = await Asked(a_chain(Reader(fails={"1", "2"}))).complete(both)
    assert [note.values for note in missing.notes] == [{"start_s": 0.0, "end_s": 90.0}]

    reader = Reader(says=" So it is." * 60)
    await Asked(a_chain(reader)).complete(both)
    assert "**0:00-1:30**" in reader.tasks[-1].prompt.user
    assert "**0:00-0:20**" not in reader.tasks[-1].prompt.user


# --- what models refuse ---------------------------------------------------------------------------------------------

ROOMY = a_mode(model=ModelBlock(max_input_tokens=2_000))
"""Two chunks of four segments each; half of one has about 620 tokens."""
SHORT = a_transcript(*[segment.text for segment in LONG.segments[:4]])
"""One chunk, so that it is read at once."""


async def test_a_part_that_is_too_long_for_the_model_is_read_in_smaller_ones() -> None:
    reader = Reader()
    reader.longest = 1_000
    asked = Asked(a_chain(reader), ROOMY)
    completion = await asked.complete()

    assert (completion.result.text, completion.notes) == ("Of all.", ())
    assert sorted(reader.read) == [*"111222", "all"], "each as a whole, and its halves"
    assert re.findall(r"\*\*(.*)\*\*", reader.tasks[-1].prompt.user) == [
        *("0:00-0:04", "0:04-0:08", "0:08-0:12", "0:12-0:16"),
    ]
    fractions = [done for _, done in asked.progress if done is not None]
    assert fractions == sorted(fractions)
    assert {0.25, 0.5, 0.75, 1.0} <= set(fractions)


async def test_answers_are_put_together_in_no_more_than_the_model_takes() -> None:
    reader = Reader(says=" So it is." * 200)
    reader.longest = 1_000
    completion = await Asked(a_chain(reader), ROOMY).complete()
    assert completion.result.text == "Of all."
    assert NoteKey.PARTS_NOT_JOINED not in keys_of(completion)


@pytest.mark.parametrize("with_template", [True, False])
async def test_what_the_mode_reads_at_once_may_be_too_long_for_the_model(with_template: bool) -> None:
    reader = Reader()
    reader.longest = 1_000
    asked = Asked(a_chain(*(reader, *([ExtractiveModel()] if with_template else []))), ROOMY)
    completion = await asked.complete(SHORT)
    assert (completion.result.text, completion.notes) == ("Of all.", ())
    assert reader.read == ["whole", "1", "2", "all"]

    again = await asked.complete(SHORT, only_cached=True)
    assert (again.result, again.cached) == (completion.result, True)
    assert len(reader.read) == 4


async def test_what_was_read_in_smaller_parts_is_found_again() -> None:
    reader = Reader()
    reader.longest = 1_000
    asked = Asked(a_chain(reader), ROOMY)
    completion = await asked.complete()
    before = len(reader.read)
    again = await asked.complete(only_cached=True)
    assert (again.result, again.notes, again.cached, len(reader.read)) == (completion.result, (), True, before)


async def test_of_what_is_refused_for_its_words_a_small_part_is_missing() -> None:
    reader = Reader()
    reader.refuses = "Number 3"
    completion = await Asked(a_chain(reader), ROOMY).complete()
    assert completion.result.text == "Of all."
    assert [note.values for note in completion.notes] == [{"start_s": 6.0, "end_s": 8.0}]
    assert all_refuse("; ".join(map(str, completion.failed)))


@pytest.mark.parametrize("transcript", [LONG, SHORT], ids=["long", "short"])
async def test_what_is_refused_in_every_part_is_an_extract_at_last(transcript: Transcript) -> None:
    reader = Reader()
    reader.longest = 0
    completion = await Asked(a_chain(reader, ExtractiveModel()), ROOMY).complete(transcript)
    assert keys_of(completion) == [NoteKey.TEMPLATE_USED]
    assert all_refuse("; ".join(map(str, completion.failed)))
    assert len(reader.read) <= 2 * 7 + 1, "a chunk, its halves and their halves; and the whole"

    with pytest.raises(CompletionRefused) as refused:
        await Asked(a_chain(reader), ROOMY).complete(transcript)
    assert all_refuse(refused.value.detail)


async def test_what_is_small_is_not_cut_when_it_is_refused() -> None:
    reader = Reader()
    reader.longest = 0
    assert size_of(a_transcript("Hello.")) < 10
    assert keys_of(await Asked(a_chain(reader, ExtractiveModel())).complete(a_transcript("Hello."))) == [
        NoteKey.TEMPLATE_USED
    ]
    assert reader.read == ["whole"]


def test_what_may_pass_is_no_refusal() -> None:
    assert not all_refuse("a: refuses: 400; b: 503")
    assert not all_refuse("a: APIConnectionError from ConnectionRefusedError")
    assert not all_refuse("")


def test_the_long_transcript_of_these_tests_is_as_they_say() -> None:
    assert [(chunk.start, chunk.end) for chunk in chunks_of(LONG, BUDGET)] == [(2 * at, 2 * at + 2) for at in range(8)]
