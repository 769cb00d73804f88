"""What the core asks of the world. Adapters implement these; every port has a fake in ``tests/fakes.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.core.completion import Completion, CompletionTask
    from bot.core.models import (
        AudioFile,
        AudioLink,
        DecodedAudio,
        FetchedAudio,
        Progress,
        Segment,
        Transcript,
        TranscriptionOptions,
    )
    from bot.core.modes import Mode


class AudioFetcher(Protocol):
    """Brings a source into the spool."""

    async def fetch(self, source: AudioLink | AudioFile, *, on_fraction: Callable[[float], None]) -> FetchedAudio:
        """Stream ``source`` into the spool while its hash is computed.

        Raises:
            LinkRefused, LinkExpired, FileUnreadable, AudioTooLarge, AudioEmpty: whoever asked can cure it.
            FetchFailed: the network did not play along.
            SpoolFull: no room on the disk.
        """
        ...


class AudioDecoder(Protocol):
    """Turns encoded audio into samples."""

    async def decode(self, audio: FetchedAudio) -> DecodedAudio:
        """Decode the first audio track.

        Raises:
            AudioEmpty, NotAudio, NoAudioTrack, AudioEncrypted, AudioTooLong: the member can cure it.
            SpoolFull: no room on the disk.
            DecodeFailed: the decoder crashed or ran into a limit.
        """
        ...


class Transcriber(Protocol):
    """Turns samples into text."""

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


class TranscriptStore(Protocol):
    """Keeps transcripts for "Redo as …" and for the files menu."""

    async def put(self, request_id: str, transcript: Transcript) -> None:
        """Keep ``transcript`` under the request that made it.

        Raises:
            TranscriptNotKept: there is no room, or no way to write.
        """
        ...

    async def get(self, request_id: str) -> Transcript:
        """Give it back.

        Raises:
            NotFound: there is none of that id, or its time is over.
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


class ModeSource(Protocol):
    """Gives the modes that are live now."""

    def current(self) -> Mapping[str, Mode]:
        """All modes by id: an immutable snapshot."""
        ...
