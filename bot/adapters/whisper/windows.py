"""Stretches of speech, and the windows that they are packed into.

Whisper looks at no more than 30 seconds at once. Speech is found by a voice activity detector, the silence between is
cut out, and what is left is packed into windows; times in a window are mapped back through its spans. Everything here
is lazy: the first window is there before the end of the recording was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bot.core.models import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FRAME = 512
"""Samples for which the detector gives one probability."""

MAX_WINDOW_S = 28.0
FIRST_WINDOW_S = 10.0
"""Of a long recording, the first window is shorter, so that there is something to read soon; unless somebody speaks for
longer without a pause: cut in the middle of a sentence, words are lost."""
_SPEECH = 0.2
_SILENCE = 0.1
"""Speech begins above the one and ends below the other.

Silero's own 0.5 and 0.35 lose whole sentences on a noisy telephone. What is taken for speech in vain costs time only:
the text that Whisper makes of it is not believed.
"""
_MIN_SILENCE = round(0.3 * SAMPLE_RATE / FRAME)
_MIN_SPEECH = round(0.1 * SAMPLE_RATE / FRAME)
_PADDING = round(0.4 * SAMPLE_RATE)
_MAX_SPAN = int((MAX_WINDOW_S * SAMPLE_RATE - 2 * _PADDING) / FRAME)
_SMOOTHING = 5
_WELL_FILLED = 0.7
"""Share of a window after which it may end at a silence."""
_MAX_GAP = 20 * SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Samples from ``start`` up to ``end``."""

    start: int
    end: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Spans that are listened to as if they followed each other."""

    spans: tuple[Span, ...]

    @property
    def samples(self) -> int:
        """Samples of all spans together."""
        return sum(span.samples for span in self.spans)

    @property
    def duration_s(self) -> float:
        """Seconds of all spans together."""
        return self.samples / SAMPLE_RATE

    @property
    def end(self) -> int:
        """The first sample after the window."""
        return self.spans[-1].end

    def moved(self, samples: int) -> Window:
        """Give the same window, ``samples`` later."""
        return Window(spans=tuple(Span(start=span.start + samples, end=span.end + samples) for span in self.spans))

    def interval(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Map an interval within the window to seconds of the recording.

        Both ends are put into the span that holds its middle, so that no word reaches over a silence that was cut out.
        """
        middle = (start_s + end_s) / 2 * SAMPLE_RATE
        before = 0
        for span in self.spans[:-1]:
            if middle < before + span.samples:
                break
            before += span.samples
        else:
            span = self.spans[-1]
        shift = span.start - before
        low, high = span.start, span.end
        times = (min(max(time * SAMPLE_RATE + shift, low), high) / SAMPLE_RATE for time in (start_s, end_s))
        return next(times), next(times)


def find_speech(probabilities: Iterable[float]) -> Iterator[Span]:
    """Yield stretches of speech, unpadded, given the probability for each frame.

    A stretch that would not fit into a window is cut where it is most likely quiet.
    """
    history: list[float] = []  # from the frame `start` on
    start = index = -1
    quiet = 0  # frames since speech was last heard
    for index, probability in enumerate(probabilities):
        if start < 0:
            if probability >= _SPEECH:
                start, quiet, history = index, 0, [probability]
            continue
        history.append(probability)
        if probability >= _SPEECH:
            quiet = 0
        elif probability < _SILENCE or quiet:
            quiet += 1
        if quiet >= _MIN_SILENCE:
            end = index + 1 - quiet
            if end - start >= _MIN_SPEECH:
                yield Span(start=start * FRAME, end=end * FRAME)
            start = -1
        elif len(history) >= _MAX_SPAN:
            cut = _quietest(history)
            yield Span(start=start * FRAME, end=(start + cut) * FRAME)
            start, history = start + cut, history[cut:]
            quiet = min(quiet, len(history))
    if start >= 0 and index + 1 - quiet - start >= _MIN_SPEECH:
        yield Span(start=start * FRAME, end=(index + 1 - quiet) * FRAME)


def _quietest(history: Sequence[float]) -> int:
    """Give the index in the second half around which speech is least likely."""
    first = len(history) // 2
    means = [sum(history[at : at + _SMOOTHING]) for at in range(first, len(history) - _SMOOTHING + 1)]
    return first + means.index(min(means)) + _SMOOTHING // 2


def pad(spans: Iterable[Span], *, total: int) -> Iterator[Span]:
    """Widen spans by what surrounds speech; two that would overlap share the silence between them."""
    previous: Span | None = None
    for span in spans:
        widened = Span(start=max(0, span.start - _PADDING), end=min(total, span.end + _PADDING))
        if previous is not None:
            if previous.end > widened.start:
                middle = min(max((previous.end + widened.start) // 2, previous.start), span.start)
                previous, widened = Span(start=previous.start, end=middle), Span(start=middle, end=widened.end)
            yield previous
        previous = widened
    if previous is not None:
        yield previous


def pack(spans: Iterable[Span], *, first_s: float = MAX_WINDOW_S) -> Iterator[Window]:
    """Fill windows of at most `MAX_WINDOW_S`, the first one of at most ``first_s``, with spans in their order.

    A span that is longer than ``first_s`` has the first window for itself.

    A window ends at the longest silence that leaves it well filled, so that sentences stay together, and before any
    that lasts `_MAX_GAP`: what was said is not kept waiting for what comes minutes later.
    """
    held: list[Span] = []
    limit = round(first_s * SAMPLE_RATE)
    for span in spans:
        if held and span.start - held[-1].end > _MAX_GAP:
            yield Window(spans=tuple(held))
            held, limit = [], round(MAX_WINDOW_S * SAMPLE_RATE)
        while held and sum(each.samples for each in held) + span.samples > limit:
            end = _best_end(held, span, well_filled=_WELL_FILLED * limit)
            yield Window(spans=tuple(held[:end]))
            held, limit = held[end:], round(MAX_WINDOW_S * SAMPLE_RATE)
        held.append(span)
    if held:
        yield Window(spans=tuple(held))


def _best_end(held: Sequence[Span], following: Span, *, well_filled: float) -> int:
    """Give how many spans the next window gets; of equal silences the last one ends it."""
    filled = 0
    best, longest = len(held), following.start - held[-1].end
    for count, (span, after) in enumerate(pairwise(held), start=1):
        filled += span.samples
        if filled >= well_filled and after.start - span.end > longest:
            best, longest = count, after.start - span.end
    return best
