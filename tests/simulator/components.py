"""Buttons, menus and layouts: what Discord refuses, and how it stores them.

Source: https://discord.com/developers/docs/components/reference
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulator.errors import FormProblem
from tests.simulator.messages import ACTION_ROW, BUTTON, STRING_SELECT, TEXT_DISPLAY, nested
from tests.simulator.payloads import without_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.simulator.payloads import Json

MAX_ROWS = 5
MAX_BUTTONS_IN_ROW = 5
MAX_COMPONENTS_V2 = 40
MAX_TEXT_V2 = 4_000
MAX_CUSTOM_ID = 100
MAX_LABEL = 80
MAX_OPTIONS = 25

_LINK, _PREMIUM = 5, 6
_SELECTS = frozenset({3, 5, 6, 7, 8})
_THUMBNAIL, _FILE, _SEPARATOR, _CONTAINER = 11, 13, 14, 17
_DEFAULTS: dict[int, Json] = {
    _SEPARATOR: {"spacing": 1, "divider": True},
    _CONTAINER: {"spoiler": False, "accent_color": None},
    _FILE: {"spoiler": False},
    _THUMBNAIL: {"spoiler": False, "description": None},
}
_MEDIA_KEYS = frozenset({"media", "file"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A picture or a file that a component shows. ``name`` and ``size`` (bytes) are of a file of the message."""

    id: int
    url: str
    name: str | None = None
    size: int | None = None

    def payload(self) -> Json:
        """As Discord shows it."""
        return {"id": str(self.id), "url": self.url, "proxy_url": self.url, "width": None, "height": None}


def component_problems(components: Sequence[Json], *, v2: bool) -> Iterator[FormProblem]:
    """What is wrong with a message's components, besides what the schema says."""
    yield from _layout_problems(components) if v2 else _classic_problems(components)
    yield from _custom_id_problems(components)
    for part in nested(components):
        if part["type"] == ACTION_ROW:
            yield from _row_problems(part)
        elif part["type"] == BUTTON:
            yield from _button_problems(part)
        elif part["type"] == STRING_SELECT:
            yield from _select_problems(part)


def _classic_problems(components: Sequence[Json]) -> Iterator[FormProblem]:
    for index, row in enumerate(components):
        if row["type"] != ACTION_ROW:
            yield _problem(("components", index, "type"), "Value must be one of {1}", code="UNION_TYPE_CHOICES")
    if len(components) > MAX_ROWS:
        yield _problem(("components",), "Must be 5 or fewer in length.", code="BASE_TYPE_BAD_LENGTH")


def _custom_id_problems(components: Sequence[Json]) -> Iterator[FormProblem]:
    seen: set[str] = set()
    for part in nested(components):
        custom_id = part.get("custom_id")
        if custom_id is None:
            continue
        if custom_id in seen:
            yield _problem(
                ("components",), "Component custom id cannot be duplicated", code="COMPONENT_CUSTOM_ID_DUPLICATED"
            )
        if len(custom_id) > MAX_CUSTOM_ID:
            yield _problem(("components",), "Must be 100 or fewer in length.", code="BASE_TYPE_BAD_LENGTH")
        seen.add(custom_id)


def _layout_problems(components: Sequence[Json]) -> Iterator[FormProblem]:
    parts = list(nested(components))
    if len(parts) > MAX_COMPONENTS_V2:
        yield _problem(("components",), "The total number of components must not exceed 40.")
    text = sum(len(part["content"]) for part in parts if part["type"] == TEXT_DISPLAY)
    if text > MAX_TEXT_V2:
        yield _problem(("components",), "The total length of displayable text must not exceed 4000.")


def _row_problems(row: Json) -> Iterator[FormProblem]:
    kinds = [part["type"] for part in row["components"]]
    if not kinds:
        yield _problem(("components",), "Must be between 1 and 5 in length.", code="BASE_TYPE_BAD_LENGTH")
    if len(kinds) > MAX_BUTTONS_IN_ROW or (len(kinds) > 1 and any(kind in _SELECTS for kind in kinds)):
        yield _problem(("components",), "The specified component exceeds the maximum width")


def _button_problems(button: Json) -> Iterator[FormProblem]:
    style = button["style"]
    has_url, has_id = bool(button.get("url")), bool(button.get("custom_id"))
    if len(button.get("label") or "") > MAX_LABEL:
        yield _problem(("components",), "Must be 80 or fewer in length.", code="BASE_TYPE_BAD_LENGTH")
    if style != _PREMIUM and not button.get("label") and not button.get("emoji"):
        yield _problem(("components",), "A button needs a label or an emoji", code="BUTTON_COMPONENT_INVALID")
    if style == _LINK and (not has_url or has_id):
        yield _problem(("components",), "A link button has a url and no custom id", code="BUTTON_COMPONENT_INVALID")
    if style not in {_LINK, _PREMIUM} and (has_url or not has_id):
        yield _problem(("components",), "A custom id is required", code="BUTTON_COMPONENT_CUSTOM_ID_REQUIRED")


def _select_problems(select: Json) -> Iterator[FormProblem]:
    options: list[Json] = select.get("options") or []
    values = [option["value"] for option in options]
    if not 1 <= len(options) <= MAX_OPTIONS:
        yield _problem(("components",), "Must be between 1 and 25 in length.", code="BASE_TYPE_BAD_LENGTH")
    if len(set(values)) != len(values):
        yield _problem(
            ("components",),
            "The specified option value is already used",
            code="SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
        )
    low, high = _bounds(select)
    if not low <= high <= max(len(options), 1):
        yield _problem(("components",), "min_values and max_values do not fit the options")
    if sum(bool(option.get("default")) for option in options) > high:
        yield _problem(("components",), "More options are chosen by default than may be chosen")


def _bounds(select: Json) -> tuple[int, int]:
    low, high = select.get("min_values"), select.get("max_values")
    return (1 if low is None else low, 1 if high is None else high)


def stored_components(components: Sequence[Json], media: Callable[[str], Media]) -> tuple[Json, ...]:
    """As Discord keeps them: with ids, defaults, and media unfurled by ``media``."""
    counter = iter(range(1, 10_000))
    return tuple(_stored(component, counter, media) for component in components)


def _stored(component: Json, counter: Iterator[int], media: Callable[[str], Media]) -> Json:
    kept: Json = {**_DEFAULTS.get(component["type"], {}), **without_none(component)}
    kept["id"] = kept.get("id") or next(counter)
    if kept["type"] in _SELECTS:
        kept["min_values"], kept["max_values"] = _bounds(kept)
    if kept["type"] == _FILE:
        shown = media(kept["file"]["url"])
        kept |= {"name": shown.name, "size": shown.size}
    for key, value in kept.items():
        kept[key] = _stored_value(key, value, counter, media)
    return kept


def _stored_value(key: str, value: Any, counter: Iterator[int], media: Callable[[str], Media]) -> Any:
    if key == "components":
        return [_stored(child, counter, media) for child in value]
    if key in {"accessory", "component"}:
        return _stored(value, counter, media)
    if key in _MEDIA_KEYS:
        return media(value["url"]).payload()
    if key == "items":
        return [
            {"spoiler": False, "description": None, **item, "media": media(item["media"]["url"]).payload()}
            for item in value
        ]
    if key == "options":
        return [without_none(option) for option in value]
    return value


def _problem(path: tuple[str | int, ...], message: str, *, code: str = "COMPONENT_LAYOUT_INVALID") -> FormProblem:
    return FormProblem(path=path, code=code, message=message)
