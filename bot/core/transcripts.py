"""What is believed of what a speech model says, and how words become segments.

Everything here works on plain numbers and texts; it knows no model. The thresholds on probability and compression are
those of the paper that introduced Whisper (Radford et al., 2022, "Robust Speech Recognition via Large-Scale Weak
Supervision", section 4.5); the rest was chosen on recordings of silence, noise and tones.
"""
# ruff: noqa: RUF001 -- the punctuation of many scripts

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.core.models import Note, NoteKey, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

UNDETERMINED = "und"
"""The language of a recording in which nothing was said (ISO 639-2)."""

MAX_COMPRESSION = 2.4
"""Text that compresses better than this repeats itself."""
MIN_LOGPROB = -1.0
"""Mean log probability of a token below which a text is a guess."""
MAX_NO_SPEECH = 0.6
"""Probability of silence above which a guess is an invention."""

MAX_CHARS_PER_S = 30.0
"""Nobody speaks faster: a fast reader of English makes 20."""
_SQUEEZED_CHARS_PER_S = 45.0
_MIN_SQUEEZED_CHARS = 25
"""A few letters may well be put at one moment by the alignment."""

_UNSURE_LOGPROB = -0.55
_UNSURE_NO_SPEECH = 0.35
_MIN_LOOP_REPEATS = 4
_MAX_LOOP_WORDS = 8

SURE_OF_LANGUAGE = 0.5

SEGMENT_S = 12.0
"""A segment that is longer is cut at a comma or between words."""
PAUSE_S = 1.2
"""Silence between two words that always ends a segment."""
_SENTENCE_END = re.compile(r"[.!?…。！？｡]['\"”’)\]]*$")
_CLAUSE_END = re.compile(r"[,;:—、，；：،]['\"”’)\]]*$")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:mr|mrs|ms|dr|prof|st|vs|etc|[a-z])\.$", re.IGNORECASE)
_MIN_SENTENCE_S = 1.0

