"""Discord's ids.

Source: https://discord.com/developers/docs/reference#snowflakes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.clock import Clock

EPOCH_MS = 1_420_070_400_000
"""The first millisecond of 2015, in Unix time."""

_LOW_BITS = 22


class Snowflakes:
    """Makes ids that are unique, rise, and hold the time of their making."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """Make the next id."""
        elapsed_ms = int(self._clock.now().timestamp() * 1000) - EPOCH_MS
        self._last = max(self._last + 1, elapsed_ms << _LOW_BITS)
        return self._last


def shard_of(guild_id: int, shard_count: int) -> int:
    """Which shard a guild belongs to.

    Source: https://discord.com/developers/docs/events/gateway#sharding
    """
    return (guild_id >> _LOW_BITS) % shard_count
