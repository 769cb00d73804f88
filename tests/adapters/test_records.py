"""What lasts, on documents in this process and in Redis: one contract for each port."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import zstandard

from bot.adapters.documents import Line
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import (
    StoredAudit,
    StoredCircuits,
    StoredDeliveries,
    StoredLeases,
    StoredRequests,
    StoredSettings,
    StoredTranscripts,
)
from bot.adapters.records.settings import FRESH_S, GUILDS
from bot.adapters.redis import keys
from bot.adapters.redis.documents import RedisDocuments
from bot.core.circuits import CLOSED, Circuit
from bot.core.errors import NotFound, RecordInvalid, RecordTooNew, StoreUnavailable, TranscriptNotKept
from bot.core.records import (
    LONGEST_S,
    MAX_RECORD_BYTES,
    AuditEntry,
    Delivery,
    GuildSettings,
    RequestRecord,
    RequestState,
    ResultRecord,
    SourceKind,
)
from bot.settings import InvalidSettings, Settings
from tests.adapters.test_documents import NOW, Bench
from tests.fakes import FakeClock, a_transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.documents import Documents
    from bot.core.ports import AuditLog, DeliveryLog, Leases, RequestLog, SettingsStore, TranscriptStore

GUILD, MEMBER, DAY_S = 10, 20, 86_400.0
ID: Final = "0123456789abcdef"


class Shelf:
    """A cache that loses nothing."""

    def __init__(self, **kept: bytes) -> None:
        self.kept = kept

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        assert ttl_s > 0
        self.kept[key] = value

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self.kept.pop(key, None)


class Away:
    """Documents that are there at first, and then away whenever a test says so."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.away = False
        self.calls: list[str] = []

    @property
    def documents(self) -> Documents:
        """Itself, as what it does."""
        return cast("Documents", self)

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.away:
                raise StoreUnavailable("away")
            return await getattr(self._documents, name)(*args, **kwargs)

        return call


@pytest.fixture(params=["in process", "redis"])
def bench(request: pytest.FixtureRequest) -> Bench:
    clock = FakeClock(NOW)
    if request.param == "in process":
        return Bench(InProcessDocuments(now=clock), clock)
    server = request.getfixturevalue("store_server")
    return Bench(RedisDocuments(server, now=clock), clock, request.getfixturevalue("store_process"))


@pytest.fixture
def documents(bench: Bench) -> Documents:
    return bench.documents


# --- settings and the audit log -------------------------------------------------------------------------------------


def an_entry(what: str = "settings.language", *, who: int = 1, at: float = NOW, after: str = "") -> AuditEntry:
    return AuditEntry(guild_id=GUILD, at=at, who=who, what=what, after=after)


def with_channel(channel: int) -> Callable[[GuildSettings], GuildSettings]:
    def change(now: GuildSettings) -> GuildSettings:
        return now.model_copy(update={"automatic_channels": (*now.automatic_channels, channel)})

    return change


async def test_settings_are_the_defaults_until_somebody_changes_them(documents: Documents) -> None:
    store: SettingsStore = StoredSettings(documents, clock=FakeClock())
    assert await store.get(GUILD) == GuildSettings(guild_id=GUILD)
    changed = await store.change(GUILD, lambda now: now.model_copy(update={"language": "de"}), an_entry())
    assert changed == GuildSettings(guild_id=GUILD, language="de") == await store.get(GUILD)
    assert await StoredSettings(documents, clock=FakeClock()).get(GUILD) == changed


async def test_changes_at_the_same_time_all_count_and_are_all_noted(documents: Documents) -> None:
    stores = [StoredSettings(documents, clock=FakeClock()) for _ in range(2)]
    await asyncio.gather(
        *(stores[n % 2].change(GUILD, with_channel(n), an_entry(who=n, after=str(n))) for n in range(20))
    )
    settings = await StoredSettings(documents, clock=FakeClock()).get(GUILD)
    assert sorted(settings.automatic_channels) == list(range(20))
    entries = await StoredAudit(documents).entries(GUILD, 100)
    assert tuple(entry.who for entry in reversed(entries)) == settings.automatic_channels, "in the order of the changes"


