"""What the core asks of the world. Adapters implement these; every port has a fake in ``tests/fakes.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from bot.core.circuits import Circuit
    from bot.core.completion import Completion, CompletionTask
    from bot.core.models import (
        AudioFile,
        AudioLink,
        DecodedAudio,
        FetchedAudio,
        Progress,
        Segment,
        SpooledAudio,
        Transcript,
        TranscriptionOptions,
    )
    from bot.core.modes import Mode
    from bot.core.quotas import BucketId, Limits, Verdict
    from bot.core.records import AuditEntry, Delivery, GuildSettings, RequestRecord
    from bot.core.stage_health import Attempt


class AudioFetcher(Protocol):
    """Brings a source into the spool."""

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        """Stream ``source`` into the spool while its hash is computed.

        Raises:
            LinkRefused, LinkExpired, FileUnreadable, AudioTooLarge, AudioEmpty: whoever asked can cure it.
            FetchFailed: the network did not play along.
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        ...


class AudioDecoder(Protocol):
    """Turns encoded audio into samples."""

    async def decode(self, audio: FetchedAudio) -> DecodedAudio:
        """Decode the first audio track.

        Raises:
            AudioEmpty, NotAudio, NoAudioTrack, AudioEncrypted, AudioTooLong: the member can cure it.
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
            DecodeFailed: the decoder crashed or ran into a limit.
        """
        ...


class Transcriber(Protocol):
    """Turns samples into text."""

    @property
    def model(self) -> str:
        """Name of the model that listens, as it stands in transcripts."""
        ...

    async def transcribe(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        *,
        on_segments: Callable[[tuple[Segment, ...], float], None],
    ) -> Transcript:
        """Transcribe ``audio``; cancelling the task stops the work within a second.

        Args:
            audio: what to listen to.
            options: language, task and hot words.
            on_segments: called with the segments that are new and the fraction of the audio that is done.

        Raises:
            UnknownLanguage: the model does not know the language that was asked for.
            TranscriptionFailed: the transcriber failed, again and again.
        """
        ...


class CompletionModel(Protocol):
    """One link of the chain: a language model, or the template at its end."""

    @property
    def name(self) -> str:
        """As it stands in the chain."""
        ...

    @property
    def cacheable(self) -> bool:
        """Whether its answers are worth keeping: not those of the template."""
        ...

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        """Answer ``task``.

        Args:
            task: what to make of what was said.
            on_text: called with all of the answer's text so far, each time that there is more, and at last with the
                whole of it. It replaces what was given before: where one model breaks off, the next starts over.

        Raises:
            CompletionFailed: no usable answer came.
        """
        ...


class CircuitStore(Protocol):
    """How the models of the chain have been doing. May raise `StoreUnavailable`."""

    async def get(self, model: str) -> Circuit:
        """Of one model; the closed one where nothing is known."""
        ...

    async def swap(self, model: str, old: Circuit, new: Circuit, *, keep_s: float) -> bool:
        """Write ``new`` where ``old`` is still what is known; whether it was written."""
        ...


class StageCounts(Protocol):
    """How the attempts of all processes ended, by the minute (of Unix time). May raise `StoreUnavailable`."""

    async def put(self, process: str, minutes: Mapping[int, Mapping[Attempt, int]]) -> None:
        """What ``process`` has counted in these minutes so far. It only grows, and to put it twice counts once."""
        ...

    async def read(self, minutes: Iterable[int]) -> dict[int, Mapping[Attempt, int]]:
        """What all have counted in each of these minutes, or in the last hours of them."""
        ...


class TranscriptStore(Protocol):
    """Keeps transcripts for "Redo as …" and for the files menu."""

    async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
        """Keep ``transcript`` under the request that made it, for so many seconds.

        Raises:
            TranscriptNotKept: there is no room, or no way to write.
        """
        ...

    async def get(self, request_id: str) -> Transcript:
        """Give it back.

        Raises:
            NotFound: there is none of that id, or its time is over.
            StoreUnavailable: it cannot be looked up now.
        """
        ...

    async def delete(self, *request_ids: str) -> None:
        """Forget them.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        ...


class Spool(Protocol):
    """Where fetched and decoded audio lies while it is worked on."""

    def release(self, audio: FetchedAudio | DecodedAudio) -> None:
        """Delete what is no longer needed; doing it twice is harmless."""
        ...


class Observer(Protocol):
    """Somebody who watches a request."""

    def __call__(self, progress: Progress, /) -> None:
        """Take note; it must not block and must not raise."""
        ...


class CacheTrail(Protocol):
    """Takes note of what a request leaves in the cache, so that all of it can be found again."""

    async def __call__(self, key: str, /, *, is_new: bool) -> None:
        """Something of the request lies under ``key``; or will, from now on (``is_new``): then it is noted at once."""
        ...


class ModeSource(Protocol):
    """Gives the modes that are live now."""

    def current(self) -> Mapping[str, Mode]:
        """All modes by id: an immutable snapshot."""
        ...


# --- fair use -----------------------------------------------------------------------------------------------------


class RateLimiter(Protocol):
    """Token buckets. All calls are atomic, and idempotent by the request's id.

    Raises:
        StoreUnavailable: from each method of an implementation that keeps its buckets elsewhere.
    """

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        """Take ``cost`` tokens for a request, or refuse; the same request again gets the same verdict's effect once.

        A cost over ``limits.burst`` is one of ``limits.burst`` (see ``bot.core.quotas.price_in``).
        """
        ...

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        """Let the reservation come to ``cost``, which gives back the rest; never takes more than was reserved.

        Once: what was settled, never reserved, or is older than ``RESERVATION_S`` stays as it is.
        """
        ...

    async def preview(self, bucket: BucketId, cost: int, limits: Limits) -> Verdict:
        """What `reserve` would say; takes nothing."""
        ...

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        """Fill a bucket."""
        ...


# --- caches -------------------------------------------------------------------------------------------------------


class Cache(Protocol):
    """Finished work, for a while. It may lose anything at any time: what cannot be had is a miss, and no error."""

    async def get(self, key: str) -> bytes | None:
        """What was put, or None."""
        ...

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep ``value`` for up to ``ttl_s`` seconds, or less."""
        ...

    async def delete(self, *keys: str) -> None:
        """Forget them.

        Raises:
            StoreUnavailable: some of them may still be there.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What came of shared work; ``led`` says that the caller did it itself."""

    value: bytes
    led: bool


