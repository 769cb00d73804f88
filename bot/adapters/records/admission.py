"""Who waits to be let into the job engine, for all processes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.redis import keys
from bot.core.errors import RecordInvalid, RecordTooNew, StoreUnavailable
from bot.core.scheduling import LEDGER, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.documents import Documents
    from bot.core.jobs import Lane

TRIES: Final = 64
"""Each is lost to another process whose change counted."""


class StoredLedgers:
    """`bot.core.jobs.LedgerStore`: a document for each lane. The changes of one process wait for one another."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._read: dict[str, tuple[bytes, Ledger]] = {}

    async def get(self, lane: Lane) -> Ledger:
        """As it is now; an empty one where nobody waits.

        Raises:
            StoreUnavailable: it cannot be read now.
            RecordTooNew: a later version of the bot wrote it.
        """
        return self._ledger(lane, await self._documents.get(keys.ledger(lane)))

    async def change(self, lane: Lane, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Apply ``change`` to the present ledger; nothing is written where it changes nothing.

        Raises:
            StoreUnavailable: it cannot be done now. Where the answer was lost, it may have been done.
            RecordTooNew: a later version of the bot wrote it; it stays as it is.
        """
        key = keys.ledger(lane)
        async with self._turns[lane]:
            for _ in range(TRIES):
                raw = await self._documents.get(key)
                before = self._ledger(lane, raw)
                after = change(before)
                if after == before:
                    return before
                new = LEDGER.encode(after)
                if await self._documents.swap(key, raw, new, keys.LEDGER_S):
                    self._read[lane] = (new, after)
                    return after
        raise StoreUnavailable(f"the ledger of lane {lane} changes faster than it can be read")

    def _ledger(self, lane: Lane, raw: bytes | None) -> Ledger:
        """A ledger as it is written, decoded once; a damaged one is as good as none, or nobody could join again."""
        if raw is None:
            return Ledger()
        if lane in self._read and self._read[lane][0] == raw:
            return self._read[lane][1]
        try:
            ledger = LEDGER.decode(raw)
        except RecordTooNew:
            raise
        except RecordInvalid as exc:
            logger.error("the ledger of lane {} is damaged, those who waited have to join again: {}", lane, exc)
            return Ledger()
        self._read[lane] = (raw, ledger)
        return ledger
