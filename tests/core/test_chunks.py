from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.chunks import LEAST_TOKENS, beginning_of, chunks_of, fits, line_of, shortened, tokens_of
from bot.core.models import Note, NoteKey, Segment, Transcript

MEETINGS = Path(__file__).parents[1] / "data" / "meetings"
BUDGET = LEAST_TOKENS

# Of many scripts, with ends of sentences, white space of all kinds and what nobody sees.
_TEXTS = st.text(st.sampled_from("abcdef  .,?!9äЖ語。ท\n\u200b\u2028"), max_size=120) | st.builds(
    "".join, st.lists(st.sampled_from(["word ", "語", "Ж ", "End. ", "a"]), max_size=900)
)


@st.composite
def _transcripts(draw: st.DrawFn) -> Transcript:
    at = 0.0
    segments: list[Segment] = []
    for text in draw(st.lists(_TEXTS, max_size=40)):
        start = at + draw(st.sampled_from([0.0, 0.3, 5.0]))
        at = start + draw(st.floats(0, 60))
        segments.append(
            Segment(start=start, end=at, speaker=draw(st.sampled_from([None, "Ann", "語" * 99])), text=text)
        )
    return transcript_of(*segments)


def transcript_of(*segments: Segment) -> Transcript:
    return Transcript(
        language="en",
        language_probability=1,
        duration_s=max((segment.end for segment in segments), default=0.0),
        segments=segments,
        model="m",
        notes=(Note(key=NoteKey.SPEAKERS_NOT_SEPARATED),),
    )


def a_minute_each(*texts: str, speakers: str = "", pause_after: int = -1) -> Transcript:
    """Segments of a minute; the speaker of each is a letter; ten seconds of silence follow one of them."""
    return transcript_of(
        *(
            Segment(
                start=60.0 * at + (10 if at > pause_after >= 0 else 0),
                end=60.0 * at + 60 + (10 if at > pause_after >= 0 else 0),
                speaker=speakers[at] if speakers else None,
                text=text,
            )
            for at, text in enumerate(texts)
        )
    )


def words_of(*transcripts: Transcript) -> str:
    """Each speaker's characters in order; where an overlong segment is cut, only white space may change."""
    lines = (line_of(segment) for transcript in transcripts for segment in transcript.segments)
    return "".join("".join(line.split("] ", 1)[-1].split(": ", 1)[-1].split()) for line in lines)


@given(transcript=_transcripts(), budget=st.integers(LEAST_TOKENS, 3_000))
def test_nothing_is_lost_or_doubled_and_every_chunk_fits(transcript: Transcript, budget: int) -> None:
    chunks = chunks_of(transcript, budget)

    assert words_of(*(chunk.transcript for chunk in chunks)) == words_of(transcript)
    assert [(chunk.number, chunk.of) for chunk in chunks] == [(n, len(chunks)) for n in range(1, len(chunks) + 1)]
    for chunk in chunks:
        assert tokens_of("\n".join(map(line_of, chunk.transcript.segments))) <= budget
        assert fits(chunk.transcript, budget)
        assert 0 <= chunk.start <= chunk.end <= transcript.duration_s
    assert all(one.start <= other.start for one, other in pairwise(chunks))
    if fits(transcript, budget):
        assert len(chunks) == bool(words_of(transcript))


@given(transcript=_transcripts(), budget=st.integers(LEAST_TOKENS, 3_000))
def test_segments_that_fit_stay_whole(transcript: Transcript, budget: int) -> None:
    kept = [segment for chunk in chunks_of(transcript, budget) for segment in chunk.transcript.segments]
    for segment in transcript.segments:
        if line_of(segment) and fits(transcript_of(segment), budget):
            assert segment in kept


