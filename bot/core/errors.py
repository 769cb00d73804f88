"""Everything that can go wrong, as a tree: what is to be done about it, and the stage that it belongs to.

EarshotError                    permanent   -           a slip of the program
├── BadInput                    permanent   -           the member can cure it
│   ├── LinkRefused             permanent   fetch       not a link of an allowed host
│   ├── LinkExpired             permanent   fetch       a signed link that is no longer valid
│   ├── AudioTooLarge           permanent   fetch       more bytes than the limit
│   ├── AudioTooLong            permanent   decode      more minutes than the limit
│   ├── AudioEmpty              permanent   decode      no bytes, or no samples
│   ├── NotAudio                permanent   decode      not a media file, or a damaged one
│   ├── NoAudioTrack            permanent   decode      a video or picture without sound
│   ├── AudioEncrypted          permanent   decode      protected content
│   ├── FileUnreadable          permanent   fetch       a local path that cannot be read
│   ├── UnknownMode             permanent   route       no mode of that name
│   ├── UnknownLanguage         permanent   transcribe  a language that the model does not know, or that is none
│   └── NothingToListenTo       permanent   -           a message without audio
├── NotAllowed                  permanent   -           somebody may not do that, here or at all
├── CancelledByMember           permanent   -           whoever asked for it wants it no more
├── GivenUp                     permanent   -           a job that ends every process that begins it
├── FairUseError                rate-limit  -           what was asked is refused for now, and it says until when
│   ├── QuotaExceeded           rate-limit  -           the member's bucket, or the guild's budget, is empty
│   │   └── CourtesyExceeded    rate-limit  -           of what is free, it was too much
│   └── Overloaded              rate-limit  -           more work waits than can be done soon
├── NotCached                   permanent   -           work is needed where only finished work was asked for
├── StoreUnavailable            temporary   -           the store or the cache cannot be reached, or is full
├── RecordInvalid               permanent   -           what was stored cannot be read
│   └── RecordTooNew            permanent   -           a later version of the bot wrote it
├── NotFound                    permanent   -           something that is no longer kept
├── ModeInvalid                 permanent   complete    a mode file that cannot be used; the operator can cure it
├── TranscriptNotKept           temporary   transcribe  the store refused it
├── FetchFailed                 temporary   fetch       the download did not work
├── SpoolFailed                 temporary   fetch       the disk does not work
│   └── SpoolFull               temporary   fetch       no room on the disk
├── DecodeFailed                permanent   decode      the decoder itself failed, or ran out of its limits
├── TranscriptionFailed         temporary   transcribe  the transcriber failed
│   ├── TranscriberCrashed      temporary   transcribe  its process died while it worked
│   └── ModelUnavailable        permanent   transcribe  the speech model cannot be had
└── CompletionFailed            temporary   complete    one link of the chain gave no answer
    ├── CompletionRateLimited   rate-limit  complete    the provider asks to wait
    ├── CompletionRefused       permanent   complete    too long for the model, or filtered; another may take it
    └── CompletionUnavailable   permanent   complete    no key, unknown or retired model: no use in trying again

An error carries a *key* and *values*; the sentence that a member reads is made of them in
``bot.presentation.messages``. The cause goes to the log, never to a member; `reference_of` leads from one to the other.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from bot.core.models import Stage

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
    stage: ClassVar[Stage | None] = None

    def __init__(self, detail: str = "", **values: str | float) -> None:
        super().__init__(detail or self.key)
        self.detail = detail
        self.values = values


class BadInput(EarshotError):
    """The member's input cannot be used; the message says how to cure it."""


class LinkRefused(BadInput):
    """The link leads to a host that is not on the list."""

    key = "error.link_refused"
    stage = Stage.FETCH


class LinkExpired(BadInput):
    """A signed link whose time is over, or a file that was deleted."""

    key = "error.link_expired"
    stage = Stage.FETCH


class AudioTooLarge(BadInput):
    """Values: ``limit_mb``."""

    key = "error.too_large"
    stage = Stage.FETCH


class AudioTooLong(BadInput):
    """Values: ``limit_minutes``."""

    key = "error.too_long"
    stage = Stage.DECODE


class AudioEmpty(BadInput):
    """No bytes, which fetching may find out already, or not one sample."""

    key = "error.empty"
    stage = Stage.DECODE


class NotAudio(BadInput):
    """No media file, or one too damaged to read."""

    key = "error.not_audio"
    stage = Stage.DECODE


