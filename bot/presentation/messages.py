"""What a member reads, by key and locale: a translation is one more module like ``english``.

What a translation lacks is said in English.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

from bot.presentation.english import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LOCALE: Final = "en-US"

_BY_LOCALE: Final[Mapping[str, Mapping[str, str]]] = {DEFAULT_LOCALE: ENGLISH}


def keys() -> frozenset[str]:
    """All keys there are."""
    return frozenset(ENGLISH)


def names_in(key: str) -> frozenset[str]:
    """What the sentence of a key mentions."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(ENGLISH[key]) if name is not None)


def text(key: str, locale: str = DEFAULT_LOCALE, /, **values: str | float) -> str:
    """The sentence of ``key`` in a member's language."""
    template = _BY_LOCALE.get(locale, ENGLISH).get(key) or ENGLISH[key]
    return template.format(**values)
