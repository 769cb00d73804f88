"""Embeds: what Discord refuses, and how it stores them.

Source: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.errors import FormProblem
from tests.simulator.payloads import items, members, without_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.simulator.payloads import Json

MAX_EMBEDS = 10
MAX_TOTAL = 6_000
MAX_TITLE = 256
MAX_DESCRIPTION = 4_096
MAX_FIELDS = 25
MAX_FIELD_NAME = 256
MAX_FIELD_VALUE = 1_024
MAX_FOOTER = 2_048
MAX_AUTHOR = 256


def embed_problems(embeds: Sequence[Json]) -> Iterator[FormProblem]:
    """What is wrong with a message's embeds."""
    if len(embeds) > MAX_EMBEDS:
        yield _too_long(("embeds",), MAX_EMBEDS)
    if sum(len(text) for embed in embeds for _, text, _ in _texts(embed)) > MAX_TOTAL:
        yield FormProblem(
            path=("embeds",), code="MAX_EMBED_SIZE_EXCEEDED", message="Embed size exceeds maximum size of 6000"
        )
    for index, embed in enumerate(embeds):
        for path, text, limit in _texts(embed):
            if len(text) > limit:
                yield _too_long(("embeds", index, *path), limit)
        if len(items(embed.get("fields"))) > MAX_FIELDS:
            yield _too_long(("embeds", index, "fields"), MAX_FIELDS)
        for position, entry in enumerate(items(embed.get("fields"))):
            for key in ("name", "value"):
                if not entry[key].strip():
                    path = ("embeds", index, "fields", position, key)
                    yield FormProblem(path=path, code="BASE_TYPE_REQUIRED", message="This field is required")


def stored_embed(embed: Json, link: Callable[[str], str]) -> Json:
    """With what Discord adds: the type, ``inline``, and links to files of the message, which ``link`` resolves."""
    kept: Json = {"type": "rich", **without_none(embed)}
    if "fields" in kept:
        kept["fields"] = [{"inline": False, **without_none(entry)} for entry in kept["fields"]]
    for key in ("image", "thumbnail"):
        if key in kept:
            kept[key] = {"url": link(kept[key]["url"])}
    return kept


def _texts(embed: Json) -> Iterator[tuple[tuple[str | int, ...], str, int]]:
    """Everything that counts: where it is, the text, its limit in characters."""
    yield ("title",), embed.get("title") or "", MAX_TITLE
    yield ("description",), embed.get("description") or "", MAX_DESCRIPTION
    yield ("footer", "text"), members(embed.get("footer")).get("text") or "", MAX_FOOTER
    yield ("author", "name"), members(embed.get("author")).get("name") or "", MAX_AUTHOR
    for position, entry in enumerate(items(embed.get("fields"))):
        yield ("fields", position, "name"), entry["name"], MAX_FIELD_NAME
        yield ("fields", position, "value"), entry["value"], MAX_FIELD_VALUE


def _too_long(path: tuple[str | int, ...], limit: int) -> FormProblem:
    return FormProblem(path=path, code="BASE_TYPE_MAX_LENGTH", message=f"Must be {limit} or fewer in length.")
