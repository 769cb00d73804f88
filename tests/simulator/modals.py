"""Modals: what is wrong with one, and how it looks when a member has filled it in.

Source: https://discord.com/developers/docs/components/reference#component-object
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tests.simulator.cdn import Attachment
from tests.simulator.errors import FormProblem, Refused
from tests.simulator.messages import ACTION_ROW, STRING_SELECT, TEXT_DISPLAY, TEXT_INPUT, nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.simulator.invocations import Resolver
    from tests.simulator.payloads import Json

Answer: TypeAlias = "str | bool | Sequence[str] | Sequence[Attachment]"
"""Text for a text input or a radio group, values for a menu or checkboxes, a boolean for one checkbox, files."""

LABEL, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 18, 19, 21, 22, 23

_MAX_PARTS = 5
_MAX_TITLE = 45
_DEFAULT_TEXT = 4_000


def modal_problems(modal: Json) -> Iterator[FormProblem]:
    """What is wrong with a modal as the bot sent it."""
    parts: list[Json] = modal["components"]
    if not 1 <= len(parts) <= _MAX_PARTS:
        yield _problem(("components",), "Must be between 1 and 5 in length.")
    if not 1 <= len(modal["title"]) <= _MAX_TITLE:
        yield _problem(("title",), "Must be between 1 and 45 in length.")
    ids = [part["custom_id"] for part in _inputs(modal)]
    if len(set(ids)) != len(ids):
        yield _problem(("components",), "Component custom id cannot be duplicated")


def filled_in(modal: Json, answers: Mapping[str, Answer], resolver: Resolver) -> list[Json]:
    """The ``components`` of a submission.

    Raises:
        Refused: a required answer is missing, or one does not fit.
    """
    known = {part["custom_id"] for part in _inputs(modal)}
    if strangers := sorted(answers.keys() - known):
        raise Refused(f"the modal has no {strangers}; there are {sorted(known)}")
    filled: list[Json] = []
    for index, part in enumerate(modal["components"], start=1):
        base = {"type": part["type"], "id": part.get("id") or index}
        if part["type"] == LABEL:
            filled.append(base | {"component": _answer(part["component"], index + 100, answers, resolver)})
        elif part["type"] == ACTION_ROW:
            inner = [_answer(child, index + 100, answers, resolver) for child in part["components"]]
            filled.append(base | {"components": inner})
        elif part["type"] == TEXT_DISPLAY:
            filled.append(base)
    return filled


def _inputs(modal: Json) -> Iterator[Json]:
    return (part for part in nested(modal["components"]) if part.get("custom_id"))


def _answer(part: Json, number: int, answers: Mapping[str, Answer], resolver: Resolver) -> Json:
    custom_id, kind = part["custom_id"], part["type"]
    base = {"type": kind, "id": part.get("id") or number, "custom_id": custom_id}
    given = answers.get(custom_id)
    if given is None and kind == CHECKBOX:
        return base | {"value": bool(part.get("default"))}
    if given is None:
        if part.get("required") is not False:
            raise Refused(f"{custom_id!r} has to be filled in")
        return base | (
            {"value": ""} if kind == TEXT_INPUT else {"value": None} if kind == RADIO_GROUP else {"values": []}
        )
    match given:
        case bool() if kind == CHECKBOX:
            return base | {"value": given}
        case str() if kind == TEXT_INPUT:
            return base | {"value": _checked_text(part, given)}
        case str() if kind == RADIO_GROUP:
            return base | {"value": _checked_values(part, [given])[0]}
        case str() | bool():
            raise Refused(f"{custom_id!r} does not take {given!r}")
        case _:
            return base | {"values": _values(part, given, resolver)}


def _values(part: Json, given: Sequence[str] | Sequence[Attachment], resolver: Resolver) -> list[str]:
    files = [file for file in given if isinstance(file, Attachment)]
    texts = [text for text in given if isinstance(text, str)]
    if part["type"] == FILE_UPLOAD and not texts:
        values = [resolver.add("attachments", file.id, file.payload()) for file in files]
    elif part["type"] in {STRING_SELECT, CHECKBOX_GROUP} and not files:
        values = _checked_values(part, texts)
    else:
        raise Refused(f"{part['custom_id']!r} does not take {given!r}")
    low, high = part.get("min_values"), part.get("max_values")
    if not (1 if low is None else low) <= len(values) <= (1 if high is None else high):
        raise Refused(f"{part['custom_id']!r} takes {low} to {high} values, not {len(values)}")
    return values


def _checked_text(part: Json, given: str) -> str:
    low, high = part.get("min_length") or 0, part.get("max_length") or _DEFAULT_TEXT
    if not low <= len(given) <= high:
        raise Refused(f"{part['custom_id']!r} takes {low} to {high} characters, not {len(given)}")
    return given


def _checked_values(part: Json, given: Sequence[str]) -> list[str]:
    offered = [option["value"] for option in part["options"]]
    if set(given) - set(offered):
        raise Refused(f"{part['custom_id']!r} offers {offered}, not {list(given)}")
    return list(given)


def _problem(path: tuple[str | int, ...], message: str) -> FormProblem:
    return FormProblem(path=("data", *path), code="BASE_TYPE_BAD_LENGTH", message=message)
