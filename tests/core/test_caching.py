"""Keys that change with everything they are made of, and work that is done once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.flights import LocalFlights
from bot.core import errors
from bot.core.caching import (
    COMPLETION,
    NEGATIVE_S,
    POISON_S,
    TRANSCRIPT_S,
    News,
    OnNews,
    SharedWork,
    StoredCompletion,
    completion_key,
    decode_error,
    encode_error,
    transcript_key,
    transcript_ttl,
)
from bot.core.completion import Completion, FailedAttempt
from bot.core.errors import (
    AudioTooLong,
    BadInput,
    CompletionFailed,
    EarshotError,
    FetchFailed,
    NotAudio,
    NotCached,
    QuotaExceeded,
    RecordInvalid,
    TranscriberCrashed,
    TranscriptionFailed,
)
from bot.core.json_schemas import JsonSchema
from bot.core.models import ModeResult, Note, NoteKey, Task, Transcript, TranscriptionOptions
from bot.core.modes import Mode, ModelBlock
from bot.core.ports import Shared
from bot.core.quotas import Verdict
from bot.core.records import TRANSCRIPT
from tests.fakes import FakeClock, a_mode, a_transcript
from tests.waiting import until

TranscriptParts = tuple[str, str, TranscriptionOptions, str]
CompletionParts = tuple[Transcript, Mode, str, dict[str, str], str]
TEXTS = st.text(max_size=8)
OPTIONS = st.builds(
    TranscriptionOptions,
    language=st.none() | TEXTS,
    task=st.sampled_from(Task),
    hot_words=st.lists(TEXTS, max_size=3).map(tuple),
)
TRANSCRIPT_PARTS = st.tuples(TEXTS, TEXTS, OPTIONS, TEXTS)
COMPLETION_PARTS = st.tuples(
    st.sampled_from([a_transcript(), a_transcript("a"), a_transcript("a", "b"), a_transcript("a b")]),
    st.sampled_from([a_mode(), a_mode("tasks"), a_mode(system="Sum it up."), a_mode(model=ModelBlock(temperature=1))]),
    TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    TEXTS,
)


# --- keys ---------------------------------------------------------------------------------------------------------


@given(TRANSCRIPT_PARTS, TRANSCRIPT_PARTS)
def test_transcripts_share_a_key_if_and_only_if_nothing_differs(one: TranscriptParts, other: TranscriptParts) -> None:
    assert (transcript_key(*one) == transcript_key(*other)) == (one == other)


@given(TRANSCRIPT_PARTS, st.integers(0, 3), st.data())
def test_any_one_part_changes_a_transcripts_key(parts: TranscriptParts, at: int, data: st.DataObject) -> None:
    new = data.draw((OPTIONS if at == 2 else TEXTS).filter(lambda part: part != parts[at]))
    changed = cast("TranscriptParts", (*parts[:at], new, *parts[at + 1 :]))
    assert transcript_key(*changed) != transcript_key(*parts)


@given(COMPLETION_PARTS, COMPLETION_PARTS)
def test_completions_share_a_key_if_and_only_if_nothing_differs(one: CompletionParts, other: CompletionParts) -> None:
    assert (completion_key(*one) == completion_key(*other)) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"transcript": a_transcript("Hello!")},
        {"mode": a_mode(user="Again: {{ transcript }}")},
        {"model": "gpt-5"},
        {"variables": {"tone": "wry"}},
        {"variables": {"ton": "edry"}},
        {"variables": {}},
        {"scope": "g2"},
        {"schema": JsonSchema.of({"type": "object"})},
        {"schema": JsonSchema.of({"type": "object", "title": "Other"})},
    ],
    ids=str,
)
def test_any_one_part_changes_a_completions_key(changed: dict[str, object]) -> None:
    parts = {
        "transcript": a_transcript("Hello."),
        "mode": a_mode(),
        "model": "o3",
        "variables": {"tone": "dry"},
        "scope": "g1",
        "schema": None,
    }
    assert completion_key(**parts) != completion_key(**(parts | changed))  # pyright: ignore[reportArgumentType]


def test_what_changes_nothing_changes_no_key() -> None:
    noted = a_transcript("Hello.", notes=(Note(key=NoteKey.NO_SPEECH),))
    one = completion_key(a_transcript("Hello."), a_mode(), "o3", {"a": "1", "b": "2"}, "all")
    assert one == completion_key(noted, a_mode(), "o3", {"b": "2", "a": "1"}, "all")
    assert one == completion_key(noted, a_mode(), "o3", {"b": "2", "a": "1"}, "all", schema=None)
    assert one.startswith("c1:")
    assert transcript_key("0" * 64, "base", TranscriptionOptions(hot_words=("\ud800",)), "all").startswith("t1:")


# --- what is stored -----------------------------------------------------------------------------------------------


def the_tree(cls: type[EarshotError] = EarshotError) -> list[type[EarshotError]]:
    inner = [known for sub in cls.__subclasses__() if sub.__module__ == errors.__name__ for known in the_tree(sub)]
    return [cls, *inner]


@pytest.mark.parametrize("cls", [cls for cls in the_tree() if not issubclass(cls, QuotaExceeded)])
def test_every_error_of_the_tree_comes_back(cls: type[EarshotError]) -> None:
    error = cls("it is \ud800 so", limit=1.5, name="Grüße")
    back = decode_error(encode_error(error))
    assert type(back) is cls
    assert (back.detail, back.values, str(back)) == (error.detail, error.values, str(error))


def test_an_error_that_is_for_one_caller_is_a_plain_one_to_others() -> None:
    verdict = Verdict(allowed=False, cost=1, remaining=0, retry_after_s=60, full_at=60, now=0, refused_by="bucket")
    back = decode_error(encode_error(QuotaExceeded(verdict)))
    assert type(back) is EarshotError


def test_an_error_of_no_place_in_the_tree_is_the_nearest_that_has_one() -> None:
    class Misheard(TranscriptionFailed):
        """Of an adapter."""

    assert type(decode_error(encode_error(Misheard("what?")))) is TranscriptionFailed


@pytest.mark.parametrize(
    "content",
    [
        {"error": "NoSuchError", "detail": "", "values": {}},
        {"error": "QuotaExceeded", "detail": "", "values": {}},
        {"error": "ErrorKind", "detail": "", "values": {}},
        {"error": "StrEnum", "detail": "", "values": {}},
        {"error": "__builtins__", "detail": "", "values": {}},
        {"error": 7, "detail": "", "values": {}},
        {"error": "NotAudio", "detail": "", "values": {"self": "x"}},
        {"error": "NotAudio", "detail": "", "values": {"detail": "x"}},
        {"error": "NotAudio", "detail": "", "values": {"x": [1]}},
        {"error": "NotAudio", "values": {}},
        ["NotAudio"],
        None,
    ],
    ids=str,
)
def test_a_damaged_error_is_told_as_such(content: object) -> None:
    with pytest.raises(RecordInvalid):
        decode_error(b"e1\n" + json.dumps(content).encode())


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_told_as_such(raw: bytes, marked: bool) -> None:
    with pytest.raises(RecordInvalid):
        decode_error(b"e1\n" + raw if marked else raw)


def test_a_completion_comes_back_without_those_that_failed() -> None:
    completion = Completion(
        model="o3",
        result=ModeResult(format="json", text='{"a":1}', data={"a": [1, None, "x"]}),
        notes=(Note(key=NoteKey.RESULT_CUT, values={"x": 1.5}),),
    )
    stored = StoredCompletion.of(replace(completion, failed=(FailedAttempt(model="o1", why="no key"),)))
    assert COMPLETION.decode(COMPLETION.encode(stored)).completion() == completion


# --- sharing ------------------------------------------------------------------------------------------------------

KEY = "t1:key"
HEARD = a_transcript("Hello.")
Work = Callable[[OnNews], Awaitable[Transcript]]


class Town:
    """A cache and flights in memory, and what was worked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = InProcessCache(max_bytes=1 << 20, now=self.clock, jitter=lambda: 1.0)
        self.shared = SharedWork(self.cache, LocalFlights())
        self.runs = 0

    def work(self, outcome: Transcript | Exception = HEARD, *, gate: asyncio.Event | None = None) -> Work:
        async def run(tell: OnNews) -> Transcript:
            self.runs += 1
            tell(News(text="Hel", fraction=0.5))
            if gate is not None:
                await gate.wait()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return run

    async def once(
        self, work: Work, *, on_news: OnNews = lambda _: None, only_cached: bool = False
    ) -> tuple[Transcript, bool]:
        return await self.shared.once(
            KEY, TRANSCRIPT, work, ttl_s=transcript_ttl(), on_news=on_news, only_cached=only_cached
        )


