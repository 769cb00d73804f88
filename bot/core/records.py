"""What outlives a process: versioned, frozen records.

A record is written as JSON with its ``schema_version``. One of an older version is migrated when it is read; one of a
later version is refused with a clear sentence, and left as it is.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError

from bot.core.durable import Json, Record, RequestId, ShortText, Snowflake, Text, UnixTime
from bot.core.errors import RecordInvalid, RecordTooNew
from bot.core.models import (
    ModeRef,
    ModeResult,
    Note,
    Stage,
    StageStatus,
    Task,
    Transcript,
)
from bot.core.orders import Address, Order  # noqa: TC001 - pydantic reads the annotations
from bot.core.quotas import RESERVATION_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Migration = Callable[[dict[str, Any]], dict[str, Any]]
    """Turns the JSON of one version into that of the next."""

LONGEST_S: Final = RESERVATION_S
"""Seconds for which a request may run: a day is the longest audio that an operator can allow, heard as it is spoken.
What is said to run for longer does not: its process was killed."""

# --- guild settings -------------------------------------------------------------------------------------------------


class TierSetting(Record):
    """What the holders of a role may use: tokens an hour, and at once."""

    role_id: Snowflake
    per_hour: float = Field(gt=0, le=10_000)
    burst: int = Field(ge=1, le=1_000)


class GuildSettings(Record):
    """What a guild's moderators decided. None is always: as the operator set it.

    ``per_hour`` and ``burst`` are the members' buckets, ``daily_budget`` the tokens of all of them a day, ``tiers``
    exceptions for roles; ``retention_days`` is for transcripts and results; in ``automatic_channels``, voice messages
    are written down without being asked for.
    """

    schema_version: Literal[1] = 1
    guild_id: Snowflake
    default_mode: str | None = Field(default=None, max_length=32)
    language: str | None = Field(default=None, max_length=8)
    moderator_role_id: Snowflake | None = None
    moderator_channel_id: Snowflake | None = None
    announcement_channel_id: Snowflake | None = None
    per_hour: float | None = Field(default=None, gt=0, le=10_000)
    burst: int | None = Field(default=None, ge=1, le=1_000)
    daily_budget: int | None = Field(default=None, ge=0, le=1_000_000)
    tiers: tuple[TierSetting, ...] = Field(default=(), max_length=25)
    retention_days: float | None = Field(default=None, gt=0, le=3_650)
    automatic_channels: tuple[Snowflake, ...] = Field(default=(), max_length=100)


# --- requests -------------------------------------------------------------------------------------------------------


class RequestState(StrEnum):
    """Where a request is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class SourceKind(StrEnum):
    """What a request listened to."""

    ATTACHMENT = "attachment"
    TRANSCRIPT = "transcript"


class StageRecord(Record):
    """How a stage went."""

    status: StageStatus
    seconds: float = Field(ge=0)
    detail: ShortText = ""


class ResultRecord(Record):
    """What a mode made of a transcript, and what made it.

    ``data`` is JSON: what is none (an infinite number, a level below `DEEPEST`) is None in it.
    """

    format: Literal["markdown", "json"]
    text: Text
    data: Json = None
    model: str

    def result(self) -> ModeResult:
        """As the pipeline gives it."""
        return ModeResult(format=self.format, text=self.text, data=self.data)


class RequestRecord(Record):
    """A request, from its acceptance to its end; ``id`` is also that of the transcript it made.

    ``order`` is what a job does it by, and ``address`` where its answer goes; both are there until it is delivered,
    and None where no job does it. ``starts`` counts how often the job was begun. ``failure`` is the error that ended
    it, as `bot.core.caching.encode_error` writes one. ``audio_sha256`` and ``cache_keys`` name what it left in the
    cache. ``answer_url`` leads to the answer where others see it too.
    """

    schema_version: Literal[2] = 2
    id: RequestId
    guild_id: Snowflake | None
    channel_id: Snowflake | None
    member_id: Snowflake
    source: SourceKind
    filename: ShortText = ""
    wanted_mode: str | None = Field(default=None, max_length=64)
    mode: ModeRef | None = None
    language: str | None = None
    task: Task = Task.TRANSCRIBE
    private: bool = False
    price: int = Field(default=0, ge=0)
    state: RequestState = RequestState.RUNNING
    created_at: UnixTime
    ended_at: UnixTime | None = None
    stages: dict[Stage, StageRecord] = Field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    transcript_id: RequestId | None = None
    result: ResultRecord | None = None
    cached_transcript: bool = False
    cached_completion: bool = False
    audio_sha256: str | None = None
    cache_keys: tuple[str, ...] = ()
    answer_url: str | None = None
    error: ShortText | None = None
    failure: Text | None = None
    order: Order | None = None
    address: Address | None = None
    starts: int = Field(default=0, ge=0)

    def as_of(self, now: float) -> RequestRecord:
        """The record as it is to be read at ``now``: what has been running for `LONGEST_S` is interrupted.

        Not so a job: it goes on, wherever it is.
        """
        if self.order is None and self.state is RequestState.RUNNING and now - self.created_at >= LONGEST_S:
            return self.model_copy(update={"state": RequestState.INTERRUPTED})
        return self