# What Whisper says of noise: it learned from subtitles, and these are what subtitles say while nobody speaks.
_INVENTIONS = frozenset(
    {
        "you",
        "bye",
        "bye bye",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thank you for watching",
        "thanks for watching",
        "thanks for watching everyone",
        "thank you for listening",
        "please subscribe",
        "please subscribe to my channel",
        "like and subscribe",
        "subscribe",
        "see you next time",
        "see you in the next video",
        "subtitles by the amara org community",
        "the end",
        "silence",
        "music",
        "applause",
        "i m sorry",
        "oh",
        "so",
        "okay",
        "untertitel der amara org community",
        "untertitelung des zdf 2020",
        "vielen dank",
        "vielen dank für s zuschauen",
        "sous titres réalisés par la communauté d amara org",
        "sous titrage st 501",
        "merci d avoir regardé cette vidéo",
        "subtítulos realizados por la comunidad de amara org",
        "gracias por ver el video",
        "sottotitoli creati dalla comunità amara org",
        "legendas pela comunidade amara org",
        "продолжение следует",
        "субтитры сделал dimatorzok",
        "ご視聴ありがとうございました",
        "字幕由amara org社区提供",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "시청해주셔서 감사합니다",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word as the model wrote it, with the space before it; times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """How sure a model was of a stretch of text.

    ``no_speech`` is its probability that nobody speaks, ``logprob`` the mean natural logarithm of its tokens'
    probabilities, ``seconds`` the length of what it listened to, ``complete`` whether it came to an end by itself.
    """

    no_speech: float
    logprob: float
    seconds: float
    complete: bool = True

    @property
    def unsure(self) -> bool:
        """Whether there is reason to look at the text twice."""
        return self.logprob < _UNSURE_LOGPROB or self.no_speech > _UNSURE_NO_SPEECH


def compression_ratio(text: str) -> float:
    """Bytes of ``text`` for each byte of its deflated form; repetition makes it large."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def is_doubtful(text: str, confidence: Confidence) -> bool:
    """Say whether another attempt at the same audio is worth its time."""
    if _is_silence(confidence):
        return False
    return confidence.logprob < MIN_LOGPROB or is_stuck(text, confidence)


def is_believable(text: str, confidence: Confidence) -> bool:
    """Say whether ``text`` was said, rather than invented on silence, noise or music."""
    words = _words(text)
    if not words or _is_silence(confidence) or _repeats_itself(text, confidence):
        return False
    if confidence.logprob < MIN_LOGPROB and not confidence.complete:
        return False
    return not (confidence.unsure and " ".join(words) in _INVENTIONS)


def is_stuck(text: str, confidence: Confidence) -> bool:
    """Say whether the model came to no end, or repeats itself."""
    return not _is_silence(confidence) and (not confidence.complete or _repeats_itself(text, confidence))


def _repeats_itself(text: str, confidence: Confidence) -> bool:
    """Say whether the model repeats itself, rather than a speaker.

    People do say things twice. A model that is stuck comes to no end, or says more than anybody could in that time, or
    has noise to go by.
    """
    if compression_ratio(text) <= MAX_COMPRESSION and not has_loop(text):
        return False
    too_fast = len(text) > MAX_CHARS_PER_S * confidence.seconds
    return not confidence.complete or too_fast or confidence.unsure


def has_loop(text: str) -> bool:
    """Say whether up to eight words are repeated, four times in a row or more, for most of the text."""
    words = _words(text)
    for length in range(1, min(_MAX_LOOP_WORDS, len(words) // _MIN_LOOP_REPEATS) + 1):
        run = longest = 0
        for index in range(length, len(words)):
            run = run + 1 if words[index] == words[index - length] else 0
            longest = max(longest, run)
        repeated = longest + length
        if repeated >= length * _MIN_LOOP_REPEATS and 2 * repeated > len(words) and repeated > _MIN_LOOP_REPEATS:
            return True
    return False


def _is_silence(confidence: Confidence) -> bool:
    return confidence.no_speech > MAX_NO_SPEECH and confidence.logprob < MIN_LOGPROB


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def settle_language(detections: Sequence[Mapping[str, float]]) -> tuple[str, float]:
    """Choose the language whose probability, summed over several windows, is largest; give its mean probability.

    Raises:
        ValueError: there is not one detection.
    """
    if not detections:
        raise ValueError("no detection")
    languages = {language for detection in detections for language in detection}
    means = {each: sum(found.get(each, 0.0) for found in detections) / len(detections) for each in languages}
    best = max(means, key=lambda each: (means[each], each))
    return best, min(means[best], 1.0)


def segments_of(words: Iterable[Word]) -> Iterator[Segment]:
    """Cut words into sentences.

    A sentence that is longer than `SEGMENT_S` is cut where a clause ends, or where it must; a pause of `PAUSE_S` always
    cuts; a sentence under a second stays with the next one.
    """
    pending: list[Word] = []
    for word in words:
        if pending and _is_cut(pending, word):
            cut = len(pending) if not _overlong(pending, word) else _clause_end(pending)
            yield _segment(pending[:cut])
            pending = pending[cut:]
        pending.append(word)
    if pending:
        yield _segment(pending)


def _is_cut(pending: Sequence[Word], word: Word) -> bool:
    last = pending[-1]
    if word.start - last.end >= PAUSE_S or _overlong(pending, word):
        return True
    if not _SENTENCE_END.search(last.text) or _ABBREVIATION.search(last.text):
        return False
    return last.end - pending[0].start >= _MIN_SENTENCE_S


def _overlong(pending: Sequence[Word], word: Word) -> bool:
    return word.start - pending[-1].end < PAUSE_S and word.end - pending[0].start > SEGMENT_S


def _clause_end(pending: Sequence[Word]) -> int:
    """Give the number of words up to the last clause's end, or all of them."""
    for count in range(len(pending), len(pending) // 3, -1):
        if _CLAUSE_END.search(pending[count - 1].text) or _SENTENCE_END.search(pending[count - 1].text):
            return count
    return len(pending)


def is_squeezed(segment: Segment) -> bool:
    """Say whether a sentence was said in no time: one too many, for which the alignment found no sound."""
    length = len(segment.text)
    return length >= _MIN_SQUEEZED_CHARS and length > _SQUEEZED_CHARS_PER_S * (segment.end - segment.start)


def _segment(words: Sequence[Word]) -> Segment:
    start = max(words[0].start, 0.0)
    return Segment(
        start=round(start, 2),
        end=round(max(words[-1].end, start), 2),
        text="".join(word.text for word in words).strip(),
    )


def notes_on(
    *,
    segments: Sequence[Segment],
    language: str,
    probability: float,
    decoded_s: float,
    declared_s: float | None,
) -> tuple[Note, ...]:
    """Say what a member should know about a transcript. Durations are in seconds."""
    notes: list[Note] = []
    if declared_s is not None and is_truncated(decoded_s, declared_s):
        values: dict[str, str | float] = {"decoded_s": round(decoded_s, 1), "declared_s": round(declared_s, 1)}
        notes.append(Note(key=NoteKey.TRUNCATED, values=values))
    if not segments:
        notes.append(Note(key=NoteKey.NO_SPEECH))
    elif probability < SURE_OF_LANGUAGE:
        values = {"language": language, "probability": round(probability, 2)}
        notes.append(Note(key=NoteKey.LANGUAGE_UNSURE, values=values))
    return tuple(notes)


def is_truncated(decoded_s: float, declared_s: float) -> bool:
    """Say whether more is missing than codecs and containers disagree on: a second, or a twentieth."""
    return decoded_s < declared_s - max(1.0, 0.05 * declared_s)
