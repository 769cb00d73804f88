"""Requests by their ids and by member, and answers on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.documents import Entry
from bot.adapters.records.forgotten import FORGOTTEN, FORGOTTEN_S
from bot.adapters.records.ids import ID
from bot.adapters.redis import keys
from bot.core.errors import NotFound, RecordInvalid, RecordTooNew
from bot.core.records import DELIVERY, REQUEST, Delivery, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bot.adapters.documents import Documents
    from bot.core.ports import Cache

BATCH: Final = 100
"""Records that are read together: a server waits for the longest of its answers."""


class StoredRequests:
    """`bot.core.ports.RequestLog`, and `bot.core.privacy.MemberRequests`.

    Args:
        documents: where they are kept.
        cache: where a request leaves what it made; of one that was forgotten, it is forgotten too.
        now: Unix time in seconds.
    """

    def __init__(self, documents: Documents, *, cache: Cache, now: Callable[[], float]) -> None:
        self._documents = documents
        self._cache = cache
        self._now = now

    async def put(self, record: RequestRecord, *, keep_s: float) -> None:
        """Keep a record, in its member's index too; one of the same id is replaced. A deleted one does not come back.

        Raises:
            RecordInvalid: it cannot be written even without its result.
            StoreUnavailable: it cannot be done now.
        """
        entry = Entry(
            index=keys.member(record.guild_id, record.member_id), member=record.id, until=self._now() + keep_s
        )
        raw = _written(record)
        if not await self._documents.put(keys.request(record.id), raw, keep_s, unless=FORGOTTEN, entry=entry):
            logger.info("request {} was deleted meanwhile: what it made is not kept", record.id)
            await self._cache.delete(*record.cache_keys)

    async def swap(self, old: RequestRecord, new: RequestRecord, *, keep_s: float) -> bool:
        """Write ``new`` where ``old`` is still what is kept; whether it was written."""
        return await self._documents.swap(keys.request(old.id), _written(old), _written(new), keep_s)

    async def get(self, request_id: str) -> RequestRecord:
        """Give it back.

        Raises:
            NotFound: there is none of that id, or it is damaged.
            RecordTooNew: a later version of the bot wrote it.
            StoreUnavailable: it cannot be looked up now.
        """
        if not ID.fullmatch(request_id):
            raise NotFound("not an id of a request")
        raw = await self._documents.get(keys.request(request_id))
        if raw is None or raw == FORGOTTEN:
            raise NotFound(f"request {request_id}")
        try:
            return REQUEST.decode(raw).as_of(self._now())
        except RecordTooNew:
            raise
        except RecordInvalid as exc:
            logger.warning("request {} cannot be read: {}", request_id, exc)
            raise NotFound(f"request {request_id}") from exc

    async def of_member(self, guild_id: int | None, member_id: int) -> list[RequestRecord]:
        """All of a member's in a guild, the newest first. Those that are gone leave the index."""
        index = keys.member(guild_id, member_id)
        found: list[RequestRecord] = []
        for batch in _batches(await self._documents.members(index)):
            records, gone = await self._look(batch)
            await self._documents.remove(index, *gone)
            found += records
        return sorted(found, key=lambda record: record.created_at, reverse=True)

    async def delete(self, record: RequestRecord) -> None:
        """Forget it for good: its place in the index, its delivery and what it left in the cache too.

        Its transcript is not touched.
        """
        await self._cache.delete(*record.cache_keys)
        await self.bury(record.guild_id, record.member_id, [record.id])

    async def ids(self, guild_id: int | None, member_id: int) -> list[str]:
        """All of a member's, whether they can be read or not."""
        return await self._documents.members(keys.member(guild_id, member_id))

    async def read(self, request_ids: Sequence[str]) -> list[RequestRecord]:
        """Those that can be read."""
        return [record for batch in _batches(request_ids) for record in (await self._look(batch))[0]]

    async def bury(self, guild_id: int | None, member_id: int, request_ids: Sequence[str]) -> None:
        """Forget several for good; the index comes last, so that it can be done again."""
        for batch in _batches(request_ids):
            left = [key for request_id in batch for key in (keys.request(request_id), keys.delivery(request_id))]
            await self._documents.overwrite(left, FORGOTTEN, FORGOTTEN_S)
            await self._documents.remove(keys.deliveries(guild_id, member_id), *batch)
            await self._documents.remove(keys.member(guild_id, member_id), *batch)

    async def _look(self, request_ids: Sequence[str]) -> tuple[list[RequestRecord], list[str]]:
        """The records that can be read, and the ids of those that are gone; damaged ones are neither."""
        raws = await self._documents.get_many([keys.request(request_id) for request_id in request_ids])
        records: list[RequestRecord] = []
        gone: list[str] = []
        for request_id, raw in zip(request_ids, raws, strict=True):
            if raw is None or raw == FORGOTTEN:
                gone.append(request_id)
                continue
            try:
                records.append(REQUEST.decode(raw).as_of(self._now()))
            except RecordInvalid as exc:
                logger.warning("request {} is left out: {}", request_id, exc)
        return records, gone


def _written(record: RequestRecord) -> bytes:
    try:
        return REQUEST.encode(record)
    except RecordInvalid as exc:
        if record.result is None:
            raise
        logger.warning("request {} is kept without its result: {}", record.id, exc)
        return REQUEST.encode(record.model_copy(update={"result": None}))


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]


class StoredDeliveries:
    """`bot.core.ports.DeliveryLog`, and `bot.core.privacy.MemberDeliveries`.

    Args:
        documents: where they are kept.
        now: Unix time in seconds.
    """

    def __init__(self, documents: Documents, *, now: Callable[[], float]) -> None:
        self._documents = documents
        self._now = now

    async def begin(self, delivery: Delivery) -> None:
        """An answer sets out; that of a deleted request does so unrecorded."""
        index = keys.deliveries(delivery.guild_id, delivery.member_id)
        entry = Entry(index=index, member=delivery.request_id, until=self._now() + keys.DELIVERY_S)
        key, raw = keys.delivery(delivery.request_id), DELIVERY.encode(delivery)
        await self._documents.put(key, raw, keys.DELIVERY_S, unless=FORGOTTEN, entry=entry)

    async def done(self, delivery: Delivery) -> None:
        """It arrived."""
        await self._documents.remove(keys.deliveries(delivery.guild_id, delivery.member_id), delivery.request_id)
        await self._documents.delete(keys.delivery(delivery.request_id))

    async def pending(self, guild_id: int | None, member_id: int) -> frozenset[str]:
        """The requests of a member whose answers have not arrived."""
        return frozenset(await self._documents.members(keys.deliveries(guild_id, member_id)))

    async def forget(self, guild_id: int | None, member_id: int) -> None:
        """Forget all of a member's for good."""
        index = keys.deliveries(guild_id, member_id)
        for batch in _batches(await self._documents.members(index)):
            await self._documents.overwrite([keys.delivery(one) for one in batch], FORGOTTEN, FORGOTTEN_S)
            await self._documents.remove(index, *batch)