class NoAudioTrack(BadInput):
    """A video or a picture without sound."""

    key = "error.no_audio_track"
    stage = Stage.DECODE


class AudioEncrypted(BadInput):
    """Protected content, which nobody but its player can read."""

    key = "error.encrypted"
    stage = Stage.DECODE


class FileUnreadable(BadInput):
    """Values: ``path``, ``reason``. A local file that is not there, or no file, or may not be read."""

    key = "error.file_unreadable"
    stage = Stage.FETCH


class UnknownMode(BadInput):
    """Values: ``mode``, ``known``."""

    key = "error.unknown_mode"
    stage = Stage.ROUTE


class UnknownLanguage(BadInput):
    """Values: ``language``."""

    key = "error.unknown_language"
    stage = Stage.TRANSCRIBE


class NothingToListenTo(BadInput):
    """A message with neither audio nor video, or a link to no such message."""

    key = "error.nothing_to_listen_to"


class NotAllowed(EarshotError):
    """Somebody may not do that, here or at all."""

    key = "error.not_allowed"


class CancelledByMember(EarshotError):
    """Whoever asked for it wants it no more."""

    key = "error.cancelled"


class GivenUp(EarshotError):
    """Values: ``starts``. A job was begun so often, and ended the process each time."""

    key = "error.given_up"


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
    stage = Stage.COMPLETE


class TranscriptNotKept(EarshotError):
    """A transcript could not be written where it is kept."""

    key = "error.not_kept"
    kind = ErrorKind.TEMPORARY
    stage = Stage.TRANSCRIBE


class FetchFailed(EarshotError):
    """The download did not work; another try may."""

    key = "error.fetch_failed"
    kind = ErrorKind.TEMPORARY
    stage = Stage.FETCH


class SpoolFailed(EarshotError):
    """The disk that audio lies on while it is worked on does not work."""

    key = "error.spool_failed"
    kind = ErrorKind.TEMPORARY
    stage = Stage.FETCH


class SpoolFull(SpoolFailed):
    """No room there for the audio; there is again once other work is done, or its operator made some."""

    key = "error.spool_full"


class DecodeFailed(EarshotError):
    """The decoder crashed or ran into a limit."""

    key = "error.decode_failed"
    stage = Stage.DECODE


class TranscriptionFailed(EarshotError):
    """The transcriber gave up."""

    key = "error.transcription_failed"
    kind = ErrorKind.TEMPORARY
    stage = Stage.TRANSCRIBE


class TranscriberCrashed(TranscriptionFailed):
    """The transcriber's process died at its work, as often as it was begun."""

    key = "error.transcriber_crashed"


class ModelUnavailable(TranscriptionFailed):
    """Values: ``model``. The speech model cannot be had."""

    key = "error.model_unavailable"
    kind = ErrorKind.PERMANENT


class CompletionFailed(EarshotError):
    """A language model gave no usable answer."""

    key = "error.completion_failed"
    kind = ErrorKind.TEMPORARY
    stage = Stage.COMPLETE


class CompletionRateLimited(CompletionFailed):
    """The provider asks to wait. Values: ``retry_after_s`` where it says how long."""

    kind = ErrorKind.RATE_LIMIT


class CompletionRefused(CompletionFailed):
    """The model will not answer this request, however often it is asked: too long for it, filtered, refused."""

    kind = ErrorKind.PERMANENT


class CompletionUnavailable(CompletionFailed):
    """No key, or an unknown or retired model: trying again is of no use."""

    kind = ErrorKind.PERMANENT


# --- from a member's message to the log ---------------------------------------------------------------------------

OWN_DOING: Final = (BadInput, NotAllowed, CancelledByMember, FairUseError)
"""What whoever asked can cure, or has to wait for: no operator has to look for a cause."""

LETTERS: Final = "3479CDFHJKMNPQRTWXY"
"""What references are made of: no two that look alike, and no vowels, so that there are no words among them."""
REFERENCE_LENGTH: Final = 7


def reference_of(request_id: str) -> str:
    """The code that the member of a failed request is shown, and that stands in the log lines of the request.

    It tells nothing of the id, which opens a transcript: codes are posted where everybody reads them. Another of a
    million requests has the same with a probability of 0.1 %.
    """
    digest = hashlib.sha256(request_id.encode()).digest()
    return "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:REFERENCE_LENGTH])
