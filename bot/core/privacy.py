"""What is kept of a member, and how it is forgotten.

A member's requests stand in an index; everything that a request leaves behind is found by it. So forgetting takes the
requests in batches, of each batch the cache first and the requests, with their places in the index, last: whatever
interrupts it, another run finds what is left and finishes, and where the cache is away nothing is touched.
A request that still runs while its member is forgotten leaves nothing when it ends, and its member is told that it was
deleted: what is forgotten stays so, see ``bot/adapters/records``.

Not forgotten are the member's rate buckets. They hold two numbers and nothing that was said, and end by themselves
within hours; deleting them would be a way around the limits. What others share of a request meanwhile (the news of a
transcription that several wait for) ends within a minute. A record that cannot be read goes with the rest, but what
it named in the cache ends only when its time is over: those records are counted, and members are told.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bot.core.errors import SpoolFailed
from bot.core.models import SpooledAudio
from bot.core.records import RequestState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bot.core.jobs import StopFlags
    from bot.core.ports import Cache
    from bot.core.records import RequestRecord

BATCH: Final = 100
"""Requests that are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How much is kept of a member, or was.

    ``results`` are requests of which a mode made something; ``oldest`` is the Unix time of the oldest request, None
    where there is none. ``unread`` are requests whose record cannot be read: damaged, or of a later version.
    """

    results: int = 0
    transcripts: int = 0
    oldest: float | None = None
    unread: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything. A request that failed left only that it was made, which is something."""
        return bool(self.results or self.transcripts or self.unread) or self.oldest is not None

    def __add__(self, other: Kept) -> Kept:
        times = [time for time in (self.oldest, other.oldest) if time is not None]
        return Kept(
            results=self.results + other.results,
            transcripts=self.transcripts + other.transcripts,
            oldest=min(times, default=None),
            unread=self.unread + other.unread,
        )


# --- what it asks of the world --------------------------------------------------------------------------------------


class MemberRequests(Protocol):
    """A member's requests by their ids, whether they can be read or not. May raise `StoreUnavailable`."""

    async def ids(self, guild_id: int | None, member_id: int) -> list[str]:
        """All that the index names."""
        ...

    async def read(self, request_ids: Sequence[str]) -> list[RequestRecord]:
        """Those that can be read."""
        ...

    async def bury(self, guild_id: int | None, member_id: int, request_ids: Sequence[str]) -> None:
        """Forget them for good: the record, its delivery and last its place in the index."""
        ...


class MemberTranscripts(Protocol):
    """Transcripts, by the requests that made them. May raise `StoreUnavailable`."""

    async def kept(self, request_ids: Sequence[str]) -> int:
        """How many of them there are."""
        ...

    async def delete(self, *request_ids: str) -> None:
        """Forget them for good."""
        ...


class MemberAudio(Protocol):
    """Audio on its way to a job."""

    async def discard(self, audio: SpooledAudio) -> None:
        """Delete it; doing it twice is harmless.

        Raises:
            SpoolFailed: it may still be there, for up to a day.
        """
        ...


class MemberDeliveries(Protocol):
    """A member's answers on their way. May raise `StoreUnavailable`."""

    async def forget(self, guild_id: int | None, member_id: int) -> None:
        """Forget them; those that are not being sent already do not arrive any more."""
        ...


# --- the walk -------------------------------------------------------------------------------------------------------


class Privacy:
    """Counts and forgets what is kept of a member.

    Args:
        requests: with the index.
        transcripts: that the requests made. One that somebody else made, and that was only used again, is not theirs.
        deliveries: answers on their way.
        flags: stop what is under way.
        cache: finished work, which the records name.
        audio: what waits to be heard.
    """

    def __init__(
        self,
        requests: MemberRequests,
        *,
        transcripts: MemberTranscripts,
        deliveries: MemberDeliveries,
        flags: StopFlags,
        cache: Cache,
        audio: MemberAudio,
    ) -> None:
        self._requests = requests
        self._transcripts = transcripts
        self._deliveries = deliveries
        self._flags = flags
        self._cache = cache
        self._audio = audio

    async def kept(self, guild_id: int | None, member_id: int) -> Kept:
        """What is kept of a member in a guild; ``guild_id`` None is outside all guilds.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        total = Kept()
        for batch in _batches(await self._requests.ids(guild_id, member_id)):
            total += await self._of(batch, await self._requests.read(batch))
        return total

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        """Forget all of it; what went. It is safe to do it again, and after an error it is the way to go on.

        Raises:
            StoreUnavailable: some of it is still there.
        """
        gone = Kept()
        for batch in _batches(await self._requests.ids(guild_id, member_id)):
            records = await self._requests.read(batch)
            await self._cache.delete(*{key for record in records for key in record.cache_keys})
            gone += await self._of(batch, records)
            for record in records:
                await self._stop(record)
            await self._transcripts.delete(*batch)
            await self._requests.bury(guild_id, member_id, batch)
        await self._deliveries.forget(guild_id, member_id)
        return gone

    async def _stop(self, record: RequestRecord) -> None:
        """Stop a job, whose audio is not needed any more."""
        if record.order is None or record.state is not RequestState.RUNNING:
            return
        await self._flags.raise_flag(record.id)
        if isinstance(record.order.source, SpooledAudio):
            with suppress(SpoolFailed):
                await self._audio.discard(record.order.source)

    async def _of(self, request_ids: Sequence[str], records: Sequence[RequestRecord]) -> Kept:
        """What there is of a batch, of which ``records`` can be read."""
        return Kept(
            results=sum(record.result is not None for record in records),
            transcripts=await self._transcripts.kept(request_ids),
            oldest=min((record.created_at for record in records), default=None),
            unread=len(request_ids) - len(records),
        )


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
