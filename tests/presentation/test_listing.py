from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.presentation.listing import field_of_lines, fitting
from bot.presentation.times import about, calendar_time, counted, moment, whole

_LINES = st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=300), max_size=60)


@given(_LINES, st.integers(0, 2_000))
def test_as_many_lines_as_fit_and_no_more(lines: list[str], limit: int) -> None:
    count = fitting(lines, limit)
    assert len("\n".join(lines[:count])) <= limit
    if count < len(lines):
        assert len("\n".join(lines[: count + 1])) > limit


@given(_LINES)
def test_fields_hold_every_line_in_order(lines: list[str]) -> None:
    fields = field_of_lines("Name", lines)
    assert "\n".join(field.value for field in fields).split("\n") == (lines or [""])
    assert all(1 <= len(field.value) <= 1_024 for field in fields)
    assert [field.name for field in fields[:1]] == ["Name"] * bool(lines)


def test_a_line_longer_than_a_field_is_cut() -> None:
    (field,) = field_of_lines("Name", ["x" * 2_000])
    assert field.value == "x" * 1_024


def test_moments_are_never_early() -> None:
    assert (moment(10.0), moment(10.01), moment(9.99, "f")) == ("<t:10:R>", "<t:11:R>", "<t:10:f>")
    assert calendar_time(1_800_000_000.0) == "2027-01-15 08:00 UTC"


def test_amounts_are_told_as_people_tell_them() -> None:
    assert [whole(tokens) for tokens in (-0.5, 0.0, 0.999, 0.9999999, 1.0, 2.7)] == [0, 0, 0, 1, 1, 2]
    assert [counted("tokens", count, "en-US") for count in (0, 1, 2)] == ["0 tokens", "1 token", "2 tokens"]
    assert [about(seconds, "en-US") for seconds in (0, 60, 60.1, 7_200)] == [
        "about a minute",
        "about a minute",
        "about 2 minutes",
        "about 2 hours",
    ]
