# ruff: noqa: RUF001 - the punctuation of many scripts
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.models import Segment
from bot.core.rendering import spoken_line
from bot.core.sentences import MAX_CHARS, sentences_of


def said(*texts: str, gap: float = 0.0, speakers: tuple[str | None, ...] = ()) -> list[Segment]:
    """Segments of two seconds, ``gap`` seconds apart."""
    return [
        Segment(
            start=at * (2 + gap),
            end=at * (2 + gap) + 2,
            speaker=speakers[at] if speakers else None,
            text=text,
        )
        for at, text in enumerate(texts)
    ]


def texts(*said_: str) -> list[str]:
    return [sentence.text for sentence in sentences_of(said(*said_))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("今日は会議です。明日は？はい！", ["今日は会議です。", "明日は？", "はい！"]),
        ("彼は「行く。」と言った。", ["彼は「行く。」", "と言った。"]),
        ("هل هذا جيد؟ نعم.", ["هل هذا جيد؟", "نعم."]),
        ("यह अच्छा है। हाँ।", ["यह अच्छा है।", "हाँ।"]),
        ("It costs 3.5 million at example.com today. Yes.", ["It costs 3.5 million at example.com today.", "Yes."]),
        (
            "Mr. Smith met Dr. J. Jones of the U.S. Army. He left.",
            ["Mr. Smith met Dr. J. Jones of the U.S. Army.", "He left."],
        ),
        ("Well... maybe approx. five. Good.", ["Well... maybe approx. five.", "Good."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("What?! No!", ["What?!", "No!"]),
        ("", []),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_a_sentence_goes_on_over_segments() -> None:
    found = sentences_of(said("We start", "at ten. Then", "we eat."))

    assert [(sentence.text, sentence.start, sentence.end) for sentence in found] == [
        ("We start at ten.", 0.0, 3.167),
        ("Then we eat.", 3.333, 6.0),
    ]


def test_a_pause_and_another_speaker_end_a_sentence() -> None:
    assert [sentence.text for sentence in sentences_of(said("We start", "at ten", gap=2.0))] == ["We start", "at ten"]
    found = sentences_of(said("We start", "at ten", speakers=("Ann", "Bo")))
    assert [(sentence.speaker, sentence.text) for sentence in found] == [("Ann", "We start"), ("Bo", "at ten")]


def test_what_has_no_end_is_cut_after_a_comma_or_a_space() -> None:
    first, second = texts("word " * 40 + "comma, " + "word " * 40)

    assert first.endswith("comma,")
    assert second == ("word " * 40).strip()
    assert [len(text) for text in texts("字" * 700)] == [300, 300, 100]


@given(st.lists(st.tuples(st.text(max_size=80), st.none() | st.just("Ann")), max_size=8))
def test_no_word_is_lost_and_times_go_forward(spoken: list[tuple[str, str | None]]) -> None:
    segments = said(*(text for text, _ in spoken), speakers=tuple(speaker for _, speaker in spoken))

    found = sentences_of(segments)

    def squeezed(parts: list[str]) -> str:
        return "".join("".join(parts).split())

    assert squeezed([sentence.text for sentence in found]) == squeezed([spoken_line(text) for text, _ in spoken])
    assert all(0 < len(sentence.text) <= MAX_CHARS for sentence in found)
    starts = [sentence.start for sentence in found]
    assert starts == sorted(starts)
    assert all(sentence.start <= sentence.end for sentence in found)


@pytest.mark.parametrize(
    "hostile", ["." * 200_000, ".x" * 100_000, "?!" * 100_000 + "x", "a." * 100_000, ", " * 100_000]
)
def test_no_text_takes_long(hostile: str) -> None:
    started = time.process_time()

    sentences_of(said(hostile))

    assert time.process_time() - started < 5