async def test_work_is_done_once_and_then_cached() -> None:
    town = Town()
    assert await town.once(town.work()) == (HEARD, False)
    assert await town.once(town.work(TranscriptionFailed())) == (HEARD, True)
    assert town.runs == 1
    town.clock.now += TRANSCRIPT_S
    assert await town.once(town.work()) == (HEARD, False)


async def test_only_what_is_cached_is_given_where_that_is_asked() -> None:
    town = Town()
    with pytest.raises(NotCached):
        await town.once(town.work(), only_cached=True)
    assert town.runs == 0
    await town.once(town.work())
    assert await town.once(town.work(), only_cached=True) == (HEARD, True)


async def test_those_who_ask_meanwhile_wait_and_hear_the_news() -> None:
    town, gate = Town(), asyncio.Event()
    news: list[list[News]] = [[] for _ in range(50)]
    asked = [asyncio.create_task(town.once(town.work(gate=gate), on_news=heard.append)) for heard in news]
    await until(lambda: all(news))
    gate.set()
    given = await asyncio.gather(*asked)
    assert town.runs == 1
    assert [cached for _, cached in given].count(False) == 1
    assert all(transcript == HEARD for transcript, _ in given)
    assert all(heard == [News(text="Hel", fraction=0.5)] for heard in news)


