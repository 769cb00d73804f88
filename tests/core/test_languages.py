from __future__ import annotations

import pytest
from faster_whisper import tokenizer
from hypothesis import given
from hypothesis import strategies as st

from bot.core.errors import UnknownLanguage
from bot.core.languages import LANGUAGES, language_name, matching_languages, parse_language


def test_these_are_whispers_languages() -> None:
    assert set(LANGUAGES) == set(tokenizer._LANGUAGE_CODES)  # pyright: ignore[reportPrivateUsage] - no public list


@pytest.mark.parametrize(
    ("typed", "code"), [("de", "de"), (" German ", "de"), ("pt-BR", "pt"), ("EN_us", "en"), ("haitian creole", "ht")]
)
def test_codes_locales_and_names_are_understood(typed: str, code: str) -> None:
    assert parse_language(typed) == code


@given(st.text(max_size=200))
def test_anything_else_is_refused_in_a_bounded_sentence(typed: str) -> None:
    try:
        code = parse_language(typed)
    except UnknownLanguage as exc:
        length = len(str(exc.values["language"]))
    else:
        assert code in LANGUAGES
        return
    assert length <= 50


def test_completion_puts_what_begins_with_the_letters_first() -> None:
    assert matching_languages("ger", 25)[0] == ("de", "German")
    assert matching_languages("en", 25)[0] == ("en", "English")
    assert len(matching_languages("a", 25)) == 25


def test_an_unknown_code_is_its_own_name() -> None:
    assert language_name("tlh") == "tlh"
