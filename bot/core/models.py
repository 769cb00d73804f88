"""The values that travel through the pipeline.

What outlives a process (`Transcript`) is a versioned, frozen pydantic model; what does not is a frozen dataclass.
Times are seconds from the beginning of the audio.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAMPLE_RATE = 16_000
"""Hertz; what Whisper is trained on."""

BYTES_PER_SAMPLE = 4
"""Decoded audio is float32."""


class Task(StrEnum):
    """What Whisper is asked for; ``translate`` always answers in English."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


# --- audio ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLink:
    """A file that somebody posted.

    ``declared_s`` is the duration that Discord names (voice messages only), ``size`` the bytes that it declares. The
    ``url`` opens the file for a day to whoever has it, so it does not show.
    """

    url: str = field(repr=False)
    filename: str
    size: int | None = None
    declared_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFile:
    """A file on this machine, named by its operator."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTranscript:
    """A transcript made earlier, to be used again; ``id`` is the request that made it."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledAudio:
    """Audio of ``link`` that another process has fetched; ``key`` is its name in the depot (hexadecimal)."""

    key: str
    sha256: str
    size: int
    link: AudioLink


Source = AudioLink | AudioFile | SpooledAudio | KeptTranscript


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedAudio:
    """Encoded audio in the spool. ``sha256`` is the hexadecimal digest of its bytes."""

    path: Path
    sha256: str
    size: int
    filename: str
    declared_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAudio:
    """Raw float32 mono samples at `SAMPLE_RATE`, native byte order, in a file.

    ``declared_s`` is the longer of what Discord and the container promised, None where neither said.
    """

    path: Path
    samples: int
    declared_s: float | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / SAMPLE_RATE


# --- transcripts ------------------------------------------------------------------------------------------------


class NoteKey(StrEnum):
    """Things that a member should know about a result; the sentences are in ``bot.presentation.messages``."""

    TRUNCATED = "truncated"
    """The file ends early. Values: ``decoded_s``, ``declared_s``."""
    NO_SPEECH = "no_speech"
    LANGUAGE_UNSURE = "language_unsure"
    """Values: ``language``, ``probability``."""
    SPEAKERS_NOT_SEPARATED = "speakers_not_separated"
    TEMPLATE_USED = "template_used"
    """No language model answered; the result is an extract."""
    RESULT_MISSING = "result_missing"
    """The transcript is there, the mode's result is not."""
    TOO_MUCH_SAID = "too_much_said"
    """Likewise, since the mode refuses so long a transcript."""
    RESULT_CUT = "result_cut"
    """The model stopped at its output limit."""
    NOT_KEPT = "not_kept"
    """The transcript could not be kept for later."""
    INPUT_CUT = "input_cut"
    """The transcript was too long for the model. Values: ``until_s``, the end of what it saw."""
    PART_MISSING = "part_missing"
    """No language model answered for a part of a long transcript. Values: ``start_s``, ``end_s``."""
    PARTS_NOT_JOINED = "parts_not_joined"
    """The results for the parts of a long transcript stand one below the other."""


class _Durable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Note(_Durable):
    """A note, as a key and what its sentence mentions."""

    key: NoteKey
    values: dict[str, str | float] = Field(default_factory=dict)


class Segment(_Durable):
    """A stretch of speech. ``speaker`` is None where speakers are not told apart."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)
    speaker: str | None = None
    text: str


class Transcript(_Durable):
    """What was said.

    ``language`` is an ISO 639-1 code as Whisper names it; ``language_probability`` is 1.0 where it was asked for.
    """

    schema_version: Literal[1] = 1
    language: str
    language_probability: float = Field(ge=0, le=1)
    duration_s: float = Field(ge=0)
    segments: tuple[Segment, ...]
    model: str
    task: Task = Task.TRANSCRIBE
    notes: tuple[Note, ...] = ()

    @property
    def content_hash(self) -> str:
        """Hexadecimal SHA-256 of all that a result is made of."""
        return hashlib.sha256(self.model_dump_json(exclude={"notes"}).encode()).hexdigest()

    @property
    def text(self) -> str:
        """All segments in one line of text."""
        return " ".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """``language`` None means: find out. ``hot_words`` are names and terms that the model should expect."""

    language: str | None = None
    task: Task = Task.TRANSCRIBE
    hot_words: tuple[str, ...] = ()


# --- requests and replies ---------------------------------------------------------------------------------------


class ModeRef(_Durable):
    """Names a mode as it was when it was used: ``content_hash`` is the hexadecimal SHA-256 of its definition."""

    id: str
    title: str
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and where. ``guild_id`` None is outside all guilds that the bot is in."""

    guild_id: int | None
    channel_id: int | None
    member_id: int
    role_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asked for. ``mode`` is an id, ``"auto"``, or None for the transcript alone.

    ``asker`` None is the operator at the command line, whom nothing limits and of whom nothing is recorded.
    ``default_mode`` is what ``"auto"`` falls back on, None for the built-in one; ``scope`` names those who may share
    cached work; ``keep_s`` is how long the transcript is kept, in seconds; ``only_cached`` asks for what is finished
    already, and for no work.
    """

    id: str
    source: Source
    mode: str | None
    asker: Asker | None = None
    options: TranscriptionOptions = TranscriptionOptions()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    private: bool = False
    default_mode: str | None = None
    scope: str = "local"
    keep_s: float = 7 * 86_400.0
    only_cached: bool = False


class Stage(StrEnum):
    """The stages of the pipeline, in their order."""

    FETCH = "fetch"
    DECODE = "decode"
    TRANSCRIBE = "transcribe"
    ROUTE = "route"
    COMPLETE = "complete"


class StageStatus(StrEnum):
    """How a stage ended. ``partial``: it gave something, but not what was asked for."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """How a stage went. ``detail`` is a few words for an operator."""

    status: StageStatus
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Which mode was chosen and why; ``scores`` are between 0 and 1, by mode."""

    chosen: str
    scores: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeResult:
    """What a mode made of the transcript. ``data`` is set where the mode's output has a structure."""

    format: Literal["markdown", "json"]
    text: str
    data: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What came from a cache rather than from work."""

    transcript: bool = False
    completion: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a request.

    ``transcript_id`` is what `KeptTranscript` takes, None where the transcript could not be kept; ``model`` is the link
    of the chain that answered, None where none was asked.
    """

    request: Request
    transcript: Transcript
    transcript_id: str | None
    mode: ModeRef | None
    routing: Routing | None
    result: ModeResult | None
    model: str | None
    stages: Mapping[Stage, StageReport]
    notes: tuple[Note, ...] = ()
    cached: Cached = Cached()
    audio_sha256: str | None = None

    @property
    def seconds(self) -> float:
        """Time that the stages took together."""
        return sum(report.seconds for report in self.stages.values())

    @property
    def was_finished(self) -> bool:
        """Whether all of it was there before, so that no work was done: an extract counts as none."""
        extract = any(note.key is NoteKey.TEMPLATE_USED for note in self.notes)
        return self.cached.transcript and (self.result is None or self.cached.completion or extract)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a request is.

    ``fraction`` is of the stage, None where it cannot be told; ``waiting`` says that others come first, ``ahead`` how
    many and ``wait_s`` for about how many seconds, None where nobody knows. ``transcript_text`` and ``result_text``
    hold all that there is so far.
    """

    stage: Stage
    fraction: float | None = None
    waiting: bool = False
    ahead: int | None = None
    wait_s: float | None = None
    transcript_text: str = ""
    result_text: str = ""
