from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.models import Note, NoteKey, Segment
from bot.core.transcripts import (
    SEGMENT_S,
    Confidence,
    Word,
    compression_ratio,
    has_loop,
    is_believable,
    is_doubtful,
    is_squeezed,
    is_truncated,
    notes_on,
    segments_of,
    settle_language,
)

SURE = Confidence(no_speech=0.02, logprob=-0.2, seconds=10)
SPOKEN = "And so, my fellow Americans, ask not what your country can do for you."
LOOP = "I will put up the posters. " * 12


def spoken(*words: str, pace: float = 0.4, start: float = 0.0) -> list[Word]:
    return [
        Word(text=f" {word}", start=start + pace * at, end=start + pace * at + 0.75 * pace)
        for at, word in enumerate(words)
    ]


def texts(words: list[Word]) -> list[str]:
    return [segment.text for segment in segments_of(words)]


def test_plain_speech_is_believed() -> None:
    assert is_believable(SPOKEN, SURE)
    assert not is_doubtful(SPOKEN, SURE)


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("you", Confidence(no_speech=0.68, logprob=-1.3, seconds=10)),
        ("Thank you.", Confidence(no_speech=0.93, logprob=-1.24, seconds=10)),
        ("I don't know.", Confidence(no_speech=0.63, logprob=-1.69, seconds=10)),
        ("", SURE),
        (". . .", SURE),
        ("♪", SURE),
        (LOOP, Confidence(no_speech=0.01, logprob=-0.05, seconds=10)),
        (LOOP, Confidence(no_speech=0.01, logprob=-0.05, seconds=30, complete=False)),
        (LOOP, Confidence(no_speech=0.01, logprob=-0.6, seconds=30)),
        ("Thanks for watching!", Confidence(no_speech=0.1, logprob=-0.6, seconds=10)),
        ("Thanks for watching!", Confidence(no_speech=0.4, logprob=-0.1, seconds=10)),
        ("Продолжение следует...", Confidence(no_speech=0.5, logprob=-0.3, seconds=10)),
        ("Woo! Woo! Woo! Woo! Woo!", Confidence(no_speech=0.79, logprob=-0.99, seconds=10)),
        ("half a sentence that never", Confidence(no_speech=0.1, logprob=-1.2, seconds=10, complete=False)),
    ],
)
def test_inventions_are_not_believed(text: str, confidence: Confidence) -> None:
    assert not is_believable(text, confidence)


@pytest.mark.parametrize("text", ["Thank you.", "Okay.", "You", "Bye-bye."])
def test_short_answers_are_believed_when_the_model_is_sure(text: str) -> None:
    assert is_believable(text, SURE)


def test_a_mumbled_sentence_is_believed_rather_than_lost() -> None:
    assert is_believable("The hose has a crack.", Confidence(no_speech=0.3, logprob=-1.1, seconds=10))


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        (LOOP, SURE),
        ("The hose has a crack.", Confidence(no_speech=0.3, logprob=-1.1, seconds=10)),
        ("an end that did not come", Confidence(no_speech=0.1, logprob=-0.3, seconds=10, complete=False)),
        ("no no no no no no", Confidence(no_speech=0.5, logprob=-0.2, seconds=10)),
    ],
)
def test_doubtful_text_is_tried_again(text: str, confidence: Confidence) -> None:
    assert is_doubtful(text, confidence)


@pytest.mark.parametrize("text", [f"{SPOKEN} " * 3, "No, no, no, no, no!"])
def test_people_may_repeat_themselves(text: str) -> None:
    confidence = Confidence(no_speech=0.02, logprob=-0.2, seconds=20)
    assert is_believable(text, confidence)
    assert not is_doubtful(text, confidence)


def test_silence_is_not_tried_again() -> None:
    assert not is_doubtful("you", Confidence(no_speech=0.9, logprob=-1.9, seconds=10))


@pytest.mark.parametrize(
    "text", ["no no no no no", "a b a b a b a b", "we go on and on " * 4, "So, you know, you know, you know, you know."]
)
def test_loops_are_found(text: str) -> None:
    assert has_loop(text)


@pytest.mark.parametrize(
    "text", ["", "no", "no, no, no", SPOKEN, "bye bye bye bye", "that that is is that that is not"]
)
def test_speech_is_not_taken_for_a_loop(text: str) -> None:
    assert not has_loop(text)


def test_repetition_compresses_well() -> None:
    assert compression_ratio(LOOP) > 2.4 > compression_ratio(SPOKEN)


