from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Imported so that their errors are subclasses that the walk finds.
import bot.presentation.moderation
import bot.presentation.privacy_page
import bot.presentation.reception
import bot.presentation.requests
import bot.presentation.results_shelf
import bot.presentation.retry
import bot.presentation.settings_changes
from bot.core.errors import EarshotError
from bot.core.models import NoteKey, Stage
from bot.core.records import RequestState
from bot.core.rendering import TranscriptFormat
from bot.presentation.messages import keys, names_in, text
from bot.presentation.settings_changes import RESETTABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

assert bot.presentation.moderation
assert bot.presentation.privacy_page
assert bot.presentation.reception
assert bot.presentation.requests
assert bot.presentation.results_shelf
assert bot.presentation.retry
assert bot.presentation.settings_changes


def errors(root: type[EarshotError] = EarshotError) -> Iterator[type[EarshotError]]:
    yield root
    for kind in root.__subclasses__():
        yield from errors(kind)


def test_every_error_has_a_sentence() -> None:
    assert [kind for kind in errors() if kind.key not in keys()] == []


@pytest.mark.parametrize(
    "key",
    [
        *(f"note.{note}" for note in NoteKey),
        *(f"progress.{stage}" for stage in Stage),
        *(f"menu.file.{kind}" for kind in TranscriptFormat),
        *(f"setting.{name}" for name in RESETTABLE),
        *(f"results.{state}" for state in RequestState if state is not RequestState.DONE),
        *(f"results.open.{state}" for state in RequestState if state is not RequestState.DONE),
    ],
)
def test_everything_that_is_said_by_key_has_a_sentence(key: str) -> None:
    assert key in keys()


@pytest.mark.parametrize("key", sorted(keys()))
def test_every_sentence_can_be_filled_in(key: str) -> None:
    names = names_in(key)
    assert all(name.isidentifier() for name in names)
    filled = text(key, **dict.fromkeys(names, "X"))
    assert filled.strip()
    assert len(filled) <= 1_000


@pytest.mark.parametrize("key", [key for key in sorted(keys()) if key.startswith(("option.", "command."))])
def test_what_stands_beside_a_command_fits(key: str) -> None:
    assert len(text(key)) <= 100


def test_an_unknown_locale_reads_english() -> None:
    assert text("error.empty", "xx-XX") == text("error.empty")


def test_values_are_not_templates() -> None:
    assert "{limit_mb}" in text("error.unknown_language", language="{limit_mb}")
