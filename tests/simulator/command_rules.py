"""What Discord refuses in an application command, besides what its schema says.

Source: https://discord.com/developers/docs/interactions/application-commands#application-command-object
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING

from tests.simulator.errors import FormProblem
from tests.simulator.payloads import items, members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.simulator.payloads import Json


class CommandKind(IntEnum):
    """The kinds of commands."""

    CHAT_INPUT = 1
    USER = 2
    MESSAGE = 3


class OptionKind(IntEnum):
    """The kinds of options."""

    SUBCOMMAND = 1
    GROUP = 2
    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8
    MENTIONABLE = 9
    NUMBER = 10
    ATTACHMENT = 11


NESTING = frozenset({OptionKind.SUBCOMMAND, OptionKind.GROUP})

MAX_NAME = 32
MAX_DESCRIPTION = 100
MAX_OPTIONS = 25
MAX_CHOICES = 25
MAX_CHARACTERS = 8_000
"""Names, descriptions and choice values of a command together, with the longest of their translations."""

_TYPED_LIMITS = {
    "min_value": {OptionKind.INTEGER, OptionKind.NUMBER},
    "max_value": {OptionKind.INTEGER, OptionKind.NUMBER},
    "min_length": {OptionKind.STRING},
    "max_length": {OptionKind.STRING},
    "channel_types": {OptionKind.CHANNEL},
    "choices": {OptionKind.STRING, OptionKind.INTEGER, OptionKind.NUMBER},
    "autocomplete": {OptionKind.STRING, OptionKind.INTEGER, OptionKind.NUMBER},
}


def command_problems(command: Json) -> Iterator[FormProblem]:
    """What is wrong with a command as it was sent."""
    kind = command.get("type") or CommandKind.CHAT_INPUT
    names: dict[str, str] = {"": command["name"], **members(command.get("name_localizations"))}
    if kind == CommandKind.CHAT_INPUT:
        for name in names.values():
            yield from _name_problems(name, ("name",))
        if not command.get("description"):
            yield _problem(("description",), "This field is required", code="BASE_TYPE_REQUIRED")
        yield from _option_list_problems(command.get("options") or [], ("options",))
        if _characters(command) > MAX_CHARACTERS:
            yield _problem((), "Command exceeds maximum size", code="APPLICATION_COMMAND_TOO_LARGE")
        return
    if not 1 <= len(command["name"]) <= MAX_NAME:
        yield _problem(("name",), "Must be between 1 and 32 in length.", code="BASE_TYPE_BAD_LENGTH")
    for key in ("description", "options"):
        if command.get(key):
            yield _problem((key,), "Context menu commands cannot have that", code="APPLICATION_COMMANDS_NOT_ALLOWED")


def valid_name(name: str) -> bool:
    r"""Whether ``name`` matches ``^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$`` in lower case."""
    return 1 <= len(name) <= MAX_NAME and name == name.lower() and all(_allowed(character) for character in name)


def _allowed(character: str) -> bool:
    if character in "-_'" or unicodedata.category(character)[0] in "LN":
        return True
    # Vowel signs of two scripts are marks, not letters.
    return unicodedata.name(character, "").startswith(("DEVANAGARI", "THAI"))


def _name_problems(name: str, path: tuple[str | int, ...]) -> Iterator[FormProblem]:
    if not valid_name(name):
        yield _problem(path, "Command name is invalid", code="APPLICATION_COMMAND_INVALID_NAME")


def _option_list_problems(options: Sequence[Json], path: tuple[str | int, ...]) -> Iterator[FormProblem]:
    if len(options) > MAX_OPTIONS:
        yield _problem(path, "Must be 25 or fewer in length.", code="BASE_TYPE_BAD_LENGTH")
    names = [option["name"] for option in options]
    if len(set(names)) != len(names):
        yield _problem(path, "Option names must be unique", code="APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATED")
    nesting = [option["type"] in NESTING for option in options]
    if any(nesting) and not all(nesting):
        yield _problem(
            path,
            "Sub-command and sub-command group option types are mutually exclusive to all other types",
            code="APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
        )
    optional_seen = False
    for index, option in enumerate(options):
        required = bool(option.get("required"))
        if required and optional_seen:
            yield _problem(
                (*path, index),
                "Required options must be placed before non-required options",
                code="APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
            )
        optional_seen = optional_seen or not required
        yield from _option_problems(option, (*path, index))


def _option_problems(option: Json, path: tuple[str | int, ...]) -> Iterator[FormProblem]:
    kind = option["type"]
    for name in (option["name"], *members(option.get("name_localizations")).values()):
        yield from _name_problems(name, (*path, "name"))
    if kind in NESTING:
        children: list[Json] = option.get("options") or []
        inner = OptionKind.SUBCOMMAND if kind == OptionKind.GROUP else None
        if any((child["type"] in NESTING) if inner is None else (child["type"] != inner) for child in children):
            yield _problem((*path, "options"), "Too deep", code="APPLICATION_COMMAND_OPTIONS_TYPE_INVALID")
        yield from _option_list_problems(children, (*path, "options"))
        return
    for key, kinds in _TYPED_LIMITS.items():
        if option.get(key) and kind not in kinds:
            yield _problem(
                (*path, key), "Not for options of that type", code="APPLICATION_COMMAND_OPTION_FIELD_INVALID"
            )
    choices: list[Json] = option.get("choices") or []
    if choices and option.get("autocomplete"):
        yield _problem(
            (*path, "autocomplete"),
            "Choices and autocomplete exclude each other",
            code="APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID",
        )
    names = [choice["name"] for choice in choices]
    if len(set(names)) != len(names):
        yield _problem(
            (*path, "choices"),
            "Choice names must be unique",
            code="APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_DUPLICATED",
        )


def _characters(command: Json) -> int:
    own = sum(
        max(len(command.get(key) or ""), *map(len, (command.get(f"{key}_localizations") or {"": ""}).values()))
        for key in ("name", "description")
    )
    choices: list[Json] = command.get("choices") or []
    return (
        own
        + sum(len(choice["name"]) + len(str(choice["value"])) for choice in choices)
        + sum(_characters(option) for option in items(command.get("options")))
    )


def _problem(path: tuple[str | int, ...], message: str, *, code: str) -> FormProblem:
    return FormProblem(path=path, code=code, message=message)