async def test_settings_are_asked_for_once_in_a_while(documents: Documents) -> None:
    clock, asked = FakeClock(), Away(documents)
    store, other = StoredSettings(asked.documents, clock=clock), StoredSettings(documents, clock=clock)
    for _ in range(50):
        await store.get(GUILD)
    assert asked.calls == ["get"]
    await other.change(GUILD, lambda now: now.model_copy(update={"language": "de"}), an_entry())
    clock.now += FRESH_S
    assert (await store.get(GUILD)).language == "de"


async def test_a_change_is_seen_at_once_whatever_is_being_read(documents: Documents) -> None:
    class Slow(Away):
        """Gives what it read once it is told to."""

        def __init__(self) -> None:
            super().__init__(documents)
            self.go_on = asyncio.Event()

        async def get(self, key: str) -> bytes | None:
            found = await documents.get(key)
            await self.go_on.wait()
            return found

    slow = Slow()
    store = StoredSettings(documents, clock=FakeClock(), reading=slow.documents)
    reading = asyncio.create_task(store.get(GUILD))
    await asyncio.sleep(0)
    await store.change(GUILD, lambda now: now.model_copy(update={"language": "de"}), an_entry())
    slow.go_on.set()
    await reading
    assert (await store.get(GUILD)).language == "de"


async def test_without_a_store_the_last_known_settings_count_and_none_are_changed(documents: Documents) -> None:
    clock, behind = FakeClock(), Away(documents)
    store = StoredSettings(behind.documents, clock=clock)
    await store.change(GUILD, lambda now: now.model_copy(update={"language": "de"}), an_entry())
    behind.away = True
    clock.now += 10 * FRESH_S
    assert (await store.get(GUILD)).language == "de"
    assert await store.get(11) == GuildSettings(guild_id=11)
    with pytest.raises(StoreUnavailable):
        await store.change(GUILD, lambda now: now.model_copy(update={"language": "fr"}), an_entry())
    assert (await store.get(GUILD)).language == "de"
    behind.away = False
    await documents.delete(keys.settings(GUILD))
    assert (await store.get(GUILD)).language is None, "found again"


async def test_who_decides_by_settings_sees_them_as_they_are_or_not_at_all(documents: Documents) -> None:
    clock, behind = FakeClock(), Away(documents)
    store, other = StoredSettings(behind.documents, clock=clock), StoredSettings(documents, clock=clock)
    assert await store.look_up(GUILD) == await store.get(GUILD) == GuildSettings(guild_id=GUILD)
    await other.change(GUILD, lambda now: now.model_copy(update={"language": "de"}), an_entry())
    assert (await store.look_up(GUILD)).language == "de", "however fresh what is remembered"
    behind.away = True
    with pytest.raises(StoreUnavailable):
        await store.look_up(GUILD)


