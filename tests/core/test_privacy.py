"""What is kept of a member is counted, and goes: all of it, of nobody else, and for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import StoredDeliveries, StoredRequests, StoredStopFlags, StoredTranscripts
from bot.adapters.redis import keys
from bot.core.errors import NotFound, SpoolFailed, StoreUnavailable, TranscriptNotKept
from bot.core.orders import LinkRecord, Order, SpooledRecord
from bot.core.privacy import BATCH, Kept, Privacy
from bot.core.quotas import BucketId
from bot.core.records import Delivery, RequestRecord, RequestState, ResultRecord, SourceKind
from tests.fakes import FakeClock, FakeDepot, a_transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.adapters.documents import Documents

GUILD, MEMBER, OTHER = 10, 20, 21
NOW, DAY_S = 1_700_000_000.0, 86_400.0
SAID: Final = "the secret of the soup"


class Shelf:
    """A cache that loses nothing, and can be away."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        assert ttl_s > 0
        self.kept[key] = value

    async def delete(self, *keys: str) -> None:
        if self.away:
            raise StoreUnavailable("the cache is away")
        for key in keys:
            self.kept.pop(key, None)


class Remembering(InProcessDocuments):
    """Documents that break off after so many writes, and know every key that was ever written."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock)
        self.left: int | None = None
        self.written: set[str] = set()

    async def put(self, key: str, *args: Any, **kwargs: Any) -> bool:
        self.written.add(key)
        return await super().put(key, *args, **kwargs)

    async def overwrite(self, keys: Sequence[str], *args: Any, **kwargs: Any) -> None:
        self.written.update(keys)
        self._count()
        await super().overwrite(keys, *args, **kwargs)

    async def remove(self, index: str, *members: str) -> None:
        self._count()
        await super().remove(index, *members)

    def _count(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise StoreUnavailable("broke off")
            self.left -= 1


class Town:
    """Everything that keeps something."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.documents = Remembering(self.clock)
        self.cache = Shelf()
        documents = cast("Documents", self.documents)
        self.requests = StoredRequests(documents, cache=self.cache, now=self.clock)
        self.deliveries = StoredDeliveries(documents, now=self.clock)
        self.transcripts = StoredTranscripts(documents)
        self.flags = StoredStopFlags(documents)
        self.depot = FakeDepot()
        self.privacy = Privacy(
            self.requests,
            transcripts=self.transcripts,
            deliveries=self.deliveries,
            flags=self.flags,
            cache=self.cache,
            audio=self.depot,
        )

    def record(self, number: int, *, member: int = MEMBER, guild: int | None = GUILD) -> RequestRecord:
        return RequestRecord(
            id=f"{number:016x}",
            guild_id=guild,
            channel_id=30,
            member_id=member,
            source=SourceKind.ATTACHMENT,
            filename=SAID,
            created_at=NOW + number,
            answer_url=SAID,
        )

    async def ended(self, record: RequestRecord) -> None:
        """The request ends as all do: with a transcript, a result, cached work, and an answer on its way."""
        keys = (f"transcript of {record.id}", f"completion of {record.id}")
        for key in keys:
            await self.cache.put(key, SAID.encode(), ttl_s=DAY_S)
        result = ResultRecord(format="markdown", text=SAID, model="o3")
        kept_as = record.id
        try:
            await self.transcripts.put(record.id, a_transcript(SAID), keep_s=DAY_S)
        except TranscriptNotKept:
            kept_as = None
        update = {"result": result, "cache_keys": keys, "transcript_id": kept_as, "ended_at": NOW}
        await self.requests.put(record.model_copy(update=update), keep_s=DAY_S)
        await self.deliveries.begin(
            Delivery(
                request_id=record.id,
                guild_id=record.guild_id,
                channel_id=30,
                member_id=record.member_id,
                private=False,
                created_at=NOW,
            )
        )

    async def left(self) -> list[bytes]:
        """Every document that there is, small marks apart."""
        found = await self.documents.get_many(sorted(self.documents.written))
        return [raw for raw in found if raw is not None and len(raw) > 1]


async def test_what_is_kept_is_counted() -> None:
    town = Town()
    assert await town.privacy.kept(GUILD, MEMBER) == Kept()
    for number in (3, 1, 2):
        await town.ended(town.record(number))
    await town.requests.put(town.record(7), keep_s=DAY_S)  # still runs
    await town.ended(town.record(0, member=OTHER))
    assert await town.privacy.kept(GUILD, MEMBER) == Kept(results=3, transcripts=3, oldest=NOW + 1)


async def test_all_of_it_goes_and_nothing_of_anybody_else() -> None:
    town = Town()
    others = [town.record(100, member=OTHER), town.record(101, guild=None), town.record(102, guild=11)]
    for record in (*(town.record(number) for number in range(5)), *others):
        await town.ended(record)
    assert await town.privacy.forget(GUILD, MEMBER) == Kept(results=5, transcripts=5, oldest=NOW)
    assert await town.privacy.kept(GUILD, MEMBER) == Kept()
    assert await town.requests.of_member(GUILD, MEMBER) == []
    assert await town.deliveries.pending(GUILD, MEMBER) == frozenset()
    for record in others:
        assert await town.privacy.kept(record.guild_id, record.member_id) == Kept(
            results=1, transcripts=1, oldest=record.created_at
        )
        assert (await town.transcripts.get(record.id)).text == SAID
    assert sorted(town.cache.kept) == sorted(
        f"{what} of {r.id}" for r in others for what in ("transcript", "completion")
    )
    assert len(await town.left()) == 3 * len(others), "a record, a transcript and a delivery of each"
    assert await town.privacy.forget(GUILD, MEMBER) == Kept(), "there is nothing left to go"