class Delivery(Record):
    """An answer that is on its way to its member; it goes when it has arrived."""

    schema_version: Literal[1] = 1
    request_id: RequestId
    guild_id: Snowflake | None
    channel_id: Snowflake | None
    member_id: Snowflake
    private: bool
    attempts: int = Field(default=0, ge=0)
    last_error: ShortText = ""
    created_at: UnixTime


class AuditEntry(Record):
    """Who changed what in a guild. ``what`` is a key such as ``settings.language``; values are short texts."""

    schema_version: Literal[1] = 1
    guild_id: Snowflake
    at: UnixTime
    who: Snowflake
    what: str = Field(max_length=64)
    before: ShortText = ""
    after: ShortText = ""


# --- reading and writing --------------------------------------------------------------------------------------------

R = TypeVar("R", bound=BaseModel)

MAX_RECORD_BYTES: Final = 8 << 20
"""Nothing larger is written, or read."""

_MAX_VERSION: Final = 9_999
_NAMED: Final = 5


class Codec(Generic[R]):
    """Writes records of one kind, and reads those of any version up to the present one.

    Its errors name fields, never values: those may be secrets.

    Args:
        model: the kind; its field ``schema_version`` is a literal of the present version.
        migrations: by the version that they start from; each leads to the next.
    """

    def __init__(self, model: type[R], migrations: Mapping[int, Migration] | None = None) -> None:
        self._model = model
        self._migrations = dict(migrations or {})
        self._version = int(model.model_fields["schema_version"].default)

    def encode(self, record: R) -> bytes:
        """As it is stored.

        Raises:
            RecordInvalid: it could not be read again; the model does not check what ``model_copy`` puts in.
        """
        try:
            raw = record.model_dump_json(warnings="error").encode()
        except (ValueError, RecursionError) as exc:
            raise self._invalid(f"cannot be written ({type(exc).__name__})") from None
        return self._bounded(raw)

    def decode(self, raw: bytes) -> R:
        """Read what was stored.

        Raises:
            RecordTooNew: a later version of the bot wrote it.
            RecordInvalid: it is damaged.
        """
        try:
            found: object = json.loads(self._bounded(raw))
            if b"\\ud" in raw.lower():  # we write characters as they are; what is escaped may be half of one
                json.dumps(found, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as exc:
            raise self._invalid(f"is no JSON ({type(exc).__name__})") from None
        if not isinstance(found, dict):
            raise self._invalid("is no object")
        try:
            return self._model.model_validate(self._migrated(cast("dict[str, Any]", found)))
        except ValidationError as exc:
            raise self._invalid(f"cannot be read: {_fields(exc)}") from None

    def _bounded(self, raw: bytes) -> bytes:
        if len(raw) > MAX_RECORD_BYTES:
            raise self._invalid(f"is larger than {MAX_RECORD_BYTES} bytes")
        return raw

    def _migrated(self, record: dict[str, Any]) -> dict[str, Any]:
        version = self._version_of(record)
        while version < self._version:
            if version not in self._migrations:
                raise self._invalid(f"there is no way from version {version}")
            try:
                record = {**self._migrations[version](record), "schema_version": version + 1}
            except Exception as exc:  # noqa: BLE001 - a damaged record may break a migration in any way
                raise self._invalid(f"version {version} is damaged ({type(exc).__name__})") from None
            version += 1
        return record

    def _version_of(self, record: dict[str, Any]) -> int:
        found: object = record.get("schema_version")
        # True is an int in Python, and none here.
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MAX_VERSION:
            raise self._invalid("has no version")
        if found > self._version:
            name = self._model.__name__
            detail = f"{name}: is of version {found}, this program knows up to {self._version}"
            raise RecordTooNew(detail, what=name, found=found, known=self._version)
        return found

    def _invalid(self, problem: str) -> RecordInvalid:
        return RecordInvalid(f"{self._model.__name__}: {problem}")


def _fields(error: ValidationError) -> str:
    """The fields that an error is about; their names may be anything, as long as one likes."""
    found = sorted({".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)})
    return ", ".join(repr(name[:60]) for name in found[:_NAMED]) + (" …" if len(found) > _NAMED else "")


GUILD_SETTINGS: Final = Codec(GuildSettings)


def _request_2(record: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had places for an address, and never filled them."""
    unused = ("token", "token_ends_at", "placeholder_id")
    return {name: value for name, value in record.items() if name not in unused}


REQUEST: Final = Codec(RequestRecord, {1: _request_2})
DELIVERY: Final = Codec(Delivery)
AUDIT: Final = Codec(AuditEntry)
TRANSCRIPT: Final = Codec(Transcript)