async def test_a_change_that_cannot_be_kept_changes_nothing(documents: Documents) -> None:
    store = StoredSettings(documents, clock=FakeClock())
    with pytest.raises(RecordInvalid):
        await store.change(GUILD, lambda now: now.model_copy(update={"burst": -1}), an_entry())
    with pytest.raises(ZeroDivisionError):
        await store.change(GUILD, lambda now: now.model_copy(update={"burst": 1 // 0}), an_entry())
    assert await store.get(GUILD) == GuildSettings(guild_id=GUILD)
    assert await StoredAudit(documents).entries(GUILD, 9) == []


async def test_what_a_later_version_wrote_stays_as_it_is(documents: Documents) -> None:
    raw = b'{"schema_version":2,"guild_id":10,"wisdom":true}'
    await documents.put(keys.settings(GUILD), raw, DAY_S)
    store = StoredSettings(documents, clock=FakeClock())
    with pytest.raises(RecordTooNew):
        await store.get(GUILD)
    with pytest.raises(RecordTooNew):
        await store.change(GUILD, with_channel(1), an_entry())
    assert await documents.get(keys.settings(GUILD)) == raw


async def test_damaged_settings_can_be_set_again(documents: Documents) -> None:
    await documents.put(keys.settings(GUILD), b"\xff", DAY_S)
    store = StoredSettings(documents, clock=FakeClock())
    assert await store.get(GUILD) == GuildSettings(guild_id=GUILD)
    await store.change(GUILD, with_channel(7), an_entry())
    assert (await StoredSettings(documents, clock=FakeClock()).get(GUILD)).automatic_channels == (7,)


async def test_a_guild_that_was_left_is_forgotten(bench: Bench) -> None:
    clock = FakeClock()
    store = StoredSettings(bench.documents, clock=clock)
    await store.change(GUILD, with_channel(7), an_entry())
    await store.expire(GUILD, within_s=30 * DAY_S)
    assert (await store.get(GUILD)).automatic_channels == (7,), "a request that was running meanwhile"
    bench.pass_time(30 * DAY_S)
    assert await StoredSettings(bench.documents, clock=clock).get(GUILD) == GuildSettings(guild_id=GUILD)
    clock.now += FRESH_S
    assert await store.get(GUILD) == GuildSettings(guild_id=GUILD)


@pytest.mark.parametrize("times_seen", [0, 3])
async def test_settings_last_while_the_bot_is_in_the_guild_and_end_where_nobody_saw_it_leave(
    bench: Bench, times_seen: int
) -> None:
    def seen() -> StoredSettings:
        return StoredSettings(bench.documents, clock=FakeClock())

    await seen().change(GUILD, with_channel(7), an_entry())
    for _ in range(times_seen):
        bench.pass_time(0.9 * keys.SETTINGS_S)
        await seen().keep([11, GUILD])
    bench.pass_time(0.9 * keys.SETTINGS_S)
    assert (await seen().get(GUILD)).automatic_channels == (7,)
    bench.pass_time(0.1 * keys.SETTINGS_S)
    assert await seen().get(GUILD) == GuildSettings(guild_id=GUILD)


async def test_a_guild_that_came_back_is_kept(bench: Bench) -> None:
    store = StoredSettings(bench.documents, clock=FakeClock())
    await store.change(GUILD, with_channel(7), an_entry())
    await store.expire(GUILD, within_s=30 * DAY_S)
    bench.pass_time(20 * DAY_S)
    await store.keep([GUILD])
    bench.pass_time(20 * DAY_S)
    assert (await StoredSettings(bench.documents, clock=FakeClock()).get(GUILD)).automatic_channels == (7,)


async def test_a_change_in_a_guild_that_came_back_keeps_it(bench: Bench) -> None:
    store = StoredSettings(bench.documents, clock=FakeClock())
    await store.change(GUILD, with_channel(7), an_entry())
    await store.expire(GUILD, within_s=DAY_S)
    await store.change(GUILD, with_channel(8), an_entry(who=2))
    bench.pass_time(2 * DAY_S)
    assert (await StoredSettings(bench.documents, clock=FakeClock()).get(GUILD)).automatic_channels == (7, 8)


async def test_not_more_guilds_are_remembered_than_there_is_room_for() -> None:
    asked = Away(InProcessDocuments(now=FakeClock()))
    store = StoredSettings(asked.documents, clock=FakeClock())
    for guild_id in range(GUILDS + 1):
        await store.get(guild_id)
    asked.calls.clear()
    await store.get(GUILDS)
    await store.get(1)
    assert asked.calls == []
    await store.get(0)
    assert asked.calls == ["get"], "the one that nobody asked for since"


async def test_the_audit_log_keeps_the_newest_and_ends(bench: Bench) -> None:
    log: AuditLog = StoredAudit(bench.documents)
    for number in range(keys.AUDIT_ENTRIES + 5):
        await log.note(an_entry(at=float(number)))
    await bench.documents.append(Line(key=keys.audit(GUILD), value=b"?", keep=keys.AUDIT_ENTRIES, ttl_s=keys.AUDIT_S))
    assert [entry.at for entry in await log.entries(GUILD, 4)] == [504.0, 503.0, 502.0], "the damaged one is left out"
    assert len(await log.entries(GUILD, 10_000)) == keys.AUDIT_ENTRIES - 1
    assert await log.entries(11, 9) == []
    bench.pass_time(keys.AUDIT_S)
    assert await log.entries(GUILD, 9) == []


# --- requests -------------------------------------------------------------------------------------------------------


def a_record(number: int = 0, **fields: Any) -> RequestRecord:
    defaults: dict[str, Any] = {
        "id": f"{number:016x}",
        "guild_id": GUILD,
        "channel_id": 30,
        "member_id": MEMBER,
        "source": SourceKind.ATTACHMENT,
        "created_at": NOW + number,
    }
    return RequestRecord(**{**defaults, **fields})


@pytest.fixture
def requests(bench: Bench) -> StoredRequests:
    return StoredRequests(bench.documents, cache=Shelf(), now=bench.now)


async def test_a_request_comes_back_until_its_time_is_over(bench: Bench, requests: StoredRequests) -> None:
    log: RequestLog = requests
    await log.put(a_record(), keep_s=7 * DAY_S)
    assert await log.get(a_record().id) == a_record()
    assert await log.of_member(GUILD, MEMBER) == [a_record()]
    bench.pass_time(7 * DAY_S)
    with pytest.raises(NotFound):
        await log.get(a_record().id)
    assert await log.of_member(GUILD, MEMBER) == []


async def test_a_request_of_the_same_id_is_replaced(requests: StoredRequests) -> None:
    done = a_record(state=RequestState.DONE, ended_at=NOW + 5)
    await requests.put(a_record(), keep_s=DAY_S)
    await requests.put(done, keep_s=DAY_S)
    assert await requests.of_member(GUILD, MEMBER) == [done]


async def test_members_have_their_own_requests_in_each_guild_the_newest_first(requests: StoredRequests) -> None:
    await requests.put(a_record(2), keep_s=100.0)
    await requests.put(a_record(3), keep_s=50.0)  # kept for less time, and newer all the same
    await requests.put(a_record(1), keep_s=75.0)
    await requests.put(a_record(4, guild_id=None), keep_s=100.0)
    await requests.put(a_record(5, guild_id=11), keep_s=100.0)
    await requests.put(a_record(6, member_id=21), keep_s=100.0)
    assert await requests.of_member(GUILD, MEMBER) == [a_record(3), a_record(2), a_record(1)]
    assert await requests.of_member(None, MEMBER) == [a_record(4, guild_id=None)]


async def test_more_requests_than_are_read_at_once(requests: StoredRequests) -> None:
    for number in range(250):
        await requests.put(a_record(number), keep_s=DAY_S)
    assert [record.created_at for record in await requests.of_member(GUILD, MEMBER)] == [
        NOW + number for number in reversed(range(250))
    ]


async def test_those_that_are_gone_leave_the_index_and_damaged_ones_are_left_out(
    documents: Documents, requests: StoredRequests
) -> None:
    for number in range(4):
        await requests.put(a_record(number), keep_s=DAY_S)
    await documents.delete(keys.request(a_record(0).id))
    await documents.put(keys.request(a_record(1).id), b"{", DAY_S)
    await documents.put(keys.request(a_record(2).id), b'{"schema_version": 3}', DAY_S)
    assert await requests.of_member(GUILD, MEMBER) == [a_record(3)]
    assert await requests.ids(GUILD, MEMBER) == [a_record(number).id for number in (3, 2, 1)]
    with pytest.raises(NotFound):
        await requests.get(a_record(1).id)
    with pytest.raises(RecordTooNew):
        await requests.get(a_record(2).id)


async def test_what_was_deleted_does_not_come_back(bench: Bench) -> None:
    documents, cache = bench.documents, Shelf(first=b"heard", audio=b"said", text=b"summed up", other=b"x")
    requests = StoredRequests(documents, cache=cache, now=bench.now)
    deliveries = StoredDeliveries(documents, now=bench.now)
    await requests.put(a_record(), keep_s=DAY_S)
    await requests.put(a_record(1), keep_s=DAY_S)
    await deliveries.begin(a_delivery())
    await requests.delete(a_record(cache_keys=("first",)))
    assert cache.kept.keys() == {"audio", "text", "other"}
    assert await deliveries.pending(GUILD, MEMBER) == frozenset()
    assert await requests.of_member(GUILD, MEMBER) == [a_record(1)]
    result = ResultRecord(format="markdown", text="summed up", model="o3")
    await requests.put(a_record(result=result, cache_keys=("audio", "text")), keep_s=DAY_S)  # the request ends
    await deliveries.begin(a_delivery())
    with pytest.raises(NotFound):
        await requests.get(a_record().id)
    assert await requests.of_member(GUILD, MEMBER) == [a_record(1)]
    assert await deliveries.pending(GUILD, MEMBER) == frozenset()
    assert cache.kept == {"other": b"x"}
    bench.pass_time(2 * DAY_S)
    assert await documents.get_many([keys.request(a_record().id), keys.delivery(a_record().id)]) == [None, None]


async def test_what_runs_for_longer_than_any_request_was_interrupted(bench: Bench, requests: StoredRequests) -> None:
    await requests.put(a_record(), keep_s=7 * DAY_S)
    await requests.put(a_record(1, state=RequestState.DONE), keep_s=7 * DAY_S)
    bench.pass_time(LONGEST_S - 1)
    assert (await requests.get(a_record().id)).state is RequestState.RUNNING
    bench.pass_time(1)
    interrupted = a_record(state=RequestState.INTERRUPTED)
    assert await requests.get(a_record().id) == interrupted
    assert await requests.of_member(GUILD, MEMBER) == [a_record(1, state=RequestState.DONE), interrupted]
    await requests.put(a_record(state=RequestState.DONE), keep_s=DAY_S)
    assert (await requests.get(a_record().id)).state is RequestState.DONE, "it went on after all"


def test_no_audio_can_be_allowed_that_takes_longer_to_hear_than_a_request_may_run() -> None:
    with pytest.raises(InvalidSettings, match="MAX_AUDIO_MINUTES"):
        Settings.from_env({"MAX_AUDIO_MINUTES": str(LONGEST_S / 60 + 1)})


async def test_a_result_that_is_too_large_costs_the_result_only(requests: StoredRequests) -> None:
    result = ResultRecord(format="markdown", text="x" * MAX_RECORD_BYTES, model="o3")
    await requests.put(a_record(result=result), keep_s=DAY_S)
    assert await requests.get(a_record().id) == a_record()
    with pytest.raises(RecordInvalid):
        await requests.put(a_record(answer_url="x" * MAX_RECORD_BYTES), keep_s=DAY_S)


# --- deliveries -----------------------------------------------------------------------------------------------------


def a_delivery(number: int = 0, **fields: Any) -> Delivery:
    defaults: dict[str, Any] = {
        "request_id": f"{number:016x}",
        "guild_id": GUILD,
        "channel_id": 30,
        "member_id": MEMBER,
        "private": False,
        "created_at": NOW,
    }
    return Delivery(**{**defaults, **fields})


async def test_an_answer_is_on_its_way_until_it_arrived_or_is_given_up(bench: Bench) -> None:
    log: DeliveryLog = StoredDeliveries(bench.documents, now=bench.now)
    for number in range(3):
        await log.begin(a_delivery(number))
    await log.begin(a_delivery(3, guild_id=None))
    await log.begin(a_delivery(1, attempts=2))
    await log.done(a_delivery(2))
    assert await log.pending(GUILD, MEMBER) == {a_delivery(0).request_id, a_delivery(1).request_id}
    assert await log.pending(None, MEMBER) == {a_delivery(3).request_id}
    assert await log.pending(GUILD, 21) == frozenset()
    bench.pass_time(keys.DELIVERY_S)
    assert await log.pending(GUILD, MEMBER) == frozenset()
    assert await bench.documents.get(keys.delivery(a_delivery().request_id)) is None


async def test_a_members_answers_are_forgotten_at_once(bench: Bench) -> None:
    log = StoredDeliveries(bench.documents, now=bench.now)
    await log.begin(a_delivery(0))
    await log.begin(a_delivery(1, member_id=21))
    await log.forget(GUILD, MEMBER)
    await log.begin(a_delivery(0, attempts=1))
    assert await log.pending(GUILD, MEMBER) == frozenset()
    assert await log.pending(GUILD, 21) == {a_delivery(1).request_id}


# --- transcripts ----------------------------------------------------------------------------------------------------


async def test_a_transcript_comes_back_until_its_time_is_over(bench: Bench) -> None:
    store: TranscriptStore = StoredTranscripts(bench.documents)
    said = a_transcript("Hello.", "Grüß Gott.", speakers=("A", "B"))
    await store.put(ID, a_transcript("First."), keep_s=DAY_S)
    await store.put(ID, said, keep_s=DAY_S)
    assert await store.get(ID) == said
    bench.pass_time(DAY_S)
    with pytest.raises(NotFound):
        await store.get(ID)


async def test_a_transcript_is_packed(documents: Documents) -> None:
    store = StoredTranscripts(documents)
    said = a_transcript(*(f"And then, at {number} o'clock, somebody said something else." for number in range(1_000)))
    await store.put(ID, said, keep_s=DAY_S)
    raw = await documents.get(keys.transcript(ID))
    assert raw is not None
    assert len(raw) < len(said.model_dump_json()) / 4
    assert raw[0] == 1


async def test_a_deleted_transcript_does_not_come_back(documents: Documents) -> None:
    store = StoredTranscripts(documents)
    await store.put(ID, a_transcript("Hello."), keep_s=DAY_S)
    assert await store.kept([ID, "f" * 16, "not an id"]) == 1
    await store.delete(ID, "e" * 16, "not an id")
    assert await store.kept([ID, "f" * 16]) == 0
    for request_id in (ID, "e" * 16):
        with pytest.raises(TranscriptNotKept):
            await store.put(request_id, a_transcript("Again."), keep_s=DAY_S)
        with pytest.raises(NotFound):
            await store.get(request_id)


@pytest.mark.parametrize("request_id", ["", "0" * 7, "0" * 65, "0123456789ABCDEF", "0123456789abcdef\n", "../x", "*"])
async def test_only_ids_of_ours_are_looked_up(request_id: str) -> None:
    asked = Away(InProcessDocuments(now=FakeClock()))
    transcripts = StoredTranscripts(asked.documents)
    with pytest.raises(NotFound):
        await transcripts.get(request_id)
    with pytest.raises(TranscriptNotKept):
        await transcripts.put(request_id, a_transcript(), keep_s=DAY_S)
    with pytest.raises(NotFound):
        await StoredRequests(asked.documents, cache=Shelf(), now=FakeClock()).get(request_id)
    assert asked.calls == []


def _zstd(content: bytes) -> bytes:
    return b"\x01" + zstandard.ZstdCompressor().compress(content)


def _thirsty(content: bytes) -> bytes:
    """A frame that wants 32 MiB to be read."""
    packing = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=25)
    ).compressobj()
    return b"\x01" + packing.compress(content) + packing.flush()


_WHOLE: Final = _zstd(a_transcript("Hello.").model_dump_json().encode())
_DAMAGED: Final = {
    "nothing": b"",
    "no packing": b"{}",
    "only its kind": b"\x01",
    "no zstd": b"\x01" + bytes(100),
    "cut": _WHOLE[: len(_WHOLE) // 2],
    "no JSON": _zstd(b"Hello."),
    "another record": _zstd(b'{"schema_version":1}'),
    "bomb": _zstd(bytes(50 * MAX_RECORD_BYTES)),
    "thirsty": _thirsty(a_transcript("Hello.").model_dump_json().encode()),
    "liar": b"\x01" + zstandard.FRAME_HEADER + b"\xe0" + b"\xff" * 8 + bytes(20),
}


@pytest.mark.parametrize("raw", _DAMAGED.values(), ids=_DAMAGED)
async def test_a_damaged_transcript_is_not_found(documents: Documents, raw: bytes) -> None:
    await documents.put(keys.transcript(ID), raw, DAY_S)
    with pytest.raises(NotFound):
        await StoredTranscripts(documents).get(ID)


@pytest.mark.parametrize("raw", [b"\x02...", _zstd(json.dumps({"schema_version": 2}).encode())])
async def test_a_transcript_of_a_later_version_says_so(documents: Documents, raw: bytes) -> None:
    await documents.put(keys.transcript(ID), raw, DAY_S)
    with pytest.raises(RecordTooNew) as caught:
        await StoredTranscripts(documents).get(ID)
    assert caught.value.values == {"what": "Transcript", "found": 2, "known": 1}


async def test_a_transcript_that_cannot_be_kept_says_so(documents: Documents) -> None:
    behind = Away(documents)
    store = StoredTranscripts(behind.documents)
    with pytest.raises(TranscriptNotKept):
        await store.put(ID, a_transcript("x" * MAX_RECORD_BYTES), keep_s=DAY_S)
    behind.away = True
    with pytest.raises(TranscriptNotKept):
        await store.put(ID, a_transcript("Hello."), keep_s=DAY_S)
    for call in (lambda: store.get(ID), lambda: store.delete(ID), lambda: store.kept([ID])):
        with pytest.raises(StoreUnavailable):
            await call()


# --- leases ---------------------------------------------------------------------------------------------------------


async def test_a_lease_has_one_holder(bench: Bench) -> None:
    leases: Leases = StoredLeases(bench.documents)
    assert await leases.take("cleanup", "one", ttl_s=100.0)
    assert not await leases.take("cleanup", "two", ttl_s=100.0)
    assert await leases.take("commands", "two", ttl_s=100.0)
    assert await bench.documents.get(keys.lease("cleanup")) == b"one"
    await leases.release("cleanup", "one")
    assert await bench.documents.get(keys.lease("cleanup")) is None
    assert await leases.take("cleanup", "two", ttl_s=100.0)
    bench.pass_time(100.0)
    assert await bench.documents.get(keys.lease("cleanup")) is None


# --- circuits of models -----------------------------------------------------------------------------------------------


async def test_a_circuit_is_swapped_by_whoever_knows_it(documents: Documents) -> None:
    here, there = StoredCircuits(documents), StoredCircuits(documents)
    assert await here.get("o3") == CLOSED
    seen = Circuit(failures=1, why="500")
    assert await here.swap("o3", CLOSED, seen, keep_s=60)
    assert not await there.swap("o3", CLOSED, Circuit(failures=1), keep_s=60), "it has failed meanwhile"
    assert await there.get("o3") == seen
    assert await there.swap("o3", seen, CLOSED, keep_s=60)
    assert await here.get("o3") == CLOSED
    assert await here.swap("o3", CLOSED, seen, keep_s=60), "a closed one that was written down is like none"
    assert await here.get("a model: {with} odd names\n") == CLOSED


@pytest.mark.parametrize("raw", [b"", b"junk", b"[]", b'{"schema_version": 9}', b'{"schema_version":1,"failures":-1}'])
async def test_a_circuit_that_cannot_be_read_is_closed_and_written_over(bench: Bench, raw: bytes) -> None:
    await bench.documents.put(keys.circuit("o3"), raw, 60)
    circuits = StoredCircuits(bench.documents)
    assert await circuits.get("o3") == CLOSED
    assert await circuits.swap("o3", CLOSED, Circuit(failures=1), keep_s=60)
    assert await circuits.get("o3") == Circuit(failures=1)
