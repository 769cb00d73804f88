"""Lets requests into the job engine as there is room: the bookkeeping of `bot.core.scheduling`, and what follows.

A request is written down before it is submitted. Where a process dies in between, or the engine loses a job, it is
submitted again later, by whoever looks; the engine takes each once. So any number of processes may do this at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.core.errors import Overloaded, StoreUnavailable, reference_of
from bot.core.scheduling import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bot.core.jobs import JobQueue, Lane, LedgerStore
    from bot.core.scheduling import Entry, Ledger, Place

MOST_WAITING: Final = 500
MOST_IN_GUILD: Final = 100
"""Requests of one guild that may wait: no flood takes all the room there is."""


class Admission:
    """Who waits in each lane, and who is next. Every method may raise `StoreUnavailable`, and can be called again then.

    Args:
        ledgers: what all processes know.
        queue: where jobs are submitted.
        now: Unix time in seconds.
        most_waiting: requests that may wait in a lane.
        most_in_guild: requests of one guild that may.
        seen: told of each ledger that this process has changed or looked at.
    """

    def __init__(
        self,
        ledgers: LedgerStore,
        queue: JobQueue,
        *,
        now: Callable[[], float],
        most_waiting: int = MOST_WAITING,
        most_in_guild: int = MOST_IN_GUILD,
        seen: Callable[[Lane, Ledger], None] | None = None,
    ) -> None:
        self._ledgers = ledgers
        self._queue = queue
        self._now = now
        self._most_waiting = most_waiting
        self._most_in_guild = most_in_guild
        self._seen = seen

    async def join(self, lane: Lane, entry: Entry) -> None:
        """Let a request wait for its turn, which may be at once; one that is known already stays as it is.

        Raises:
            Overloaded: too many wait.
        """

        def joined(ledger: Ledger) -> Ledger:
            after = ledger.joined(entry)
            is_full = (
                len(ledger.waiting) >= self._most_waiting or ledger.waiting_in(entry.guild_id) >= self._most_in_guild
            )
            if after != ledger and is_full:
                raise self._overloaded(lane, after.place(entry.request_id, self._now()))
            return after

        await self._change(lane, joined)

    async def ready(self, lane: Lane, request_id: str) -> None:
        """Hold a request no longer."""
        await self._change(lane, lambda ledger: ledger.readied(request_id))

    async def leave(self, lane: Lane, request_id: str) -> None:
        """A request is done, or nobody wants it any more: there may be room for the next."""
        await self._change(lane, lambda ledger: ledger.left(request_id))

    async def announce(self, lane: Lane, name: str, places: int, speed: float, ttl_s: float) -> None:
        """A process does so many jobs at a time, each at ``speed`` seconds of audio a second, for ``ttl_s`` s."""
        worker = Worker(name=name, places=places, speed=speed, until=self._now() + ttl_s)
        await self._change(lane, lambda ledger: ledger.announced(worker))

    async def retire(self, lane: Lane, name: str) -> None:
        """A process takes no more jobs."""
        await self._change(lane, lambda ledger: ledger.retired(name))

    async def let_in(self, lane: Lane) -> None:
        """Let in whoever is next, and submit again what has long been in: to be called now and then, by anybody."""
        await self._change(lane, lambda ledger: ledger)

    async def known(self, lane: Lane) -> tuple[str, ...]:
        """The ids of all that wait, or were let in and have not left."""
        ledger = await self._ledgers.get(lane)
        return (*ledger.waiting, *(entry.request_id for entry in ledger.admitted))

    async def place(self, lane: Lane, request_id: str) -> Place | None:
        """Where a request stands; None where it does not wait."""
        return (await self.places(lane, [request_id])).get(request_id)

    async def places(self, lane: Lane, request_ids: Iterable[str]) -> dict[str, Place]:
        """Where each of them stands that waits."""
        places = (await self._ledgers.get(lane)).places(self._now())
        return {request_id: places[request_id] for request_id in request_ids if request_id in places}

    async def _change(self, lane: Lane, change: Callable[[Ledger], Ledger]) -> None:
        due: dict[str, None] = {}

        def changed(ledger: Ledger) -> Ledger:
            after, ids = change(ledger).admitted_now(self._now())
            # All of every try: one that seemed to fail may have been written, and then the next finds nothing to do.
            due.update(dict.fromkeys(ids))
            return after

        ledger = await self._ledgers.change(lane, changed)
        if self._seen is not None:
            self._seen(lane, ledger)
        for request_id in due:
            if ledger.is_in(request_id):
                await self._submit(request_id, lane)

    async def _submit(self, request_id: str, lane: Lane) -> None:
        try:
            await self._queue.submit(request_id, lane)
        except StoreUnavailable as exc:  # it is written down, so it will be again: nobody has failed
            logger.info("request {} is submitted later: {}", reference_of(request_id), exc)

    def _overloaded(self, lane: Lane, place: Place | None) -> Overloaded:
        detail = f"too many requests wait to be let in ({lane})"
        if place is None or place.wait_s is None:
            return Overloaded(detail)
        return Overloaded(detail, wait_s=place.wait_s)
