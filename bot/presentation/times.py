"""Times and amounts as members read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Literal

from bot.presentation.messages import text

_MINUTE_S = 60
_SHOWN_IN_MINUTES = 90
_ALMOST = 1e-6
"""Tokens that are so near to a whole one are one: they are counted in floating point."""


def moment(unix: float, style: Literal["R", "f"] = "R") -> str:
    """Discord's time stamp; rounded up to the second, so that what is awaited is never announced too early."""
    return f"<t:{math.ceil(unix)}:{style}>"


def calendar_time(unix: float) -> str:
    """A moment where Discord shows no time stamps: in menus and files, in UTC."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M} UTC"


def about(seconds: float, locale: str) -> str:
    """A length of time in a few words, rounded up."""
    minutes = max(1, math.ceil(seconds / _MINUTE_S))
    if minutes == 1:
        return text("time.minute", locale)
    if minutes <= _SHOWN_IN_MINUTES:
        return text("time.minutes", locale, count=minutes)
    return text("time.hours", locale, count=math.ceil(minutes / _MINUTE_S))


def whole(tokens: float) -> int:
    """Tokens that can be spent: whole ones."""
    return max(0, math.floor(tokens + _ALMOST))


def counted(key: str, count: float, locale: str) -> str:
    """So many of something: ``key`` has a sentence for ``.one`` and one for ``.many``."""
    return text(f"{key}.one" if count == 1 else f"{key}.many", locale, count=f"{count:g}")
