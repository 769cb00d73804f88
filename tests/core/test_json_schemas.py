from __future__ import annotations

import json
from typing import Any

import pytest

from bot.core.json_schemas import MAX_SCHEMA_CHARS, AnswerInvalid, JsonSchema, SchemaRefused


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def closed(**properties: Any) -> dict[str, Any]:
    return {**an_object(**properties), "required": list(properties), "additionalProperties": False}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = an_object(a=schema)
    return schema


# --- schemas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ({"type": "array"}, "#/type: has to be object"),
        ({}, "#/type: has to be object"),
        ([], "#/type: has to be object"),
        (an_object(a={"pattern": "(a+)+$"}), "#/properties/a: pattern is not supported"),
        (an_object(a={"$id": "http://elsewhere.example"}), "#/properties/a: $id is not supported"),
        (an_object(a={"items": {"uniqueItems": True}}), "#/properties/a/items: uniqueItems is not supported"),
        ({**an_object(), "unevaluatedProperties": False}, "#: unevaluatedProperties is not supported"),
        (an_object(a={"$ref": "http://elsewhere.example"}), "#/properties/a/$ref: has to be # or #/$defs/name"),
        (an_object(a={"$ref": "#/$defs/nothing"}), "#/properties/a/$ref: has to be # or #/$defs/name"),
        (an_object(a={"$ref": 7}), "#/properties/a/$ref: 7 is not of type"),
        ({**an_object(a={"$ref": "#/$defs/a"}), "$defs": 7}, "#/$defs: 7 is not of type"),
        (an_object(a={"type": "strin"}), "#/properties/a/type: "),
        ({"type": "object", "properties": []}, "#/properties: [] is not of type"),
        ({"type": "object", "anyOf": {}}, "#/anyOf: {} is not of type"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "#/$schema: has to be"),
        ({"type": "object", "description": "x" * MAX_SCHEMA_CHARS}, "#: is longer than"),
        ({"type": "object", "const": float("nan")}, "#: is no JSON"),
        ({"type": "object", "const": "\ud800"}, "#: is no JSON"),
        ({"type": "object", "const": object()}, "#: is no JSON"),
        (nested(40), "is deeper than"),
        (nested(2_000), "#: is "),  # too deep or too long, by the version of Python
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_its_place(definition: Any, problem: str) -> None:
    with pytest.raises(SchemaRefused) as caught:
        JsonSchema.of(definition)
    assert problem in str(caught.value)


def test_equal_schemas_are_equal_and_their_text_is_json() -> None:
    schema = JsonSchema.of(
        {**an_object(a={"type": "string"}), "$schema": "https://json-schema.org/draft/2020-12/schema"}
    )
    assert schema == JsonSchema.of(json.loads(schema.text))
    assert schema.definition == an_object(a={"type": "string"})


@pytest.mark.parametrize(
    ("definition", "strict"),
    [
        (closed(a={"type": "string"}, b={"type": "array", "items": closed(c={"type": ["string", "null"]})}), True),
        ({**closed(a={"$ref": "#/$defs/a"}), "$defs": {"a": closed(b={"enum": ["x"]})}}, True),
        (an_object(a={"type": "string"}), False),
        ({**closed(a={"type": "string"}), "required": []}, False),
        (closed(a=an_object(b={"type": "string"})), False),
        (closed(a={"type": "array", "items": an_object()}), False),
        (closed(a={"type": "string", "maxLength": 80}), False),
        ({**closed(a={"type": "string"}), "anyOf": [closed()]}, False),
    ],
)
def test_strict_is_what_openai_takes_as_such(definition: dict[str, Any], strict: bool) -> None:
    assert JsonSchema.of(definition).is_strict is strict


# --- checks -------------------------------------------------------------------------------------------------------


def test_a_complaint_names_places_and_the_operator_hears_nothing_of_what_was_said() -> None:
    schema = JsonSchema.of(closed(a={"type": "string"}, b={"type": "integer", "minimum": 1}))
    schema.check({"a": "x", "b": 1})
    with pytest.raises(AnswerInvalid) as caught:
        schema.check({"a": "x", "b": 0, "secret": "y"})
    assert "$.b: 0 is less than the minimum of 1" in caught.value.complaint
    assert "secret" in caught.value.complaint
    assert "secret" not in caught.value.why
    assert caught.value.is_json


def test_a_complaint_has_bounds() -> None:
    with pytest.raises(AnswerInvalid) as caught:
        JsonSchema.of(an_object(a={"type": "integer"})).check({"a": "x" * 100_000})
    assert len(caught.value.complaint) < 1_000


def _exponential() -> dict[str, Any]:
    twice = {f"a{at}": {"anyOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(30)}
    return {**an_object(x={"$ref": "#/$defs/a0"}), "$defs": {**twice, "a30": {"type": "null"}}}


@pytest.mark.parametrize(
    "definition",
    [
        _exponential(),
        {"type": "object", "anyOf": [an_object(x={"type": "null"})] * 200},
        {**an_object(x={"$ref": "#/$defs/a"}), "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {**an_object(), "allOf": [{"$ref": "#"}]},
    ],
)
def test_what_would_take_for_ever_is_given_up(definition: dict[str, Any]) -> None:
    with pytest.raises(AnswerInvalid, match="too long to check"):
        JsonSchema.of(definition).check({"x": ["y" * 1_000] * 120})


def test_a_large_answer_is_checked_to_its_end() -> None:
    schema = JsonSchema.of(closed(a={"type": "array", "items": {"type": "integer"}}))
    schema.check({"a": [1] * 60_000})
    with pytest.raises(AnswerInvalid, match=r"\$\.a\[60000\]"):
        schema.check({"a": [*[1] * 60_000, "no"]})
