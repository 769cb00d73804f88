from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.json_answers import MAX_ANSWER_CHARS, plain, read_answer
from bot.core.json_schemas import AnswerInvalid, JsonSchema

ANY = JsonSchema.of({"type": "object"})
TITLE = JsonSchema.of({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]})


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "a"}',
        '  \n{"title": "a"}\n\n',
        '```json\n{"title": "a"}\n```',
        'Here it is:\n\n```\n{"title": "a"}\n```\nI hope that {helps}!',
        'The {title} of {} is {"x": 1}: {"title": "a", "more": {"x": [1, 2]}}',
        '{"title": "a"} {"title": "a", "y": 1} {}',
        '\ufeff{"title": "a"}',
        '<|im_start|>{"title": "a"}<|im_end|>',
    ],
)
def test_an_answer_is_found_in_what_stands_around_it(text: str) -> None:
    assert read_answer(text, TITLE)["title"] == "a"


def test_line_breaks_in_strings_do_no_harm() -> None:
    assert read_answer('{"title": "a\nb"}', TITLE) == {"title": "a\nb"}


@pytest.mark.parametrize(
    "text", ["", "No.", "[1, 2]", '"text"', "{title: a}", "{" * 131_000, '"{' * 60_000, "{'a': 1}"]
)
def test_what_is_no_json_says_so(text: str) -> None:
    with pytest.raises(AnswerInvalid, match="JSON") as caught:
        read_answer(text, ANY)
    assert not caught.value.is_json


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": ' + "[" * 100_000, "is too deep"),
        ('{"a": ' * 20_000, "is too deep"),
        ('{"a": ' * 40 + "1" + "}" * 40, "is too deep"),
        ('{"a": 1e999}', "has too large a number"),
        ('{"a": -1e999}', "has too large a number"),
        ('{"a": ' + "9" * 100_000 + "}", "has too large a number"),
        ('{"a": 9999999999999999999}', "has too large a number"),
        ('{"a": NaN}', "has NaN"),
        ('{"a": [-Infinity]}', "has -Infinity"),
        ('{"a": 1, "a": 2}', "has a key twice"),
        ('{"b": {"a": 1, "\\u0061": 2}}', "has a key twice"),
        ('{"a": "\\ud800"}', "has half of a character"),
        ('{"\\udfff": 1}', "has half of a character"),
        ('{"a": "' + "x" * 10_000_000 + '"}', "is too long"),
        ('{"b": 1}', "does not fit (required)"),
        ('{"title": 7}', "does not fit (type)"),
    ],
)
def test_hostile_answers_are_refused(text: str, why: str) -> None:
    with pytest.raises(AnswerInvalid) as caught:
        read_answer(text, TITLE)
    assert caught.value.why == why
    assert caught.value.is_json
    assert len(caught.value.complaint) < 1_000


def test_the_largest_answer_is_read() -> None:
    room = MAX_ANSWER_CHARS - len('{"title":""}')
    assert read_answer(json.dumps({"title": "x" * room}, separators=(",", ":")), TITLE)["title"] == "x" * room


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(data=st.dictionaries(st.text(), _VALUES, max_size=4))
def test_what_is_json_is_read_as_it_is_and_can_be_shown(data: dict[str, Any]) -> None:
    text = json.dumps(data)
    assert read_answer(text, ANY) == data
    assert plain(data).strip()


@given(text=st.text(alphabet=st.sampled_from('{}[]",:\\ eE+-019ntaNI'), max_size=60))
def test_whatever_is_said_there_is_an_answer_or_a_complaint(text: str) -> None:
    try:
        answer: object = read_answer(text, ANY)
    except AnswerInvalid as exc:
        answer = exc.complaint
    assert isinstance(answer, (dict, str))


def test_readers_get_nested_lists() -> None:
    data = {
        "title": "The  garden\nneeds water.",
        "nobody": [],
        "unknown": None,
        "action_items": [{"who": "Ann", "done": True}, {"who": "Bo", "done": False, "days": [1, 2.5]}],
        "said\u202e": {"by": "Cy"},
    }
    assert plain(data).splitlines() == [
        "- **title:** The garden needs water.",
        "- **action items:**",
        "  - **who:** Ann",
        "    - **done:** ✓",
        "  - **who:** Bo",
        "    - **done:** ✗",
        "    - **days:**",
        "      - 1",
        "      - 2.5",
        "- **said:**",
        "  - **by:** Cy",
    ]
    assert plain({}) == "-"