class Flights(Protocol):
    """Single flight: the same work is done once, whoever asks for it meanwhile gets what came of it."""

    async def share(
        self,
        key: str,
        work: Callable[[Callable[[bytes], None]], Awaitable[bytes]],
        *,
        on_news: Callable[[bytes], None],
    ) -> Shared:
        """Do ``work``, or wait for whoever is at it.

        The leader runs ``work(tell)``; what it tells reaches the other callers' ``on_news`` (news may be skipped, the
        newest is what counts). A leader that is cancelled or dies is followed by one of those who wait.

        Raises:
            EarshotError: what ``work`` raised, to everybody who waited for it.
        """
        ...


# --- state --------------------------------------------------------------------------------------------------------


class SettingsStore(Protocol):
    """The guilds' settings. May raise `StoreUnavailable`, and `RecordTooNew` for what a later version wrote."""

    async def get(self, guild_id: int) -> GuildSettings:
        """What holds for members, if need be as it was known last; the defaults where nothing was ever set."""
        ...

    async def look_up(self, guild_id: int) -> GuildSettings:
        """A guild's settings as they are now, for those who decide by them; never from memory."""
        ...

    async def change(
        self, guild_id: int, change: Callable[[GuildSettings], GuildSettings], entry: AuditEntry
    ) -> GuildSettings:
        """Apply ``change`` to the present settings, and note ``entry``; two at a time both count."""
        ...

    async def keep(self, guild_ids: Iterable[int]) -> None:
        """The bot is in these guilds. Settings of a guild that is not named for long go, also where nobody saw why."""
        ...

    async def expire(self, guild_id: int, *, within_s: float) -> None:
        """Forget a guild that the bot has left, in a while; unless it comes back (`keep`)."""
        ...


class AuditLog(Protocol):
    """Who changed what. May raise `StoreUnavailable`."""

    async def note(self, entry: AuditEntry) -> None:
        """Add an entry."""
        ...

    async def entries(self, guild_id: int, count: int) -> list[AuditEntry]:
        """The newest first."""
        ...


class RequestLog(Protocol):
    """Requests and what came of them, by member. May raise `StoreUnavailable`."""

    async def put(self, record: RequestRecord, *, keep_s: float) -> None:
        """Keep a record, in its member's index too; one of the same id is replaced."""
        ...

    async def swap(self, old: RequestRecord, new: RequestRecord, *, keep_s: float) -> bool:
        """Write ``new`` where ``old`` is still what is kept; whether it was written."""
        ...

    async def get(self, request_id: str) -> RequestRecord:
        """Give it back.

        Raises:
            NotFound: there is none of that id.
        """
        ...

    async def of_member(self, guild_id: int | None, member_id: int) -> list[RequestRecord]:
        """All of a member's in a guild, the newest first."""
        ...

    async def delete(self, record: RequestRecord) -> None:
        """Forget it, its place in the index, its delivery and what it left in the cache; not its transcript."""
        ...


class DeliveryLog(Protocol):
    """Answers on their way. May raise `StoreUnavailable`."""

    async def begin(self, delivery: Delivery) -> None:
        """An answer sets out."""
        ...

    async def done(self, delivery: Delivery) -> None:
        """It arrived."""
        ...

    async def pending(self, guild_id: int | None, member_id: int) -> frozenset[str]:
        """The requests of a member whose answers have not arrived."""
        ...


class Leases(Protocol):
    """Things that one process does at a time. May raise `StoreUnavailable`."""

    async def take(self, name: str, owner: str, *, ttl_s: float) -> bool:
        """Take a lease, or keep it where one has it already; False where somebody else has it."""
        ...

    async def release(self, name: str, owner: str) -> None:
        """Give it back, if one has it."""
        ...


class LoadEstimate(Protocol):
    """How long new work would have to wait."""

    def expected_wait_s(self) -> float:
        """Seconds until a request that came now would be begun."""
        ...