@given(transcript=_transcripts(), budget=st.integers(LEAST_TOKENS, 3_000))
def test_the_beginning_is_as_long_as_it_can_be(transcript: Transcript, budget: int) -> None:
    beginning = beginning_of(transcript, budget)
    assert words_of(transcript).startswith(words_of(beginning))
    assert fits(beginning, budget)
    assert (words_of(beginning) == words_of(transcript)) is fits(transcript, budget)
    if words_of(transcript):
        assert beginning.segments, "a model is never shown nothing"


def test_a_chunk_is_of_the_whole_in_all_but_its_segments() -> None:
    whole = a_minute_each(*["x" * 1_200] * 4)
    chunks = chunks_of(whole, BUDGET)
    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 60), (60, 120), (120, 180), (180, 240)]
    assert {(chunk.transcript.duration_s, chunk.transcript.language) for chunk in chunks} == {(240.0, "en")}
    assert all(chunk.transcript.notes == () for chunk in chunks)
    assert len({chunk.transcript.content_hash for chunk in chunks} | {whole.content_hash}) == 5, "no key of another's"


LINE = "x" * 160
STOP = "x" * 159 + "."


@pytest.mark.parametrize(
    ("transcript", "first"),
    [
        # Twenty lines of about 46 tokens are two chunks of ten, if nothing speaks for another place.
        pytest.param(a_minute_each(*[LINE] * 20), 10, id="the middle"),
        pytest.param(a_minute_each(*[LINE] * 8, STOP, *[LINE] * 11), 9, id="the end of a sentence"),
        pytest.param(a_minute_each(*[LINE] * 8, STOP, *[LINE] * 11, pause_after=9), 10, id="rather a pause"),
        pytest.param(
            a_minute_each(*[LINE] * 8, STOP, *[LINE] * 11, pause_after=9, speakers="A" * 8 + "B" * 12),
            8,
            id="rather another speaker",
        ),
        pytest.param(a_minute_each(*[LINE] * 20, pause_after=4), 10, id="nothing too early"),
    ],
)
def test_a_chunk_ends_at_the_best_place(transcript: Transcript, first: int) -> None:
    chunks = chunks_of(transcript, 620)
    assert [len(chunk.transcript.segments) for chunk in chunks] == [first, 20 - first]


def test_a_segment_that_is_too_long_is_cut_after_sentences() -> None:
    sentence = "So the garden needs water again. "
    chunks = chunks_of(transcript_of(Segment(start=0, end=600, text=sentence * 150)), BUDGET)
    assert len(chunks) > 2
    assert all(chunk.transcript.segments[-1].text.endswith("again.") for chunk in chunks)
    assert [chunk.start for chunk in chunks[1:]] == pytest.approx([chunk.end for chunk in chunks[:-1]], abs=1)


def test_three_hours_of_talk_are_chunks_for_a_small_model() -> None:
    # 150 words a minute, a segment every six seconds.
    said = " ".join(["garden"] * 14) + " end."
    talk = transcript_of(*(Segment(start=6.0 * at, end=6.0 * at + 6, text=said) for at in range(1_800)))
    assert len(chunks_of(talk, 6_000)) in range(9, 14)


@pytest.mark.parametrize(
    ("name", "tokens"), [("app-release", 939), ("demenagement", 727), ("sommerfest", 718), ("toshokan", 589)]
)
def test_tokens_are_about_those_of_a_tokenizer(name: str, tokens: int) -> None:
    """``tokens`` are what the tokenizer of Whisper's multilingual models gives for the transcript."""
    meeting = json.loads((MEETINGS / f"{name}.json").read_text())
    lines = "\n".join(line_of(Segment(**segment)) for segment in meeting["segments"])
    assert 0.9 <= tokens_of(lines) / tokens <= 1.2


@given(text=st.text(), tokens=st.integers(0, 50))
def test_a_shortened_text_is_as_long_as_fits(text: str, tokens: int) -> None:
    short = shortened(text, tokens)
    assert text.startswith(short)
    assert tokens_of(short) <= tokens
    assert short == text or tokens_of(text[: len(short) + 1]) > tokens
