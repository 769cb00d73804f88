"""Lines of text, within Discord's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.presentation.replies import CONTINUED, MAX_FIELD, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def fitting(lines: Sequence[str], limit: int) -> int:
    """How many of ``lines``, from the first, fit into ``limit`` characters with line breaks between them."""
    used = -1
    for number, line in enumerate(lines):
        used += len(line) + 1
        if used > limit:
            return number
    return len(lines)


def field_of_lines(name: str, lines: Iterable[str]) -> list[Field]:
    """As many fields as ``lines`` need, each of which is at most as long as a field."""
    left, fields = [line[:MAX_FIELD] for line in lines], list[Field]()
    while left:
        count = fitting(left, MAX_FIELD)
        fields.append(Field(name=CONTINUED if fields else name, value="\n".join(left[:count]), inline=False))
        left = left[count:]
    return fields
