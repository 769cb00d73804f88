"""What outlives a process: versioned, frozen records.

A record is written as JSON with its ``schema_version``. One of an older version is migrated when it is read; one of a
later version is refused with a clear sentence, and left as it is.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Migration = Callable[[dict[str, Any]], dict[str, Any]]
    """Turns the JSON of one version into that of the next."""

Snowflake = int
"""An id of Discord's."""

UnixTime = float
"""Seconds since 1970 (UTC)."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- guild settings -------------------------------------------------------------------------------------------------


class TierSetting(_Record):
    """What the holders of a role may use: tokens an hour, and at once."""

    role_id: Snowflake
    per_hour: float = Field(gt=0, le=10_000)
    burst: int = Field(ge=1, le=1_000)


class GuildSettings(_Record):
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


class SourceKind(StrEnum):
    """What a request listened to."""

    ATTACHMENT = "attachment"
    TRANSCRIPT = "transcript"


class StageRecord(_Record):
    """How a stage went."""

    status: StageStatus
    seconds: float = Field(ge=0)
    detail: str = ""


class ResultRecord(_Record):
    """What a mode made of a transcript, and what made it."""

    format: Literal["markdown", "json"]
    text: str
    data: Any = None
    model: str

    def result(self) -> ModeResult:
        """As the pipeline gives it."""
        return ModeResult(format=self.format, text=self.text, data=self.data)


class RequestRecord(_Record):
    """A request, from its acceptance to its end; ``id`` is also that of the transcript it made.

    ``token`` answers the interaction until ``token_ends_at``; it is a secret, so it never shows in a repr.
    ``audio_sha256`` and ``cache_keys`` name what it left in the cache. ``answer_url`` leads to the answer where others
    see it too.
    """

    schema_version: Literal[1] = 1
    id: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    guild_id: Snowflake | None
    channel_id: Snowflake | None
    member_id: Snowflake
    source: SourceKind
    filename: str = Field(default="", max_length=1_024)
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
    transcript_id: str | None = None
    result: ResultRecord | None = None
    cached_transcript: bool = False
    cached_completion: bool = False
    audio_sha256: str | None = None
    cache_keys: tuple[str, ...] = ()
    answer_url: str | None = None
    error: str | None = None
    token: str | None = Field(default=None, repr=False)
    token_ends_at: UnixTime | None = None
    placeholder_id: Snowflake | None = None


class Delivery(_Record):
    """An answer that is on its way to its member; it goes when it has arrived."""

    schema_version: Literal[1] = 1
    request_id: str
    guild_id: Snowflake | None
    channel_id: Snowflake | None
    member_id: Snowflake
    private: bool
    attempts: int = Field(default=0, ge=0)
    last_error: str = ""
    created_at: UnixTime


class AuditEntry(_Record):
    """Who changed what in a guild. ``what`` is a key such as ``settings.language``; values are short texts."""

    schema_version: Literal[1] = 1
    guild_id: Snowflake
    at: UnixTime
    who: Snowflake
    what: str = Field(max_length=64)
    before: str = Field(default="", max_length=500)
    after: str = Field(default="", max_length=500)


# --- reading and writing --------------------------------------------------------------------------------------------

R = TypeVar("R", bound=BaseModel)

MAX_RECORD_BYTES: Final = 8 << 20


class Codec(Generic[R]):
    """Writes records of one kind, and reads those of any version up to the present one.

    Args:
        model: the kind; its field ``schema_version`` is a literal of the present version.
        migrations: by the version that they start from; each leads to the next.
    """

    def __init__(self, model: type[R], migrations: Mapping[int, Migration] | None = None) -> None:
        self._model = model
        self._migrations = dict(migrations or {})
        self._version = int(model.model_fields["schema_version"].default)

    def encode(self, record: R) -> bytes:
        """As it is stored."""
        return record.model_dump_json(exclude_defaults=False).encode()

    def decode(self, raw: bytes) -> R:
        """Read what was stored.

        Raises:
            RecordTooNew: a later version of the bot wrote it.
            RecordInvalid: it is damaged.
        """
        name = self._model.__name__
        if len(raw) > MAX_RECORD_BYTES:
            raise RecordInvalid(f"{name}: larger than {MAX_RECORD_BYTES} bytes")
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise RecordInvalid(f"{name}: is no JSON ({type(exc).__name__})") from exc
        if not isinstance(found, dict):
            raise RecordInvalid(f"{name}: is no object")
        migrated = self._migrated(found)  # pyright: ignore[reportUnknownArgumentType] - checked below
        try:
            return self._model.model_validate_json(json.dumps(migrated))
        except ValidationError as exc:
            fields = sorted({".".join(map(str, error["loc"])) for error in exc.errors()})
            raise RecordInvalid(f"{name}: cannot be read: {', '.join(fields)}") from exc

    def _migrated(self, record: dict[str, Any]) -> dict[str, Any]:
        name, version = self._model.__name__, record.get("schema_version")
        if not isinstance(version, int) or version < 1:
            raise RecordInvalid(f"{name}: has no version")
        if version > self._version:
            raise RecordTooNew(
                f"{name}: is of version {version}, this program knows up to {self._version}",
                what=name,
                found=version,
                known=self._version,
            )
        while version < self._version:
            if version not in self._migrations:
                raise RecordInvalid(f"{name}: there is no way from version {version}")
            record = {**self._migrations[version](record), "schema_version": version + 1}
            version += 1
        return record


GUILD_SETTINGS: Final = Codec(GuildSettings)
REQUEST: Final = Codec(RequestRecord)
DELIVERY: Final = Codec(Delivery)
AUDIT: Final = Codec(AuditEntry)
TRANSCRIPT: Final = Codec(Transcript)