async def test_input_that_cannot_be_used_is_remembered_briefly() -> None:
    town = Town()
    for _ in range(3):
        with pytest.raises(AudioTooLong) as caught:
            await town.once(town.work(AudioTooLong("41 min", limit_minutes=30)))
        assert caught.value.values == {"limit_minutes": 30}
    with pytest.raises(AudioTooLong):
        await town.once(town.work(), only_cached=True)
    assert town.runs == 1
    town.clock.now += NEGATIVE_S
    assert await town.once(town.work()) == (HEARD, False)


async def test_audio_that_crashed_the_transcriber_is_not_tried_again_for_a_while() -> None:
    town = Town()
    for _ in range(3):
        with pytest.raises(TranscriberCrashed):
            await town.once(town.work(TranscriberCrashed("signal 11")))
    assert town.runs == 1
    town.clock.now += POISON_S
    assert await town.once(town.work()) == (HEARD, False)


REMEMBERED = BadInput | QuotaExceeded | TranscriberCrashed


@pytest.mark.parametrize("error", [cls for cls in the_tree() if not issubclass(cls, REMEMBERED)])
async def test_every_other_error_reaches_those_who_waited_and_is_not_remembered(error: type[EarshotError]) -> None:
    town, gate = Town(), asyncio.Event()
    asked = [asyncio.create_task(town.once(town.work(error("why"), gate=gate))) for _ in range(3)]
    await until(lambda: town.runs)
    gate.set()
    given = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in given] == [error] * 3
    assert town.runs == 1
    assert await town.once(town.work()) == (HEARD, False)


async def test_silence_is_remembered_briefly() -> None:
    town = Town()
    await town.once(town.work(a_transcript()))
    town.clock.now += NEGATIVE_S - 1
    assert await town.once(town.work()) == (a_transcript(), True)
    town.clock.now += 1
    assert await town.once(town.work()) == (HEARD, False)


async def test_no_time_at_all_is_not_cached() -> None:
    town = Town()
    for _ in range(2):
        await town.shared.once(KEY, TRANSCRIPT, town.work(), ttl_s=lambda _: 0)
    assert town.runs == 2
    assert await town.cache.get(KEY) is None


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\x00\xff",
        b"v1\n",
        b"v1\n{}",
        b"v2\n" + TRANSCRIPT.encode(HEARD),
        TRANSCRIPT.encode(HEARD),
        b"v1\n" + TRANSCRIPT.encode(HEARD)[:-1],
        b'v1\n{"schema_version": 99}',
        b'v1\n{"schema_version": 1, "model": "o3", "format": "markdown", "text": "another kind"}',
        b'e1\n{"error": "Sabotage", "detail": "", "values": {}}',
        b"e1\n",
        b"v1\n" + b"[" * 100_000,
    ],
    ids=lambda entry: repr(entry[:40]),
)
async def test_an_entry_that_cannot_be_read_is_a_miss_and_is_written_over(entry: bytes) -> None:
    town = Town()
    await town.cache.put(KEY, entry, ttl_s=60)
    with pytest.raises(NotCached):
        await town.once(town.work(), only_cached=True)
    assert await town.once(town.work()) == (HEARD, False)
    assert await town.once(town.work()) == (HEARD, True)


