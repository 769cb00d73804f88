"""The tree of errors: as it is drawn, and as members and operators meet it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bot.adapters
import bot.presentation
from bot.core import errors
from bot.core.errors import (
    LETTERS,
    REFERENCE_LENGTH,
    BadInput,
    CompletionFailed,
    CourtesyExceeded,
    EarshotError,
    ErrorKind,
    FairUseError,
    NotCached,
    RecordInvalid,
    reference_of,
)
from bot.core.long_input import TooMuchSaid
from bot.core.models import Stage
from bot.presentation.messages import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
NEVER_SHOWN: Final = {BadInput, FairUseError, NotCached, TooMuchSaid, RecordInvalid, CourtesyExceeded}
"""Families of which only children are raised, what never leaves the core, and what `error_answer` puts otherwise."""
SHARED_SENTENCES: Final = {CompletionFailed, errors.TranscriptionFailed}
"""Of these the children say the same: a member need not know which link of a chain failed, and how."""


def everybody(root: type[EarshotError] = EarshotError) -> Iterator[type[EarshotError]]:
    """All classes of the program, those of the presentation included."""
    for package in (bot.adapters, bot.presentation):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("bot."):
            yield from everybody(child)


EVERYBODY: Final = tuple(everybody())
BY_NAME: Final = {cls.__name__: cls for cls in EVERYBODY}


# --- as it is drawn -----------------------------------------------------------------------------------------------


def drawn() -> list[tuple[int, str, str, str]]:
    """The depth, the name, the kind and the stage of each line of the drawing."""
    line = re.compile(
        r"^((?:[│ ] {3})*(?:[├└]── )?)(\w+) +(temporary|permanent|rate-limit) +([a-z]+|-) +\S", re.MULTILINE
    )
    assert errors.__doc__
    return [(len(found[1]) // 4, found[2], found[3], found[4]) for found in line.finditer(errors.__doc__)]


def grown(cls: type[EarshotError] = EarshotError, depth: int = 0) -> Iterator[tuple[int, str, str, str]]:
    yield depth, cls.__name__, cls.kind, cls.stage or "-"
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from grown(child, depth + 1)


def test_the_tree_is_as_it_is_drawn() -> None:
    assert drawn() == list(grown())
    assert len(drawn()) > 30


@pytest.mark.parametrize("cls", EVERYBODY, ids=lambda cls: cls.__name__)
def test_every_error_says_what_is_to_be_done_and_where_it_belongs(cls: type[EarshotError]) -> None:
    assert isinstance(cls.kind, ErrorKind)
    assert cls.stage is None or isinstance(cls.stage, Stage)
    assert (cls.kind is ErrorKind.RATE_LIMIT) == (issubclass(cls, FairUseError | errors.CompletionRateLimited)), (
        "only who is told to wait may say so"
    )


# --- as members meet it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls",
    [cls for cls in EVERYBODY if cls not in NEVER_SHOWN and cls is not EarshotError],
    ids=lambda cls: cls.__name__,
)
def test_every_error_that_a_member_meets_has_a_sentence_of_its_own(cls: type[EarshotError]) -> None:
    shared = {family.key for family in SHARED_SENTENCES if issubclass(cls, family)}
    of_others = {other.key for other in EVERYBODY if other is not cls and other not in NEVER_SHOWN}
    assert cls.key in shared or cls.key not in of_others


def declared(cls: type[EarshotError]) -> set[str]:
    """The values that a class's docstring names, or its parent's does."""
    found = re.search(r"Values: ((?:``\w+``(?:, )?)+)", cls.__doc__ or "")
    return set(re.findall(r"``(\w+)``", found[1])) if found else set()


def raised() -> Iterator[tuple[str, type[EarshotError], set[str]]]:
    """Where the program makes an error, of which class, and the values that it gives."""
    for path in (path for folder in ("bot", "cogs") for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            match node:
                case ast.Call(func=ast.Name(id=name), keywords=keywords) if name in BY_NAME:
                    yield where, BY_NAME[name], {keyword.arg or "**" for keyword in keywords}
                case ast.Raise(exc=ast.Name(id=name)) if name in BY_NAME:
                    yield where, BY_NAME[name], set()
                case ast.Raise(exc=ast.IfExp(body=ast.Name(id=one), orelse=ast.Name(id=other))):
                    yield from ((where, BY_NAME[name], set()) for name in (one, other) if name in BY_NAME)
                case _:
                    pass


RAISED: Final = tuple(raised())
READ_AT_START: Final = "bot/adapters/mode_files.py"
"""Modes that are left out: their error goes to the log, which names the file."""


def test_errors_are_found_where_they_are_raised() -> None:
    assert len(RAISED) > 100
    assert len({cls for _, cls, _ in RAISED}) > 40


@pytest.mark.parametrize(("where", "cls", "values"), RAISED, ids=[f"{cls.__name__}-{at}" for at, cls, _ in RAISED])
def test_every_sentence_gets_the_values_that_it_mentions(where: str, cls: type[EarshotError], values: set[str]) -> None:
    assert values <= declared(cls), "what is given is documented"
    if not where.startswith(READ_AT_START):
        assert names_in(cls.key) <= values


# --- from a member's message to the log ---------------------------------------------------------------------------


@given(st.text("0123456789abcdef", min_size=8, max_size=24))
def test_a_reference_is_easy_to_read_aloud_and_tells_nothing_of_the_id(request_id: str) -> None:
    reference = reference_of(request_id)
    assert len(reference) == REFERENCE_LENGTH
    assert set(reference) <= set(LETTERS)
    assert reference == reference_of(request_id), "it can be found again"
    assert reference.lower() not in request_id


def test_no_letters_of_a_reference_are_mistaken_for_each_other() -> None:
    for alike in ("0O", "1IL", "2Z", "5S", "8B", "UV", "6G"):
        assert len(set(alike) & set(LETTERS)) <= 1
    assert not set("AEIOU") & set(LETTERS), "they spell no words"
    assert len(set(LETTERS)) == len(LETTERS)


def test_references_of_many_requests_differ() -> None:
    assert len({reference_of(f"{number:016x}") for number in range(10_000)}) > 9_990