async def test_a_transcript_of_somebody_else_that_was_used_again_stays() -> None:
    town = Town()
    await town.ended(town.record(1, member=OTHER))
    again = town.record(2).model_copy(update={"transcript_id": town.record(1).id})
    await town.requests.put(again, keep_s=DAY_S)
    await town.privacy.forget(GUILD, MEMBER)
    assert (await town.transcripts.get(town.record(1).id)).text == SAID


async def test_what_cannot_be_read_is_counted_and_goes_with_the_rest() -> None:
    town = Town()
    for number in range(2):
        await town.ended(town.record(number))
    await town.documents.put(keys.request(town.record(0).id), b'{"schema_version": 99, "said": "..."}', DAY_S)
    kept = Kept(results=1, transcripts=2, oldest=NOW + 1, unread=1)
    assert await town.privacy.kept(GUILD, MEMBER) == kept
    assert await town.privacy.forget(GUILD, MEMBER) == kept
    assert await town.left() == []
    assert len(town.cache.kept) == 2, "what it named in the cache nobody can tell"
    assert not await town.privacy.kept(GUILD, MEMBER)


async def test_a_request_that_still_runs_leaves_nothing_when_it_ends() -> None:
    town = Town()
    running = town.record(1)
    await town.requests.put(running, keep_s=DAY_S)
    await town.privacy.forget(GUILD, MEMBER)
    await town.ended(running)
    await town.requests.put(running.model_copy(update={"answer_url": SAID}), keep_s=DAY_S)  # its answer arrived
    assert await town.left() == []
    assert town.cache.kept == {}
    assert await town.privacy.kept(GUILD, MEMBER) == Kept()
    with pytest.raises(NotFound):
        await town.requests.get(running.id)
    await town.ended(town.record(2))
    assert (await town.privacy.kept(GUILD, MEMBER)).results == 1, "what is asked for afterwards is kept"


@pytest.mark.parametrize("requests", [3, BATCH + 3])
async def test_wherever_it_breaks_off_another_run_finishes_it(requests: int) -> None:
    writes = 0
    while True:
        town = Town()
        for number in range(requests):
            await town.ended(town.record(number))
        town.documents.left = writes
        try:
            await town.privacy.forget(GUILD, MEMBER)
        except StoreUnavailable:
            town.documents.left = None
            await town.requests.of_member(GUILD, MEMBER)  # somebody looks meanwhile, which tidies the index
            await town.privacy.forget(GUILD, MEMBER)
            assert await town.left() == [], f"it broke off after {writes} writes"
            assert town.cache.kept == {}
            assert await town.privacy.kept(GUILD, MEMBER) == Kept()
            writes += 1
        else:
            break
    assert writes > 3, "there were places to break off at"


async def test_rate_buckets_stay() -> None:
    """Or forgetting would be a way to get tokens."""
    town = Town()
    bucket = keys.bucket(BucketId(guild_id=GUILD, member_id=MEMBER))
    await town.documents.put(bucket, b"0 tokens", DAY_S)
    await town.ended(town.record(1))
    await town.privacy.forget(GUILD, MEMBER)
    assert await town.documents.get(bucket) == b"0 tokens"


async def test_without_the_cache_nothing_is_touched_and_another_run_finishes_it() -> None:
    town = Town()
    for number in range(3):
        await town.ended(town.record(number))
    before, cached = await town.left(), dict(town.cache.kept)
    town.cache.away = True
    with pytest.raises(StoreUnavailable):
        await town.privacy.forget(GUILD, MEMBER)
    assert (await town.left(), town.cache.kept) == (before, cached)
    assert await town.privacy.kept(GUILD, MEMBER) == Kept(results=3, transcripts=3, oldest=NOW), "it is only counted"
    town.cache.away = False
    assert await town.privacy.forget(GUILD, MEMBER) == Kept(results=3, transcripts=3, oldest=NOW)
    assert (await town.left(), town.cache.kept) == ([], {})


async def test_without_a_store_nothing_is_said_to_be_gone() -> None:
    town = Town()
    await town.ended(town.record(1))
    town.documents.left = 0
    with pytest.raises(StoreUnavailable):
        await town.privacy.forget(GUILD, MEMBER)
    assert await town.privacy.kept(GUILD, MEMBER) == Kept(results=1, transcripts=1, oldest=NOW + 1)


# --- what is under way ----------------------------------------------------------------------------------------------


def a_job(home: Town, number: int, state: RequestState = RequestState.RUNNING) -> RequestRecord:
    """One whose audio waits to be heard."""
    link = LinkRecord(url="https://cdn.discordapp.com/a.ogg", filename="a.ogg")
    spooled = SpooledRecord(key=f"{number:032x}", sha256="0" * 64, size=9)
    order = Order(link=link, spooled=spooled, scope="g1", keep_s=DAY_S)
    return home.record(number).model_copy(update={"order": order, "state": state})


@pytest.mark.parametrize("error", [None, SpoolFailed("the disk does not work")], ids=["well", "disk"])
async def test_what_is_under_way_is_stopped_and_its_audio_goes(error: Exception | None) -> None:
    home = Town()
    home.depot.error = error
    running, ended = a_job(home, 1), a_job(home, 2, RequestState.DONE)
    for record in (running, ended):
        await home.requests.put(record, keep_s=DAY_S)
    await home.privacy.forget(GUILD, MEMBER)
    assert await home.flags.raised([running.id, ended.id]) == {running.id}
    assert home.depot.discarded == ([] if error else [f"{1:032x}"])
    assert await home.requests.ids(GUILD, MEMBER) == []
