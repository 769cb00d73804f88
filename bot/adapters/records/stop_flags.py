"""Requests that somebody wants to be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.adapters.records.ids import ID
from bot.adapters.redis import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.adapters.documents import Documents


class StoredStopFlags:
    """`bot.core.jobs.StopFlags`. What is not the id of a request is never to stop."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def raise_flag(self, request_id: str) -> None:
        """Somebody wants it to stop, from now on for a day. A store that is full takes this too.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        if ID.fullmatch(request_id):
            await self._documents.overwrite([keys.stop(request_id)], b"1", keys.STOP_S)

    async def raised(self, request_ids: Sequence[str]) -> frozenset[str]:
        """Those of them that are to stop.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        ids = [request_id for request_id in request_ids if ID.fullmatch(request_id)]
        flags = await self._documents.get_many([keys.stop(request_id) for request_id in ids])
        return frozenset(request_id for request_id, flag in zip(ids, flags, strict=True) if flag is not None)
