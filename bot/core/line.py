"""How long the line in front of the job engine is, as it was seen last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.core.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.jobs import LedgerStore
    from bot.core.scheduling import Ledger


class Line:
    """Implements `LoadEstimate` for all processes together; `look` now and then.

    Args:
        ledgers: who waits.
        now: Unix time in seconds.
    """

    def __init__(self, ledgers: LedgerStore, *, now: Callable[[], float]) -> None:
        self._ledgers = ledgers
        self._now = now
        self._wait_s = 0.0
        self.waiting = 0
        """Requests that wait to be let in."""
        self.admitted = 0
        """Requests that were let in and have not left."""
        self.places = 0
        """Transcriptions that all living workers do at a time."""

    async def look(self) -> None:
        """See how things stand.

        Raises:
            StoreUnavailable: nobody knows; what was seen last no longer counts.
        """
        self._wait_s = 0.0
        self.see(Lane.INTERACTIVE, await self._ledgers.get(Lane.INTERACTIVE))

    def see(self, lane: Lane, ledger: Ledger) -> None:
        """Take note of how things stand, as they were just changed or looked up."""
        if lane is not Lane.INTERACTIVE:
            return
        now = self._now()
        self.waiting, self.admitted = len(ledger.waiting), len(ledger.admitted)
        self.places = ledger.places_at(now)
        self._wait_s = ledger.newcomers_wait_s(now) or 0.0

    def expected_wait_s(self) -> float:
        """Seconds until a request of a guild that has none would be begun; 0 where nobody knows."""
        return self._wait_s
