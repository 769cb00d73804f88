"""Word error rate, on words alone: case, punctuation and the spelling of numbers do not count."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import jiwer

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_SYNONYMS: Final = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "ok": "okay",
}
_TOKEN: Final = re.compile(r"[a-z']+|\d+(?:st|nd|rd|th)|\d+|[£$%]")
_SYMBOLS: Final = {"£": "pounds", "$": "dollars", "%": "percent"}


def error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    """Edits for each word of the references, all texts together (0 is perfect; it can be more than 1)."""
    return float(jiwer.wer([normalise(text) for text in references], [normalise(text) or "-" for text in heard]))


def normalise(text: str) -> str:
    """Bring ``text`` into the form in which words are compared."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    text = re.sub(r"([£$])\s?(\d+)", r"\2\1", text)  # £40 is read as forty pounds
    words = (word for token in _TOKEN.findall(text) for word in _spell(token))
    return " ".join(word for word in words if word)


def _spell(token: str) -> list[str]:
    if token in _SYMBOLS:
        return [_SYMBOLS[token]]
    if token.isdigit():
        return _cardinal(int(token))
    if token[0].isdigit():
        words = _cardinal(int(token[:-2]))
        return [*words[:-1], _ordinal(words[-1])]
    return [_SYNONYMS.get(token, token).replace("'", "")]


def _cardinal(number: int) -> list[str]:
    if number < len(_ONES):
        return [_ONES[number]]
    if number < 100:
        tens, ones = divmod(number, 10)
        return [_TENS[tens], *(_cardinal(ones) if ones else [])]
    if number < 1_000:
        return _compound(number, 100, "hundred")
    if number < 1_000_000:
        return _compound(number, 1_000, "thousand")
    return [str(number)]


def _compound(number: int, unit: int, name: str) -> list[str]:
    many, rest = divmod(number, unit)
    # British English says "one hundred and fifty"; references and Whisper agree on leaving the "and" to chance.
    return [*_cardinal(many), name, *(_cardinal(rest) if rest else [])]


def _ordinal(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    return f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th"
