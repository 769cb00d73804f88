"""Answers in JSON: how they are found in what a model says, checked, and shown to those who read no JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, cast

from bot.core.json_schemas import DEEPEST, AnswerInvalid
from bot.core.rendering import spoken_line, visible_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bot.core.json_schemas import JsonSchema

MAX_ANSWER_CHARS: Final = 131_072
_MOST_DIGITS: Final = 18
_STARTS: Final = 8
"""Braces from which an answer is looked for in chatter."""


def read_answer(text: str, schema: JsonSchema) -> dict[str, Any]:
    """The JSON in ``text`` that is by ``schema``. What stands around it does no harm.

    It blocks for up to a second: to be called in a thread.

    Raises:
        AnswerInvalid: there is none, or it is another, or it is too large, too deep or ambiguous.
    """
    if len(text) > MAX_ANSWER_CHARS:
        complaint = f"It is longer than {MAX_ANSWER_CHARS} characters."
        raise AnswerInvalid(complaint, why="is too long")
    data = _found(text)
    _check_values(data)
    schema.check(data)
    return data


def _found(text: str) -> dict[str, Any]:
    """The longest object that begins at one of the first braces: chatter may have some of its own."""
    best: tuple[int, dict[str, Any]] | None = None
    problem = AnswerInvalid("There is no JSON object in it.", why="is no JSON", is_json=False)
    at, tries = text.find("{"), 0
    while at >= 0 and tries < _STARTS:
        tries += 1
        end = at + 1
        try:
            found, end = _DECODER.raw_decode(text, at)
            if best is None or end - at > best[0]:
                best = end - at, found
        except AnswerInvalid as exc:
            problem = exc
        except RecursionError:
            problem = _too_deep()
        except ValueError as exc:
            if problem.is_json is False:
                problem = AnswerInvalid(f"It is no JSON: {exc}", why="is no JSON", is_json=False)
        at = text.find("{", end)
    if best is None:
        raise problem
    return best[1]


def _check_values(data: object) -> None:
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > DEEPEST + 1:
            raise _too_deep()
        level = [inner for value in level for inner in _children(value)]
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise AnswerInvalid("A text in it has half of a character.", why="has half of a character") from None


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _too_deep() -> AnswerInvalid:
    return AnswerInvalid(f"It is deeper than {DEEPEST} levels.", why="is too deep")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise AnswerInvalid("A key stands in an object twice.", why="has a key twice")
    return members


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise AnswerInvalid("A number is too large.", why="has too large a number")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise AnswerInvalid("A number is too large.", why="has too large a number")
    return value


def _constant(name: str) -> float:
    raise AnswerInvalid(f"{name} is no JSON.", why=f"has {name}")


# Line breaks in strings, which models write as they are, do no harm.
_DECODER: Final = json.JSONDecoder(
    strict=False, object_pairs_hook=_members, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


# --- to read ------------------------------------------------------------------------------------------------------


def plain(data: Mapping[str, Any]) -> str:
    """``data`` as nested lists, for readers; empty members are left out."""
    return "\n".join(_lines(data, "")) or "-"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _member(f"**{spoken_line(key.replace('_', ' '))}:**", inner, indent)
    else:
        for inner in cast("list[Any]", value):
            yield from _member("", inner, indent)


def _member(name: str, value: Any, indent: str) -> Iterator[str]:
    if value is None or value in ("", [], {}):
        return
    if not isinstance(value, (dict, list)):
        yield " ".join(filter(None, (f"{indent}-", name, _word(value))))
        return
    inner = list(_lines(value, f"{indent}  "))
    if name:
        yield f"{indent}- {name}"
    elif inner:  # an item of a list has no name: its first member stands in its line
        inner[0] = indent + inner[0].removeprefix(f"{indent}  ")
    yield from inner


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "✓" if value else "✗"
    return " ".join(visible_text(value).split()) if isinstance(value, str) else f"{value}"
