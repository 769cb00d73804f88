"""What is kept of a member, and how it is forgotten.

A member's requests stand in an index; every kind of thing that a request leaves behind (`Traces`) is found by it. So
forgetting takes the kinds one by one and the requests, with the index, last: whatever interrupts it, another run finds
what is left and finishes. A request that still runs while its member is forgotten leaves nothing when it ends: what is
forgotten stays so, see ``bot/adapters/records``.

Not forgotten are the member's rate buckets. They hold two numbers and nothing that was said, and end by themselves
within hours; deleting them would be a way around the limits. What others share of a request meanwhile (the news of a
transcription that several wait for) ends within a minute. The cache forgets at once where it can be reached, or else
when its time is over, within a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bot.core.ports import Cache
    from bot.core.records import RequestRecord

BATCH: Final = 100
"""Requests that are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How much is kept of a member, or was.

    ``results`` are requests of which a mode made something, those apart whose record is damaged; ``oldest`` is the Unix
    time of the oldest request, None where there is none.
    """

    results: int = 0
    transcripts: int = 0
    oldest: float | None = None

    def __add__(self, other: Kept) -> Kept:
        times = [time for time in (self.oldest, other.oldest) if time is not None]
        return Kept(
            results=self.results + other.results,
            transcripts=self.transcripts + other.transcripts,
            oldest=min(times, default=None),
        )


# --- what it asks of the world --------------------------------------------------------------------------------------


class Traces(Protocol):
    """One kind of thing that may be kept of a member. May raise `StoreUnavailable`."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    async def count(self, guild_id: int | None, member_id: int) -> Kept:
        """What there is."""
        ...

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        """Delete it; what went. Done again after it was interrupted, it deletes the rest."""
        ...


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


class MemberDeliveries(Protocol):
    """A member's answers on their way. May raise `StoreUnavailable`."""

    async def forget(self, guild_id: int | None, member_id: int) -> None:
        """Forget them; they still arrive, but are not sent out again after a restart."""
        ...


# --- the walk -------------------------------------------------------------------------------------------------------


class Privacy:
    """Counts and forgets what is kept of a member.

    Args:
        requests: with the index.
        transcripts: that the requests made.
        deliveries: answers on their way.
        cache: finished work, which the records name.
        more: other kinds of traces; forgotten before the requests, so that they can use their index.
    """

    def __init__(
        self,
        requests: MemberRequests,
        *,
        transcripts: MemberTranscripts,
        deliveries: MemberDeliveries,
        cache: Cache,
        more: Sequence[Traces] = (),
    ) -> None:
        self._traces: tuple[Traces, ...] = (
            *more,
            _Transcripts(requests, transcripts),
            _Deliveries(deliveries),
            _Requests(requests, transcripts, cache),  # the last, as it takes the index
        )

    async def kept(self, guild_id: int | None, member_id: int) -> Kept:
        """What is kept of a member in a guild; ``guild_id`` None is outside all guilds.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        total = Kept()
        for traces in self._traces:
            total += await traces.count(guild_id, member_id)
        return total

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        """Forget all of it; what went. It is safe to do it again, and after an error it is the way to go on.

        Raises:
            StoreUnavailable: some of it is still there.
        """
        gone = Kept()
        for traces in self._traces:
            gone += await traces.forget(guild_id, member_id)
        return gone


class _Transcripts:
    """What the member's requests heard. One that somebody else made, and that was only used again, is not theirs."""

    name = "transcripts"

    def __init__(self, requests: MemberRequests, transcripts: MemberTranscripts) -> None:
        self._requests = requests
        self._transcripts = transcripts

    async def count(self, guild_id: int | None, member_id: int) -> Kept:
        ids = await self._requests.ids(guild_id, member_id)
        return Kept(transcripts=sum([await self._transcripts.kept(batch) for batch in _batches(ids)]))

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        gone = 0
        for batch in _batches(await self._requests.ids(guild_id, member_id)):
            gone += await self._transcripts.kept(batch)
            await self._transcripts.delete(*batch)
        return Kept(transcripts=gone)


class _Deliveries:
    """Answers on their way; they count with their requests."""

    name = "deliveries"

    def __init__(self, deliveries: MemberDeliveries) -> None:
        self._deliveries = deliveries

    async def count(self, guild_id: int | None, member_id: int) -> Kept:  # noqa: ARG002 - the port's
        return Kept()

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        await self._deliveries.forget(guild_id, member_id)
        return Kept()


class _Requests:
    """Records with the results in them, and what they name in the cache."""

    name = "requests"

    def __init__(self, requests: MemberRequests, transcripts: MemberTranscripts, cache: Cache) -> None:
        self._requests = requests
        self._transcripts = transcripts
        self._cache = cache

    async def count(self, guild_id: int | None, member_id: int) -> Kept:
        total = Kept()
        for batch in _batches(await self._requests.ids(guild_id, member_id)):
            total += _of(await self._requests.read(batch))
        return total

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        gone = Kept()
        for batch in _batches(await self._requests.ids(guild_id, member_id)):
            records = await self._requests.read(batch)
            await self._cache.delete(*{key for record in records for key in record.cache_keys})
            await self._transcripts.delete(*batch)  # of those too that have come since transcripts were looked for
            await self._requests.bury(guild_id, member_id, batch)
            gone += _of(records)
        return gone


def _of(records: Sequence[RequestRecord]) -> Kept:
    return Kept(
        results=sum(record.result is not None for record in records),
        oldest=min((record.created_at for record in records), default=None),
    )


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
