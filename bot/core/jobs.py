"""What jobs ask of the world. A job is an accepted request, known by its id; its `RequestRecord` says all else.

Every method may raise `StoreUnavailable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bot.core.models import AudioLink, FetchedAudio, Progress, SpooledAudio
    from bot.core.scheduling import Ledger

    Handler = Callable[[str], Awaitable[None]]
    """Does the job of that id. It is idempotent, and raises nothing but a cancellation."""


class Lane(StrEnum):
    """Jobs that wait for one another: nobody who waits for an answer waits for a recording of hours."""

    INTERACTIVE = "interactive"
    RECORDINGS = "recordings"
    READY = "ready"
    """Of those who need no transcriber: they wait for nobody."""


LINES: Final = (Lane.INTERACTIVE, Lane.RECORDINGS)
"""The lanes that are let in by turns."""


class JobQueue(Protocol):
    """Jobs that outlive a process. Each runs to its end at least once, on any machine."""

    async def submit(self, request_id: str, lane: Lane) -> None:
        """Let a job be run; one that is queued already, or under way, stays one."""
        ...

    async def cancel(self, request_id: str, lane: Lane) -> None:
        """Take a job out of the queue; the handler of one under way is cancelled where that can be had."""
        ...


class LedgerStore(Protocol):
    """Who waits to be let in, by lane."""

    async def get(self, lane: Lane) -> Ledger:
        """As it is now; an empty one where nobody waits."""
        ...

    async def change(self, lane: Lane, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Apply ``change`` to the present ledger; two at a time both count, so it may be called more than once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An answer to be delivered.

    ``entry`` is its place in the outbox; ``takes`` is how often it was taken, this time included.
    """

    entry: str
    request_id: str
    takes: int


class Outbox(Protocol):
    """Answers that are ready, until they are delivered."""

    async def post(self, request_id: str) -> None:
        """An answer is ready; it is in the request's record."""
        ...

    async def take(self, consumer: str, *, most: int, wait_s: float) -> Sequence[Parcel]:
        """Take up to ``most`` to deliver them: first those whose taker has kept still for long, then new ones.

        Waits for up to ``wait_s`` seconds where there is none.
        """
        ...

    async def keep(self, consumer: str, *entries: str) -> None:
        """Tell that one is still at it, so that nobody else takes them."""
        ...

    async def done(self, *entries: str) -> None:
        """They are delivered, or never will be."""
        ...


class ProgressBus(Protocol):
    """Carries progress from where a job runs to where it is shown. What is lost is lost: the newest is what counts."""

    def publish(self, request_id: str, progress: Progress) -> None:
        """Tell how far a job is; never blocks, and tells no more often than is of use."""
        ...

    def subscribe(self, request_id: str, observer: Callable[[Progress], None]) -> Callable[[], None]:
        """Call ``observer`` with the progress of a job, wherever it runs; the result ends that."""
        ...


class StopFlags(Protocol):
    """Requests that somebody wants to be stopped. A flag stays, so that no job misses it."""

    async def raise_flag(self, request_id: str) -> None:
        """Somebody wants it to stop."""
        ...

    async def raised(self, request_ids: Sequence[str]) -> frozenset[str]:
        """Those of them that are to stop."""
        ...


class AudioDepot(Protocol):
    """Where audio lies between the process that took a request and the one that listens to it.

    Raises:
        SpoolFull, SpoolFailed: no room, or it does not work.
    """

    async def deposit(self, audio: FetchedAudio, link: AudioLink) -> SpooledAudio:
        """Hand audio over; the local file stays the caller's to release."""
        ...

    async def withdraw(self, audio: SpooledAudio) -> FetchedAudio | None:
        """Bring it into this process' spool, as a file of the caller's own; None where it is gone."""
        ...

    async def discard(self, audio: SpooledAudio) -> None:
        """Delete what was deposited; doing it twice is harmless."""
        ...

    async def sweep(self) -> int:
        """Delete what nobody will ask for any more; how many files."""
        ...
