"""Everything that can go wrong, as a tree.

EarshotError
├── BadInput                 the member can cure it
│   ├── LinkRefused            not a link of an allowed host
│   ├── LinkExpired            a signed link that is no longer valid
│   ├── AudioTooLarge          more bytes than the limit
│   ├── AudioTooLong           more minutes than the limit
│   ├── AudioEmpty             no bytes, or no samples
│   ├── NotAudio               not a media file, or a damaged one
│   ├── NoAudioTrack           a video or picture without sound
│   ├── AudioEncrypted         protected content
│   ├── FileUnreadable         a local path that cannot be read
│   ├── UnknownMode
│   ├── UnknownLanguage
│   └── NothingToListenTo      a message without audio
├── NotAllowed               somebody may not do that, here or at all
├── FairUseError             what was asked is refused for now, and it says until when
│   ├── QuotaExceeded          the member's bucket, or the guild's budget, is empty
│   │   └── CourtesyExceeded     of what is free, it was too much
│   └── Overloaded             more work waits than can be done soon
├── NotCached                work would be needed where only finished work was asked for
├── StoreUnavailable         the store or the cache cannot be reached, or is full
├── RecordInvalid            what was stored cannot be read
│   └── RecordTooNew           a later version of the bot wrote it
├── NotFound                 something that is no longer kept
├── ModeInvalid              a mode file that cannot be used; the operator can cure it
├── TranscriptNotKept        the store refused it
├── FetchFailed              the download did not work
├── SpoolFull                no room on the disk
├── DecodeFailed             the decoder itself failed, or ran out of its limits
├── TranscriptionFailed      the transcriber failed
│   ├── TranscriberCrashed     its process died while it worked
│   └── ModelUnavailable       the speech model cannot be had
└── CompletionFailed         one link of the chain gave no answer
    ├── CompletionRateLimited
    ├── CompletionRefused      this one request is refused: too long, filtered; another model may take it
    └── CompletionUnavailable  no key, unknown or retired model: no use in trying again

An error carries a *key* and *values*; the sentence that a member reads is made of them in
``bot.presentation.messages``. The cause goes to the log, never to a member.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from bot.core.quotas import Verdict


class ErrorKind(StrEnum):
    """What is to be done about an error."""

    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    RATE_LIMIT = "rate-limit"


class EarshotError(Exception):
    """The root of the tree.

    Args:
        detail: for the log; never shown to a member.
        values: what the member's sentence mentions.
    """

    key: ClassVar[str] = "error.unexpected"
    kind: ClassVar[ErrorKind] = ErrorKind.PERMANENT

    def __init__(self, detail: str = "", **values: str | float) -> None:
        super().__init__(detail or self.key)
        self.detail = detail
        self.values = values


class BadInput(EarshotError):
    """The member's input cannot be used; the message says how to cure it."""


class LinkRefused(BadInput):
    """The link leads to a host that is not on the list."""

    key = "error.link_refused"


class LinkExpired(BadInput):
    """A signed link whose time is over, or a file that was deleted."""

    key = "error.link_expired"


class AudioTooLarge(BadInput):
    """Values: ``limit_mb``."""

    key = "error.too_large"


class AudioTooLong(BadInput):
    """Values: ``limit_minutes``."""

    key = "error.too_long"


class AudioEmpty(BadInput):
    """No bytes, or not one sample."""

    key = "error.empty"


class NotAudio(BadInput):
    """No media file, or one too damaged to read."""

    key = "error.not_audio"


class NoAudioTrack(BadInput):
    """A video or a picture without sound."""

    key = "error.no_audio_track"


class AudioEncrypted(BadInput):
    """Protected content, which nobody but its player can read."""

    key = "error.encrypted"


class FileUnreadable(BadInput):
    """Values: ``path``, ``reason``. A local file that is not there, or no file, or may not be read."""

    key = "error.file_unreadable"


class UnknownMode(BadInput):
    """Values: ``mode``, ``known``."""

    key = "error.unknown_mode"


class UnknownLanguage(BadInput):
    """Values: ``language``."""

    key = "error.unknown_language"


class NothingToListenTo(BadInput):
    """A message with neither audio nor video, or a link to no such message."""

    key = "error.nothing_to_listen_to"


class NotAllowed(EarshotError):
    """Somebody may not do that, here or at all."""

    key = "error.not_allowed"


class FairUseError(EarshotError):
    """What was asked is refused for now."""

    kind = ErrorKind.RATE_LIMIT


class QuotaExceeded(FairUseError):
    """The member's bucket, or the guild's budget, is empty.

    Args:
        verdict: what the limiter said.
    """

    key = "error.quota_exceeded"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"{verdict.cost} wanted, {verdict.remaining:.2f} left, refused by the {verdict.refused_by}")
        self.verdict = verdict


class CourtesyExceeded(QuotaExceeded):
    """Of what costs nothing, it was too much in too short a time."""


class Overloaded(FairUseError):
    """Values: ``wait_s``, the expected wait in seconds."""

    key = "error.overloaded"


class NotCached(EarshotError):
    """Work would be needed where only finished work was asked for."""


class StoreUnavailable(EarshotError):
    """The store or the cache cannot be reached, or is full."""

    key = "error.store_unavailable"
    kind = ErrorKind.TEMPORARY


class RecordInvalid(EarshotError):
    """What was stored cannot be read."""


class RecordTooNew(RecordInvalid):
    """A later version of the bot wrote it. Values: ``what``, ``found``, ``known``."""

    key = "error.record_too_new"


class NotFound(EarshotError):
    """A transcript, or a result, that is no longer kept."""

    key = "error.not_found"


class ModeInvalid(EarshotError):
    """Values: ``mode``, ``problem``. A mode file that cannot be used."""

    key = "error.mode_invalid"


class TranscriptNotKept(EarshotError):
    """A transcript could not be written where it is kept."""

    key = "error.not_kept"
    kind = ErrorKind.TEMPORARY


class FetchFailed(EarshotError):
    """The download did not work; another try may."""

    key = "error.fetch_failed"
    kind = ErrorKind.TEMPORARY


class SpoolFull(EarshotError):
    """No room on the disk for the audio; there is room again once other work is done, or its operator made some."""

    key = "error.spool_full"
    kind = ErrorKind.TEMPORARY


class DecodeFailed(EarshotError):
    """The decoder crashed or ran into a limit."""

    key = "error.decode_failed"


class TranscriptionFailed(EarshotError):
    """The transcriber gave up."""

    key = "error.transcription_failed"
    kind = ErrorKind.TEMPORARY


class TranscriberCrashed(TranscriptionFailed):
    """The transcriber's process died at its work."""


class ModelUnavailable(TranscriptionFailed):
    """Values: ``model``. The speech model cannot be had."""

    key = "error.model_unavailable"
    kind = ErrorKind.PERMANENT


class CompletionFailed(EarshotError):
    """A language model gave no usable answer."""

    key = "error.completion_failed"
    kind = ErrorKind.TEMPORARY


class CompletionRateLimited(CompletionFailed):
    """The provider asks to wait. Values: ``retry_after_s`` where it says how long."""

    kind = ErrorKind.RATE_LIMIT


class CompletionRefused(CompletionFailed):
    """The model will not answer this request, however often it is asked: too long for it, filtered, refused."""

    kind = ErrorKind.PERMANENT


class CompletionUnavailable(CompletionFailed):
    """No key, or an unknown or retired model: trying again is of no use."""

    kind = ErrorKind.PERMANENT
