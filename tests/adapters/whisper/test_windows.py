from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.whisper import speech
from bot.adapters.whisper.speech import Samples, windows_of
from bot.adapters.whisper.windows import FIRST_WINDOW_S, FRAME, MAX_WINDOW_S, Span, Window, find_speech, pack, pad
from bot.core.models import SAMPLE_RATE

LIMIT = round(MAX_WINDOW_S * SAMPLE_RATE)


def frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / FRAME)


def curve(*parts: tuple[float, float]) -> list[float]:
    """Probabilities, from pairs of seconds and a value."""
    return [value for seconds, value in parts for _ in range(frames(seconds))]


def seconds(spans: list[Span]) -> list[tuple[float, float]]:
    return [(round(span.start / SAMPLE_RATE, 1), round(span.end / SAMPLE_RATE, 1)) for span in spans]


def test_speech_is_found_between_silences() -> None:
    found = list(find_speech(curve((1, 0.0), (2, 0.9), (1, 0.05), (3, 0.8), (1, 0.0))))
    assert seconds(found) == [(1.0, 3.0), (4.0, 7.0)]


def test_a_breath_does_not_end_speech() -> None:
    assert seconds(list(find_speech(curve((1, 0.9), (0.2, 0.05), (1, 0.9), (1, 0.0))))) == [(0.0, 2.2)]


def test_speech_fades_out_through_the_middle_of_the_scale() -> None:
    assert seconds(list(find_speech(curve((1, 0.9), (1, 0.15), (1, 0.9), (1, 0.0))))) == [(0.0, 3.0)]


def test_a_click_is_no_speech() -> None:
    assert list(find_speech([0.0] * 50 + [0.9] + [0.0] * 50)) == []


def test_speech_up_to_the_end_is_found() -> None:
    assert seconds(list(find_speech(curve((1, 0.0), (1, 0.9))))) == [(1.0, 2.0)]


def test_a_long_monologue_is_cut_where_it_is_quietest() -> None:
    found = list(find_speech(curve((20, 0.9), (0.2, 0.5), (20, 0.9), (1, 0.0))))
    assert seconds(found) == [(0.0, 20.1), (20.1, 40.2)]


def test_padding_does_not_reach_over_the_ends() -> None:
    (padded,) = pad([Span(start=100, end=SAMPLE_RATE)], total=SAMPLE_RATE + 50)
    assert padded == Span(start=0, end=SAMPLE_RATE + 50)


def test_neighbours_share_the_silence_between_them() -> None:
    one, other = pad([Span(start=0, end=16_000), Span(start=20_000, end=30_000)], total=40_000)
    assert one.end == other.start == 18_000


def test_windows_are_given_before_all_is_known() -> None:
    def spans() -> list[Span]:
        return [Span(start=at * LIMIT, end=at * LIMIT + LIMIT // 2) for at in range(4)]

    asked = iter(spans())
    first = next(pack(asked))
    assert first.end == spans()[1].end
    assert len(list(asked)) == 1, "one span was looked ahead at, no more"


def test_a_window_ends_at_the_longest_silence_that_leaves_it_well_filled() -> None:
    second = SAMPLE_RATE
    spans = [Span(start=0, end=2 * second), Span(start=12 * second, end=33 * second)]
    spans += [Span(start=37 * second, end=42 * second), Span(start=43 * second, end=50 * second)]
    assert [len(window.spans) for window in pack(spans)] == [2, 2]


def test_a_window_does_not_wait_for_what_comes_minutes_later() -> None:
    second = SAMPLE_RATE
    spans = [Span(start=0, end=2 * second), Span(start=15 * second, end=16 * second)]
    spans.append(Span(start=300 * second, end=301 * second))
    assert [len(window.spans) for window in pack(spans)] == [2, 1]


def test_times_are_mapped_back_piecewise() -> None:
    window = Window(spans=(Span(start=16_000, end=32_000), Span(start=160_000, end=192_000)))
    assert window.interval(0.2, 0.6) == pytest.approx((1.2, 1.6))
    assert window.interval(1.5, 2.0) == pytest.approx((10.5, 11.0))


def test_no_word_reaches_over_a_silence_that_was_cut_out() -> None:
    window = Window(spans=(Span(start=16_000, end=32_000), Span(start=160_000, end=192_000)))
    assert window.interval(0.5, 1.2) == pytest.approx((1.5, 2.0))
    assert window.interval(0.9, 1.9) == pytest.approx((10.0, 10.9))


def test_times_past_the_end_are_brought_back() -> None:
    window = Window(spans=(Span(start=16_000, end=32_000),))
    assert window.interval(0.9, 5.0) == (pytest.approx(1.9), 2.0)


def test_a_window_can_be_moved() -> None:
    assert Window(spans=(Span(start=0, end=5),)).moved(10) == Window(spans=(Span(start=10, end=15),))


def test_a_short_first_window_is_there_soon() -> None:
    talk = curve((9, 0.9), (0.5, 0.0), (50, 0.9))
    spans = list(find_speech(talk))
    first, *others = pack(pad(iter(spans), total=len(talk) * FRAME), first_s=FIRST_WINDOW_S)
    assert 8 < first.duration_s <= FIRST_WINDOW_S
    assert any(window.duration_s > FIRST_WINDOW_S for window in others)


def test_a_long_sentence_is_not_cut_for_it() -> None:
    talk = curve((15, 0.9), (0.5, 0.0), (20, 0.9))
    first, *_ = pack(pad(find_speech(talk), total=len(talk) * FRAME), first_s=FIRST_WINDOW_S)
    assert 15 < first.duration_s < 16


@pytest.mark.parametrize(("length_s", "longest"), [(50, MAX_WINDOW_S), (70, FIRST_WINDOW_S)])
def test_only_a_long_recording_has_one(length_s: int, longest: float, monkeypatch: pytest.MonkeyPatch) -> None:

    def all_speech(_samples: Samples, **_: object) -> list[float]:
        return curve(*[(4.5, 0.9), (0.5, 0.0)] * (length_s // 5))

    monkeypatch.setattr(speech, "probabilities", all_speech)
    first = next(windows_of(np.zeros(length_s * SAMPLE_RATE, dtype=np.float32)))
    assert 0.7 * longest < first.duration_s <= longest


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 400)), max_size=25),
    st.sampled_from([FIRST_WINDOW_S, MAX_WINDOW_S]),
)
def test_windows_cover_speech_in_order_and_fit(parts: list[tuple[float, int]], first_s: float) -> None:
    probabilities = [value for value, count in parts for _ in range(count)]
    total = len(probabilities) * FRAME
    said = list(find_speech(probabilities))
    windows = list(pack(pad(iter(said), total=total), first_s=first_s))
    spans = [span for window in windows for span in window.spans]
    assert len(spans) == len(said)
    assert all(window.samples <= LIMIT for window in windows)
    assert all(window.duration_s <= first_s or len(window.spans) == 1 for window in windows[:1])
    assert all(0 <= span.start < span.end <= total for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert all(span.start <= each.start and each.end <= span.end for span, each in zip(spans, said, strict=True))