def test_the_language_with_the_largest_sum_wins() -> None:
    detections = [{"de": 0.4, "nl": 0.45}, {"de": 0.6, "nl": 0.1}]
    assert settle_language(detections) == ("de", pytest.approx(0.5))


def test_a_language_needs_a_detection() -> None:
    with pytest.raises(ValueError, match="no detection"):
        settle_language([])


def test_sentences_become_segments() -> None:
    words = spoken("We", "have", "a", "long", "list.", "The", "ladder", "was", "away", "again.")
    assert texts(words) == ["We have a long list.", "The ladder was away again."]


def test_a_short_sentence_stays_with_the_next() -> None:
    assert texts(spoken("Yes.", "The", "hose", "has", "a", "crack.")) == ["Yes. The hose has a crack."]


def test_an_abbreviation_does_not_end_a_segment() -> None:
    words = spoken("There", "is", "the", "shed", "of", "Mr.", "Parker", "to", "fetch.")
    assert texts(words) == ["There is the shed of Mr. Parker to fetch."]


def test_a_pause_ends_a_segment() -> None:
    words = spoken("well") + spoken("let", "us", "see", start=3.0)
    assert texts(words) == ["well", "let us see"]


def test_a_sentence_without_end_is_cut_at_a_comma() -> None:
    words = spoken(*(["word"] * 19), "word,", *(["word"] * 30))
    segments = list(segments_of(words))
    assert segments[0].text.endswith("word,")
    assert segments[0].text.count("word") == 20
    assert all(segment.end - segment.start <= SEGMENT_S for segment in segments)


def test_scripts_without_spaces_are_cut_at_their_own_full_stop() -> None:
    words = [
        Word(text=sign, start=at * 0.3, end=at * 0.3 + 0.3) for at, sign in enumerate("今日は庭の話。道具もある。")
    ]
    assert texts(words) == ["今日は庭の話。", "道具もある。"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "list.", "and,", "St.", "?", "。", "…”"]),
            st.floats(0, 3),
            st.floats(0, 2),
        ),
        max_size=60,
    )
)
def test_no_word_is_lost_and_times_stay_in_order(parts: list[tuple[str, float, float]]) -> None:
    words: list[Word] = []
    now = 0.0
    for text, pause, length in parts:
        words.append(Word(text=f" {text}", start=now + pause, end=now + pause + length))
        now += pause + length
    segments = list(segments_of(words))
    assert " ".join(segment.text for segment in segments).split() == [text for text, _, _ in parts]
    assert all(segment.start <= segment.end for segment in segments)
    assert all(one.start <= other.start for one, other in pairwise(segments))
    assert all(segment.end - segment.start <= SEGMENT_S + 0.02 for segment in segments)


@pytest.mark.parametrize(
    ("seconds", "text", "squeezed"),
    [(1.4, f"{SPOKEN}", True), (4.0, SPOKEN, False), (0.0, "Yes, of course.", False), (0.0, SPOKEN, True)],
)
def test_a_sentence_said_in_no_time_was_not_said(seconds: float, text: str, squeezed: bool) -> None:
    assert is_squeezed(Segment(start=5, end=5 + seconds, text=text)) is squeezed


SAID = (Segment(start=0, end=1, text="Hello."),)


def notes(
    *, segments: tuple[Segment, ...] = SAID, probability: float = 0.9, declared_s: float | None = None
) -> tuple[Note, ...]:
    return notes_on(segments=segments, language="de", probability=probability, decoded_s=19.2, declared_s=declared_s)


def test_a_sound_transcript_has_no_notes() -> None:
    assert notes() == ()


def test_a_truncated_file_is_said_to_be_truncated() -> None:
    (note,) = notes(declared_s=67.0)
    assert note == Note(key=NoteKey.TRUNCATED, values={"decoded_s": 19.2, "declared_s": 67.0})


def test_an_unsure_language_is_named() -> None:
    (note,) = notes(probability=0.341)
    assert note == Note(key=NoteKey.LANGUAGE_UNSURE, values={"language": "de", "probability": 0.34})


def test_silence_is_noted_and_its_language_is_not() -> None:
    (note,) = notes(segments=(), probability=0.1)
    assert note.key is NoteKey.NO_SPEECH


@pytest.mark.parametrize(
    ("decoded", "declared", "truncated"),
    [(10.0, 10.9, False), (10.0, 11.1, True), (96.0, 100.0, False), (94.0, 100.0, True), (12.0, 10.0, False)],
)
def test_what_counts_as_truncated(decoded: float, declared: float, truncated: bool) -> None:
    assert is_truncated(decoded, declared) is truncated
