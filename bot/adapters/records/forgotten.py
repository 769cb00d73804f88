"""What lies where something was deleted for good."""

from __future__ import annotations

from typing import Final

from bot.adapters.redis.keys import RESERVATION_TTL_S

FORGOTTEN: Final = b"\x00"
"""No record is written like that: they are JSON, or begin with the number of their packing."""

FORGOTTEN_S: Final = RESERVATION_TTL_S
"""Longer than any request runs: when it is gone, nobody is left who could write what was deleted."""