class Elsewhere:
    """Flights where somebody else leads, or has just finished."""

    def __init__(self, town: Town, *, gives: bytes | None = None, finished: Transcript | None = None) -> None:
        self._town = town
        self._gives = gives
        self._finished = finished

    async def share(
        self,
        key: str,
        work: Callable[[Callable[[bytes], None]], Awaitable[bytes]],
        *,
        on_news: Callable[[bytes], None],
    ) -> Shared:
        on_news(b"news of another version")
        if self._finished is not None:
            await self._town.cache.put(key, b"v1\n" + TRANSCRIPT.encode(self._finished), ttl_s=60)
        if self._gives is not None:
            return Shared(value=self._gives, led=False)
        return Shared(value=await work(lambda _: None), led=True)


async def test_whoever_leads_looks_once_more() -> None:
    town = Town()
    town.shared = SharedWork(town.cache, Elsewhere(town, finished=HEARD))
    assert await town.once(town.work()) == (HEARD, True)
    assert town.runs == 0


async def test_what_another_version_made_is_made_again() -> None:
    town = Town()
    town.shared = SharedWork(town.cache, Elsewhere(town, gives=b'v1\n{"schema_version": 2}'))
    news: list[News] = []
    assert await town.once(town.work(), on_news=news.append) == (HEARD, False)
    assert town.runs == 1
    assert news == [News(text="Hel", fraction=0.5)], "and what it told is not shown"


async def test_a_text_that_cannot_be_written_down_is_given_to_whoever_asked() -> None:
    town = Town()
    half = StoredCompletion(model="o3", format="markdown", text="\ud83d")
    news: list[News] = []

    async def work(tell: OnNews) -> StoredCompletion:
        town.runs += 1
        tell(News(text="\ud83d"))
        await asyncio.sleep(0)
        return half

    given = await asyncio.gather(
        *(town.shared.once("c1:x", COMPLETION, work, ttl_s=lambda _: 60, on_news=news.append) for _ in range(2))
    )
    assert given == [(half, False)] * 2
    assert News(text="\ud83d") in news


async def test_the_first_link_whose_answer_is_cached_is_found() -> None:
    town = Town()
    assert await town.shared.first_cached(["t1:a", "t1:b", "t1:c"], TRANSCRIPT) is None
    assert await town.shared.first_cached([], TRANSCRIPT) is None
    await town.cache.put("t1:a", encode_error(NotAudio()), ttl_s=60)
    for key in ("t1:c", "t1:b"):
        await town.shared.once(key, TRANSCRIPT, town.work(a_transcript(key)), ttl_s=lambda _: 60)
        assert await town.shared.first_cached(["t1:a", "t1:b", "t1:c"], TRANSCRIPT) == (key, a_transcript(key))


async def test_a_cached_value_is_given_alone() -> None:
    town = Town()
    assert await town.shared.cached(KEY, TRANSCRIPT) is None
    await town.once(town.work())
    assert await town.shared.cached(KEY, TRANSCRIPT) == HEARD


@pytest.mark.parametrize("error", [FetchFailed("x"), CompletionFailed("y")])
async def test_each_caller_gets_an_error_of_its_own(error: EarshotError) -> None:
    town, gate = Town(), asyncio.Event()
    asked = [asyncio.create_task(town.once(town.work(error, gate=gate))) for _ in range(2)]
    await until(lambda: town.runs)
    gate.set()
    one, other = await asyncio.gather(*asked, return_exceptions=True)
    assert one is error
    assert other is not error
    assert isinstance(other, type(error))
    assert other.__cause__ is error
