from __future__ import annotations

import json
import random
import time
import tracemalloc
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bot.core.extracts import key_sentences
from bot.core.models import Segment  # noqa: TC001 - pydantic needs it
from bot.core.sentences import Sentence, sentences_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = Path(__file__).parents[1] / "data" / "meetings"


class Meeting(BaseModel):
    """A text to sum up. A fact is found where all of its words stand in the extract."""

    language: str
    segments: list[Segment]
    facts: list[list[str]]


def meetings() -> list[Meeting]:
    return [Meeting.model_validate_json(path.read_text()) for path in sorted(TEXTS.glob("*.json"))]


def recall(sentences: Sequence[Sentence], meeting: Meeting) -> float:
    """The share of facts that ``sentences`` hold."""
    text = " ".join(sentence.text for sentence in sentences).casefold()
    return mean(all(word in text for word in fact) for fact in meeting.facts)


def plain(*texts: str) -> list[Sentence]:
    return [Sentence(start=float(at), end=at + 1.0, speaker=None, text=text) for at, text in enumerate(texts)]


def test_the_extract_tells_far_more_than_the_first_sentences_or_any() -> None:
    ours: list[float] = []
    first: list[float] = []
    any_: list[float] = []
    for meeting in meetings():
        sentences = sentences_of(meeting.segments)
        for count in (5, 8):
            ours.append(recall(key_sentences(sentences, count), meeting))
            first.append(recall(sentences[:count], meeting))
            any_.append(mean(recall(random.Random(seed).sample(sentences, count), meeting) for seed in range(100)))
    assert len(ours) == 10
    assert mean(ours) >= 0.6
    assert mean(ours) >= 2 * mean(any_)
    assert mean(ours) >= 3 * mean(first)
    assert all(mine > chance for mine, chance in zip(ours, any_, strict=True))


def test_filler_does_not_win() -> None:
    filler = {"Okay.", "Yeah, yeah.", "Okay, thank you.", "Thank you very much.", "Right, sure, okay.", "Yeah, okay."}
    content = [
        "The budget of the library grows by twelve percent next year.",
        "We will spend most of the library budget on books for children.",
        "The council votes on the budget in the second week of October.",
    ]
    spoken: list[str] = []
    for sentence in content:
        spoken += [*sorted(filler), sentence, *sorted(filler)]

    chosen = key_sentences(plain(*spoken), 3)

    assert [sentence.text for sentence in chosen] == content


def test_nothing_is_said_twice() -> None:
    spoken = plain(
        "We talk about traffic today, nothing else.",
        "Cars wait for ages in the old town.",
        "My neighbour bought another bicycle.",
        "The harbour bridge closes in March, since its northern pillars need repairs.",
        "Traffic moves to the tunnel.",
        "Nobody likes the tunnel much.",
        "As I said, since its northern pillars need repairs, the harbour bridge closes in March.",
        "Buses are full in winter.",
        "Ferries run every ten minutes for free meanwhile.",
        "Somebody asked about parking.",
        "The mayor is on holiday.",
        "Lunch is at noon.",
    )

    bridge, other = sorted(key_sentences(spoken, 2), key=lambda sentence: "bridge" not in sentence.text)

    assert "bridge" in bridge.text
    assert "bridge" not in other.text


def test_a_short_text_is_given_whole() -> None:
    sentences = plain("Okay.", "Fine.", "Okay.")

    assert key_sentences(sentences, 3) == tuple(sentences)
    assert key_sentences([], 3) == ()


@given(st.lists(st.text(max_size=30), max_size=15), st.integers(min_value=1, max_value=10))
def test_whatever_is_said_some_of_it_is_chosen_in_order(texts: list[str], count: int) -> None:
    sentences = plain(*texts)

    chosen = key_sentences(sentences, count)

    assert len(chosen) == min(count, len(texts))
    starts = [sentence.start for sentence in chosen]
    assert starts == sorted(set(starts))
    assert chosen == key_sentences(sentences, count)


@pytest.mark.parametrize("texts", [["...", "!!!", "???"] * 3, ["same words"] * 9, ["ไทย", "ไ", ""] * 4])
def test_texts_without_a_difference_are_no_trouble(texts: list[str]) -> None:
    assert len(key_sentences(plain(*texts), 3)) == 3


def test_four_hours_of_talk_take_no_two_seconds() -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(5_000)]
    sentences = plain(
        *(
            " ".join(words[min(4_999, int(chance.paretovariate(0.6)))] for _ in range(chance.randint(4, 20)))
            for _ in range(6_000)
        )
    )
    started = time.process_time()
    key_sentences(sentences, 20)
    assert time.process_time() - started < 2

    tracemalloc.start()
    key_sentences(sentences, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_the_facts_of_the_texts_stand_in_them() -> None:
    for meeting in meetings():
        assert recall(sentences_of(meeting.segments), meeting) == 1.0, json.dumps(meeting.facts)
