"""What every durable record is made of: its base, and the types of its fields."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SHORT: Final = 500
"""Characters of what is for an operator or a list; what is longer is cut, as it is no reason to lose a record."""

DEEPEST: Final = 64
"""Levels of a mode's result that are kept."""

_LARGEST_BITS: Final = 1_024


def _sound(value: object) -> object:
    """Text that can be written as UTF-8: models send halves of characters now and then."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _short(value: object) -> object:
    return _sound(value[:SHORT] if isinstance(value, str) else value)


def _json(value: object, depth: int = DEEPEST) -> object:
    """What of ``value`` can be written as JSON and read again; None stands for the rest."""
    match value:
        case dict() if depth:
            items = cast("dict[object, object]", value)
            return {_sound(str(key)): _json(item, depth - 1) for key, item in items.items()}
        case list() | tuple() if depth:
            return [_json(item, depth - 1) for item in cast("list[object]", value)]
        case str():
            return _sound(value)
        case _:
            return value if _is_plain(value) else None


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _LARGEST_BITS
    return isinstance(value, float) and math.isfinite(value)


Snowflake = Annotated[int, Field(ge=0, lt=1 << 64)]
"""An id of Discord's."""

UnixTime = Annotated[float, Field(ge=0)]
"""Seconds since 1970 (UTC)."""

RequestId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
"""Not to be guessed; the transcript that a request made has the same."""

Text = Annotated[str, BeforeValidator(_sound)]
ShortText = Annotated[str, BeforeValidator(_short)]
Json = Annotated[Any, BeforeValidator(_json)]


class Record(BaseModel):
    """A frozen record that takes nothing it does not know."""

    # Records hold secrets and what members said: neither belongs into an error's text.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
