"""The simulator's own time, which a test can put forward instead of waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time plus an offset in seconds."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        """Put the clock forward: deadlines, tokens and links of the simulator age at once."""
        self._ahead_s += seconds

    def monotonic(self) -> float:
        """Seconds that never go back; compare them with one another only."""
        return time.monotonic() + self._ahead_s

    def now(self) -> datetime:
        """The date and time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s)
