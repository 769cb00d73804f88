"""Schemas that answers may be asked for by.

They are JSON Schema 2020-12 (https://json-schema.org/draft/2020-12) without what may take for ever to check: regular
expressions, references out of the schema, and keywords that look at a value again and again.
"""

# jsonschema is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError

MAX_SCHEMA_CHARS: Final = 16_384
DEEPEST: Final = 32
"""Objects and lists in one another, of a schema and of an answer."""
MAX_STEPS: Final = 100_000
"""Keywords that are looked at for one answer: a second's work or so."""
_CHARS_A_STEP: Final = 256
"""Of a value: a complaint repeats it."""
_COMPLAINTS: Final = 3
_COMPLAINT_CHARS: Final = 300

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = re.compile(r"#(?:/\$defs/([A-Za-z0-9_-]+))?")
_BY_NAME: Final = frozenset({"properties", "$defs"})
_ONE: Final = frozenset({"items", "additionalProperties"})
_SEVERAL: Final = frozenset({"prefixItems", "anyOf", "allOf", "oneOf"})
_STRICT: Final = frozenset(
    {
        *("type", "enum", "const", "anyOf", "$ref", "$defs", "title", "description"),
        *("properties", "required", "additionalProperties", "items"),
    }
)
"""What OpenAI's strict mode takes of any model; the limits of numbers and lists only some do."""
_KNOWN: Final = _STRICT | {
    *("$schema", "$comment", "default", "examples", "deprecated", "format", "allOf", "oneOf", "prefixItems"),
    *("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


class SchemaRefused(ValueError):
    """A schema that cannot be asked for; the text says where and why."""


class AnswerInvalid(ValueError):
    """An answer that is not by the schema.

    Args:
        complaint: for the model; it may repeat what the answer says.
        why: for an operator; it does not.
        is_json: False where there is no JSON in it at all.
    """

    def __init__(self, complaint: str, *, why: str, is_json: bool = True) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.why = why
        self.is_json = is_json


# --- schemas ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A schema that can be asked for; ``text`` is its JSON, as it stands in prompts and cache keys."""

    text: str

    @classmethod
    def of(cls, definition: Mapping[str, object]) -> JsonSchema:
        """Check ``definition``: an object at its root, since that is all that ``json_object`` gives.

        Raises:
            SchemaRefused: it is none, too large, or says more than is known here.
        """
        try:
            text = json.dumps(definition, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError, RecursionError):
            raise SchemaRefused("#: is no JSON") from None
        if len(text) > MAX_SCHEMA_CHARS:
            raise SchemaRefused(f"#: is longer than {MAX_SCHEMA_CHARS} characters")
        root: Any = json.loads(text)
        if not isinstance(root, dict) or root.get("type") != "object":
            raise SchemaRefused("#/type: has to be object")
        if root.get("$schema", _DIALECT) != _DIALECT:
            raise SchemaRefused(f"#/$schema: has to be {_DIALECT}")
        keywords = list(_keywords(root, "#"))
        for path, keyword, _ in keywords:
            if keyword not in _KNOWN:
                raise SchemaRefused(f"{path}: {keyword[:60]} is not supported")
        try:
            Draft202012Validator.check_schema(root)
        except SchemaError as exc:
            raise SchemaRefused(f"#/{'/'.join(map(str, exc.absolute_path))}: {exc.message[:200]}") from None
        for path, keyword, value in keywords:
            if keyword == "$ref" and not _leads_somewhere(value, root):
                raise SchemaRefused(f"{path}/$ref: has to be # or #/$defs/name, and that has to be there")
        return cls(text)

    @property
    def definition(self) -> dict[str, Any]:
        """The schema, without what only says which dialect it is in."""
        definition = cast("dict[str, Any]", json.loads(self.text))
        definition.pop("$schema", None)
        return definition

    @property
    def is_strict(self) -> bool:
        """Whether OpenAI's ``strict`` takes it: every object is closed, and all of its properties are required.

        https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
        """
        definition = self.definition
        if not {keyword for _, keyword, _ in _keywords(definition, "#")} <= _STRICT:
            return False
        return "anyOf" not in definition and all(map(_is_closed, _schemas(definition)))

    def check(self, data: object) -> None:
        """See whether ``data`` is by the schema; it is JSON, of no more than `DEEPEST` levels.

        Raises:
            AnswerInvalid: it is not, or that takes too long to see.
        """
        _budget.set(_Budget(data))
        try:
            errors = list(islice(_Validator(json.loads(self.text)).iter_errors(data), _COMPLAINTS))
        except (_TooLong, RecursionError):
            raise AnswerInvalid("It takes too long to check.", why="takes too long to check") from None
        if errors:
            raise AnswerInvalid("\n".join(map(_complaint, errors)), why=f"does not fit ({errors[0].validator})")


def _complaint(error: ValidationError) -> str:
    return f"{error.json_path[:100]}: {error.message}"


def _keywords(schema: object, path: str, depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """Every keyword of a schema and of those in it: where it stands, its name and its value."""
    if depth > DEEPEST:
        raise SchemaRefused(f"{path}: is deeper than {DEEPEST}")
    if not isinstance(schema, dict):
        return  # true, false, or what the metaschema complains of
    for keyword, value in cast("dict[str, Any]", schema).items():
        yield path, keyword, value
        for name, inner in _inner(keyword, value):
            yield from _keywords(inner, f"{path}/{keyword}{name}", depth + 1)


def _inner(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas below a keyword, and how their paths go on."""
    if keyword in _ONE:
        yield "", value
    elif keyword in _BY_NAME and isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield f"/{name[:60]}", inner
    elif keyword in _SEVERAL and isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield f"/{number}", inner


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and those in it, as far as they are objects."""
    if isinstance(schema, dict):
        known = cast("dict[str, Any]", schema)
        yield known
        for keyword, value in known.items():
            for _, inner in _inner(keyword, value):
                yield from _schemas(inner)


def _leads_somewhere(reference: object, root: Mapping[str, Any]) -> bool:
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    return match is not None and (match[1] is None or match[1] in root.get("$defs", {}))


def _is_closed(schema: Mapping[str, Any]) -> bool:
    properties: dict[str, Any] = schema.get("properties", {})
    if schema.get("type") != "object" and not properties:
        return True
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)


# --- a check that ends --------------------------------------------------------------------------------------------


class _TooLong(Exception):
    pass


class _Budget:
    """Steps that are left for one answer, and how much there is in each of its objects and lists, in characters."""

    def __init__(self, data: object) -> None:
        self._left = MAX_STEPS
        self._sizes: dict[int, int] = {}
        self._measure(data)

    def take(self, keyword: object, value: object) -> None:
        """A keyword is looked at for ``value``."""
        listed = len(cast("list[Any]", keyword)) if isinstance(keyword, (list, dict)) else 0
        self._left -= 1 + listed + self._size(value) // _CHARS_A_STEP
        if self._left < 0:
            raise _TooLong

    def _size(self, value: object) -> int:
        return len(value) if isinstance(value, str) else self._sizes.get(id(value), 0)

    def _measure(self, value: object) -> int:
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            size = sum(len(key) + self._measure(inner) for key, inner in members.items())
        elif isinstance(value, list):
            size = sum(map(self._measure, cast("list[Any]", value)))
        else:
            return len(value) if isinstance(value, str) else 8
        self._sizes[id(value)] = size
        return size


_budget: ContextVar[_Budget] = ContextVar("budget")


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    """A keyword's check at the cost of a step, and of one for each of those that its value lists."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _budget.get().take(value, instance)
        for error in check(validator, value, instance, schema) or ():
            error.message = error.message[:_COMPLAINT_CHARS]  # it may repeat all of the answer, again and again
            yield error

    return counted


_Validator: Final = extend(
    Draft202012Validator, {name: _counted(check) for name, check in Draft202012Validator.VALIDATORS.items()}
)
