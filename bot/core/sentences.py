"""A transcript's sentences: Whisper's segments end where the model paused, not where a sentence does."""
# ruff: noqa: RUF001 - the punctuation of many scripts

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.core.rendering import spoken_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bot.core.models import Segment

MAX_CHARS = 300
"""Where a sentence without an end is cut; some languages, and some models, do without punctuation."""

PAUSE_S = 2.0
"""A silence after which a new sentence begins, punctuation or not."""

# Ends that stand alone in scripts without spaces, and those that only end a sentence before a space or at the end:
# "3.5" and "example.com" go on. Closing quotes and brackets belong to the sentence before them. The look behind and
# the possessive quantifiers keep a long run of dots from taking quadratic time.
_END = re.compile(
    r"[。！？｡]++[」』”’）)\"']*+|(?<![.…!?؟۔।॥։።፧၊။។])[.…!?؟۔।॥։።፧၊။។]++[”’»)\"'\]]*+(?=\s|$)",
)

# A full stop after these is no end: initials ("J. Smith", "U.S."), and short forms that come before a name or a figure.
_NO_END = re.compile(r"(?:^|[\s.(])(?:\w|mr|mrs|ms|dr|st|prof|vs|etc|no|nr|bzw|sr|sra|mme)\.$", re.IGNORECASE)
_LONGEST_NO_END = 6

_SOFT_BREAK = re.compile(r"[,;:،、，；]\s*|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence in one line and when it was said; ``speaker`` is None where speakers are not told apart."""

    start: float
    end: float
    speaker: str | None
    text: str


def sentences_of(segments: Sequence[Segment]) -> list[Sentence]:
    """Join ``segments`` and cut them where sentences end, where the speaker changes and at pauses.

    Within a segment, a sentence's time is estimated from its place among the characters.
    """
    found: list[Sentence] = []
    for stretch in _stretches(segments):
        found.extend(stretch.sentences())
    return found


def _stretches(segments: Sequence[Segment]) -> Iterator[_Stretch]:
    stretch: _Stretch | None = None
    for segment in segments:
        text = spoken_line(segment.text)
        if not text:
            continue
        if stretch is not None and not stretch.goes_on_with(segment):
            yield stretch
            stretch = None
        if stretch is None:
            stretch = _Stretch(segment.speaker)
        stretch.add(segment, text)
    if stretch is not None:
        yield stretch


class _Stretch:
    """Segments of one speaker without a pause, as one text in which every character has a time."""

    def __init__(self, speaker: str | None) -> None:
        self._speaker = speaker
        self._parts: list[tuple[int, int, float, float]] = []
        self._texts: list[str] = []
        self._length = 0

    def goes_on_with(self, segment: Segment) -> bool:
        """Whether ``segment`` belongs to it."""
        return segment.speaker == self._speaker and segment.start - self._parts[-1][3] < PAUSE_S

    def add(self, segment: Segment, text: str) -> None:
        """Append ``segment``, whose text in one line is ``text``."""
        if self._texts:
            self._length += 1  # the space between
        self._parts.append((self._length, self._length + len(text), segment.start, max(segment.start, segment.end)))
        self._texts.append(text)
        self._length += len(text)

    def sentences(self) -> Iterator[Sentence]:
        """Its sentences, in order."""
        text = " ".join(self._texts)
        part = 0
        for begin, end in _spans(text):
            part = self._part_at(begin, part)
            start_s = self._time(part, begin)
            part = self._part_at(end - 1, part)
            yield Sentence(start=start_s, end=self._time(part, end), speaker=self._speaker, text=text[begin:end])

    def _part_at(self, place: int, part: int) -> int:
        while part + 1 < len(self._parts) and self._parts[part + 1][0] <= place:
            part += 1
        return part

    def _time(self, part: int, place: int) -> float:
        begin, end, start_s, end_s = self._parts[part]
        return round(start_s + (end_s - start_s) * min(1.0, (place - begin) / (end - begin)), 3)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of every sentence in ``text``, none longer than `MAX_CHARS`."""
    begin = 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match, begin):
            yield from _pieces(text, begin, match.end())
            begin = match.end()
    yield from _pieces(text, begin, len(text))


def _ends_sentence(text: str, match: re.Match[str], begin: int) -> bool:
    end = match.end()
    if match[0].strip(".…"):
        return True
    if text[end + 1 : end + 2].islower():  # "approx. five", "well... yes"
        return False
    return not _NO_END.search(text, max(begin, end - _LONGEST_NO_END), end)


def _pieces(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without white space around it, cut where it is too long: after a comma, else at a space."""
    while True:
        while begin < end and text[begin].isspace():
            begin += 1
        if begin >= end:
            return
        if end - begin <= MAX_CHARS:
            yield begin, end
            return
        cut = _last_break(text, begin + MAX_CHARS // 2, begin + MAX_CHARS)
        yield begin, begin + len(text[begin:cut].rstrip())
        begin = cut


def _last_break(text: str, earliest: int, latest: int) -> int:
    breaks = list(_SOFT_BREAK.finditer(text, earliest, latest))
    commas = [match for match in breaks if not match[0].isspace()]
    return (commas or breaks)[-1].end() if breaks else latest
