"""Records: every one comes back as it was, older ones are migrated, and nothing hostile gets through."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.core.durable import DEEPEST, SHORT
from bot.core.errors import RecordInvalid, RecordTooNew
from bot.core.jobs import Lane
from bot.core.models import AudioLink, ModeRef, Note, NoteKey, Segment, Stage, StageStatus, Task, Transcript
from bot.core.orders import Address, LinkRecord, Order, SpooledRecord
from bot.core.records import (
    AUDIT,
    DELIVERY,
    GUILD_SETTINGS,
    MAX_RECORD_BYTES,
    REQUEST,
    TRANSCRIPT,
    AuditEntry,
    Codec,
    Delivery,
    GuildSettings,
    RequestRecord,
    RequestState,
    ResultRecord,
    SourceKind,
    StageRecord,
    TierSetting,
)

SECRET: Final = "aW50ZXJhY3Rpb24tdG9rZW4"
CODECS: Final[list[Codec[Any]]] = [GUILD_SETTINGS, REQUEST, DELIVERY, AUDIT, TRANSCRIPT]

# --- every record ---------------------------------------------------------------------------------------------------

_ids = st.integers(0, 2**64 - 1)
_times = st.floats(0, 1e11)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_request_ids = st.text("0123456789abcdef", min_size=8, max_size=64)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=10,
)
_notes = st.lists(
    st.builds(
        Note, key=st.sampled_from(NoteKey), values=st.dictionaries(_texts, _texts | st.floats(-1e9, 1e9), max_size=3)
    ),
    max_size=3,
).map(tuple)
_settings = st.builds(
    GuildSettings,
    guild_id=_ids,
    default_mode=st.none() | _texts,
    language=st.none() | st.just("de"),
    moderator_role_id=st.none() | _ids,
    per_hour=st.none() | st.floats(0.001, 10_000),
    burst=st.none() | st.integers(1, 1_000),
    daily_budget=st.none() | st.integers(0, 1_000_000),
    tiers=st.lists(
        st.builds(TierSetting, role_id=_ids, per_hour=st.floats(0.001, 10_000), burst=st.integers(1, 1_000)), max_size=3
    ).map(tuple),
    retention_days=st.none() | st.floats(0.001, 3_650),
    automatic_channels=st.lists(_ids, max_size=5).map(tuple),
)
_results = st.builds(
    ResultRecord, format=st.sampled_from(["markdown", "json"]), text=_texts, data=_json, model=st.just("o3")
)
_links = st.builds(
    LinkRecord, url=_texts, filename=_texts, size=st.none() | st.integers(0, 1 << 40), declared_s=st.none() | _times
)
_orders = st.builds(
    Order,
    lane=st.sampled_from(Lane),
    link=st.none() | _links,
    spooled=st.none() | st.builds(SpooledRecord, key=_request_ids, sha256=st.just("0" * 64), size=st.integers(0, 99)),
    kept=st.none() | _request_ids,
    variables=st.dictionaries(_texts, _texts, max_size=2),
    role_ids=st.lists(_ids, max_size=3).map(tuple),
    scope=st.just("g1"),
    keep_s=st.floats(1, 1e6),
)
_addresses = st.builds(
    Address,
    application_id=_ids,
    token=st.just("aToken"),
    token_ends_at=_times,
    placeholder_id=st.none() | _ids,
    channel_id=st.none() | _ids,
    member_id=_ids,
    file_limit=st.integers(0, 1 << 30),
)
_requests = st.builds(
    RequestRecord,
    id=_request_ids,
    guild_id=st.none() | _ids,
    channel_id=st.none() | _ids,
    member_id=_ids,
    source=st.sampled_from(SourceKind),
    filename=_texts,
    wanted_mode=st.none() | _texts,
    mode=st.none() | st.builds(ModeRef, id=_texts, title=_texts, content_hash=_texts),
    task=st.sampled_from(Task),
    private=st.booleans(),
    price=st.integers(0, 100),
    state=st.sampled_from(RequestState),
    created_at=_times,
    ended_at=st.none() | _times,
    stages=st.dictionaries(
        st.sampled_from(Stage),
        st.builds(StageRecord, status=st.sampled_from(StageStatus), seconds=st.floats(0, 1e6), detail=_texts),
    ),
    notes=_notes,
    transcript_id=st.none() | _request_ids,
    result=st.none() | _results,
    cache_keys=st.lists(_texts, max_size=3).map(tuple),
    answer_url=st.none() | _texts,
    failure=st.none() | _texts,
    order=st.none() | _orders,
    address=st.none() | _addresses,
    starts=st.integers(0, 9),
)
_deliveries = st.builds(
    Delivery,
    request_id=_request_ids,
    guild_id=st.none() | _ids,
    channel_id=st.none() | _ids,
    member_id=_ids,
    private=st.booleans(),
    attempts=st.integers(0, 9),
    last_error=_texts,
    created_at=_times,
)
_entries = st.builds(AuditEntry, guild_id=_ids, at=_times, who=_ids, what=_texts, before=_texts, after=_texts)
_transcripts = st.builds(
    Transcript,
    language=st.just("en"),
    language_probability=st.floats(0, 1),
    duration_s=st.floats(0, 1e6),
    segments=st.lists(
        st.builds(Segment, start=st.floats(0, 1e6), end=st.floats(0, 1e6), speaker=st.none() | _texts, text=_texts),
        max_size=3,
    ).map(tuple),
    model=_texts,
    task=st.sampled_from(Task),
    notes=_notes,
)


_ALL: Final = st.one_of(
    st.tuples(st.just(GUILD_SETTINGS), _settings),
    st.tuples(st.just(REQUEST), _requests),
    st.tuples(st.just(DELIVERY), _deliveries),
    st.tuples(st.just(AUDIT), _entries),
    st.tuples(st.just(TRANSCRIPT), _transcripts),
)


@given(kind=_ALL)
def test_every_record_comes_back_as_it_was(kind: tuple[Codec[Any], BaseModel]) -> None:
    codec, record = kind
    raw = codec.encode(record)
    assert codec.decode(raw) == record
    assert codec.encode(codec.decode(raw)) == raw
    assert json.loads(raw)["schema_version"] == type(record).model_fields["schema_version"].default


# --- versions -------------------------------------------------------------------------------------------------------


class Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[3] = 3
    title: str
    minutes: float


def _to_2(record: dict[str, Any]) -> dict[str, Any]:
    return {"title": record["name"], "seconds": record["seconds"]}


def _to_3(record: dict[str, Any]) -> dict[str, Any]:
    return {"title": record["title"], "minutes": record["seconds"] / 60}


RECIPES: Final = Codec(Recipe, {1: _to_2, 2: _to_3})


@pytest.mark.parametrize(
    "old",
    [
        {"schema_version": 1, "name": "Soup", "seconds": 90},
        {"schema_version": 2, "title": "Soup", "seconds": 90},
        {"schema_version": 3, "title": "Soup", "minutes": 1.5},
    ],
    ids=lambda old: f"version {old['schema_version']}",
)
def test_an_older_record_is_migrated_step_by_step(old: dict[str, Any]) -> None:
    assert RECIPES.decode(json.dumps(old).encode()) == Recipe(title="Soup", minutes=1.5)


def test_a_newer_record_is_refused_with_what_to_say() -> None:
    with pytest.raises(RecordTooNew) as caught:
        RECIPES.decode(b'{"schema_version": 4, "courses": ["Soup"]}')
    assert caught.value.values == {"what": "Recipe", "found": 4, "known": 3}


def test_a_version_that_no_way_leads_from_is_refused() -> None:
    with pytest.raises(RecordInvalid, match="no way from version 1"):
        Codec(Recipe, {2: _to_3}).decode(b'{"schema_version": 1}')


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "name": "Soup", "seconds": "long"}',
        b'{"schema_version": 2, "title": "Soup", "seconds": []}',
        b'{"schema_version": 1, "name": 7, "seconds": 60}',
    ],
)
def test_a_damaged_record_of_an_older_version_is_only_damaged(damaged: bytes) -> None:
    with pytest.raises(RecordInvalid) as caught:
        RECIPES.decode(damaged)
    assert not isinstance(caught.value, RecordTooNew)


# --- hostile input --------------------------------------------------------------------------------------------------

_HOSTILE: Final = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "no object": b"[1]",
    "null": b"null",
    "text": b'"schema_version"',
    "deep": b"[" * 200_000,
    "deep objects": b'{"schema_version":' * 100_000,
    "deep and whole": b'{"schema_version":1,"guild_id":' + b"[" * 500 + b"]" * 500 + b"}",
    "huge": b'{"schema_version":1,"guild_id":"' + b"x" * MAX_RECORD_BYTES + b'"}',
    "huge number": b'{"schema_version":1,"guild_id":' + b"9" * 10_000 + b"}",
    "large number": b'{"schema_version":1,"guild_id":' + b"9" * 4_000 + b"}",
    "huge version": b'{"schema_version":' + b"9" * 4_000 + b"}",
    "no version": b"{}",
    "true": b'{"schema_version":true,"guild_id":1}',
    "fraction": b'{"schema_version":1.0,"guild_id":1}',
    "version as text": b'{"schema_version":"1","guild_id":1}',
    "version 0": b'{"schema_version":0,"guild_id":1}',
    "negative version": b'{"schema_version":-1,"guild_id":1}',
    "NaN version": b'{"schema_version":NaN,"guild_id":1}',
    "infinite version": b'{"schema_version":1e999,"guild_id":1}',
    "NaN": b'{"schema_version":1,"guild_id":1,"per_hour":NaN}',
    "infinite": b'{"schema_version":1,"guild_id":1,"per_hour":1e999}',
    "negative": b'{"schema_version":1,"guild_id":-1}',
    "wrong type": b'{"schema_version":1,"guild_id":{}}',
    "unknown field": b'{"schema_version":1,"guild_id":1,"' + b"x" * 10_000 + b'":1}',
    "half a character": b'{"schema_version":1,"guild_id":1,"default_mode":"\\ud800"}',
    "half a character, shouted": b'{"schema_version":1,"guild_id":1,"default_mode":"\\uDC00"}',
    "too many": b'{"schema_version":1,"guild_id":1,"automatic_channels":[' + b"1," * 100 + b"1]}",
}


@pytest.mark.parametrize("raw", _HOSTILE.values(), ids=_HOSTILE)
def test_hostile_input_is_invalid_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(RecordInvalid) as caught:
        GUILD_SETTINGS.decode(raw)
    assert not isinstance(caught.value, RecordTooNew)
    assert len(str(caught.value)) < 1_000


@given(raw=st.binary(max_size=200), codec=st.sampled_from(CODECS))
def test_arbitrary_bytes_never_raise_anything_else(raw: bytes, codec: Codec[Any]) -> None:
    with pytest.raises(RecordInvalid):
        codec.decode(raw)


@given(
    kind=_ALL,
    field=st.integers(0, 50),
    junk=st.one_of(_json, st.floats(), st.just("\ud800"), st.dictionaries(st.integers() | _texts, _json, max_size=2)),
)
def test_a_field_of_any_other_kind_never_raises_anything_else(
    kind: tuple[Codec[Any], BaseModel], field: int, junk: object
) -> None:
    codec, record = kind
    damaged = record.model_dump(mode="json")
    damaged[sorted(damaged)[field % len(damaged)]] = junk
    try:
        found = codec.decode(json.dumps(damaged).encode())
    except RecordInvalid:
        return
    assert codec.decode(codec.encode(found)) == found, "what can be read can be written"


@pytest.mark.parametrize("half", [r"\ud800", r"\uDFFF"])
def test_half_a_character_is_refused_in_any_field(half: str) -> None:
    raw = REQUEST.encode(a_request(answer_url="https://x", notes=(Note(key=NoteKey.TRUNCATED, values={"a": "b"}),)))
    for field in (b'"https://x"', b'"b"', b'"a"'):
        with pytest.raises(RecordInvalid):
            REQUEST.decode(raw.replace(field, f'"{half}"'.encode()))


def test_an_escaped_character_is_one_where_it_is_whole() -> None:
    raw = b'{"schema_version":1,"guild_id":1,"default_mode":"\\ud83d\\ude00 C:\\\\udon"}'
    assert GUILD_SETTINGS.decode(raw).default_mode == "\N{GRINNING FACE} C:\\udon"


# --- writing --------------------------------------------------------------------------------------------------------


def a_request(**fields: Any) -> RequestRecord:
    defaults: dict[str, Any] = {
        "id": "a" * 16,
        "guild_id": 1,
        "channel_id": 2,
        "member_id": 3,
        "source": SourceKind.ATTACHMENT,
        "created_at": 1_000.0,
    }
    return RequestRecord(**{**defaults, **fields})


def test_what_could_not_be_read_is_not_written() -> None:
    result = ResultRecord(format="markdown", text="x" * MAX_RECORD_BYTES, model="o3")
    with pytest.raises(RecordInvalid, match="larger"):
        REQUEST.encode(a_request(result=result))
    with pytest.raises(RecordInvalid, match="cannot be written"):
        REQUEST.encode(a_request().model_copy(update={"price": "dear"}))
    with pytest.raises(RecordInvalid, match="cannot be written"):
        REQUEST.encode(a_request().model_copy(update={"answer_url": "\ud800"}))


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}),
        ({"a": float("nan"), "b": [float("inf")]}, {"a": None, "b": [None]}),
        ({1: ("x", object())}, {"1": ["x", None]}),
        ("half \ud83d", "half ?"),
        ({"half \ud83d": 1}, {"half ?": 1}),
        ([10**5_000, 10**300], [None, 10**300]),
    ],
)
def test_of_a_result_all_that_is_json_is_kept(data: object, kept: object) -> None:
    record = a_request(result=ResultRecord(format="json", text="half \udc00", data=data, model="o3"))
    result = REQUEST.decode(REQUEST.encode(record)).result
    assert result is not None
    assert (result.data, result.text) == (kept, "half ?")


def test_a_result_of_any_depth_can_be_kept() -> None:
    data: object = "end"
    for _ in range(5_000):
        data = [data]
    record = a_request(result=ResultRecord(format="json", text="", data=data, model="o3"))
    assert REQUEST.encode(record).count(b"[") < DEEPEST + 10
    assert REQUEST.decode(REQUEST.encode(record)) == record


def test_a_long_detail_is_cut_rather_than_refused() -> None:
    entry = AuditEntry(guild_id=1, at=1.0, who=2, what="settings.tiers", before="x" * 10_000, after="\ud800")
    assert (entry.before, entry.after) == ("x" * SHORT, "?")
    assert a_request(filename="x" * 10_000).filename == "x" * SHORT


def test_a_request_of_version_1_is_read() -> None:
    old = json.loads(REQUEST.encode(a_request()))
    for name in ("failure", "order", "address", "starts"):
        del old[name]
    old |= {"schema_version": 1, "token": None, "token_ends_at": None, "placeholder_id": None}
    assert REQUEST.decode(json.dumps(old).encode()) == a_request()


# --- secrets --------------------------------------------------------------------------------------------------------


LINK: Final = LinkRecord(url=f"https://cdn.discordapp.com/a.ogg?hm={SECRET}", filename="a.ogg")


def an_address() -> Address:
    return Address(application_id=1, token=SECRET, token_ends_at=1_900.0, member_id=2, file_limit=10)


def test_a_token_is_kept_and_never_shown() -> None:
    record = a_request(address=an_address(), order=Order(link=LINK, scope="g1", keep_s=60.0))
    again = REQUEST.decode(REQUEST.encode(record))
    assert again.address is not None
    assert again.address.token == SECRET
    assert again.order is not None
    assert again.order.source == AudioLink(url=f"https://cdn.discordapp.com/a.ogg?hm={SECRET}", filename="a.ogg")
    assert SECRET not in repr(record)
    assert SECRET not in f"{record} {[record]} {record!s}"


@pytest.mark.parametrize(
    "fields", [{"error": [SECRET]}, {"toke": SECRET}, {"price": SECRET}, {"created_at": SECRET}, {"notes": SECRET}]
)
def test_no_error_shows_a_value(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        a_request(**fields)
    assert SECRET not in str(refused.value)
    raw = json.dumps({**json.loads(REQUEST.encode(a_request())), **fields}).encode()
    with pytest.raises(RecordInvalid) as unreadable:
        REQUEST.decode(raw)
    assert SECRET not in _told(unreadable.value)
    with pytest.raises(RecordInvalid) as unwritable:
        REQUEST.encode(a_request().model_copy(update={"error": [SECRET]}))
    assert SECRET not in _told(unwritable.value)


def _told(error: BaseException | None) -> str:
    """All that a log would show of an error."""
    told = ""
    while error is not None:
        told += repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told
