"""JSON objects as they go over the wire."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object. Payloads are Discord's, so their shape is checked by `tests.simulator.contracts`, not by types."""


def without_none(payload: Json) -> Json:
    """Leave out the members that are None, as Discord does with optional fields."""
    return {key: value for key, value in payload.items() if value is not None}


def truth(text: str | None) -> bool:
    """Read a boolean query parameter the way Discord does."""
    return text is not None and text.lower() in {"1", "true"}


def items(value: list[Any] | None) -> list[Any]:
    """A list that may be null or missing."""
    return value or []


def members(value: Json | None) -> Json:
    """An object that may be null or missing."""
    return value or {}
