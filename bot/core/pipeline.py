"""The one way through: fetch → decode → transcribe → route → complete."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.core.completion import CompletionTask
from bot.core.errors import CompletionFailed, EarshotError, TranscriptNotKept
from bot.core.models import (
    Cached,
    KeptTranscript,
    Note,
    NoteKey,
    Progress,
    Reply,
    Segment,
    Stage,
    StageReport,
    StageStatus,
)
from bot.core.prompts import build_prompt
from bot.core.routing import route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from bot.core.completion import Chain, Completion
    from bot.core.models import AudioFile, AudioLink, DecodedAudio, Request, Routing, Transcript
    from bot.core.modes import Mode
    from bot.core.ports import (
        AudioDecoder,
        AudioFetcher,
        ModeSource,
        Observer,
        Spool,
        Transcriber,
        TranscriptStore,
    )


def nobody(_progress: Progress) -> None:
    """An observer that does not look."""


class _Run:
    """What one request leaves behind on its way: reports of its stages, and words for its observer."""

    def __init__(self, observer: Observer, clock: Callable[[], float]) -> None:
        self.stages: dict[Stage, StageReport] = {}
        self._observer = observer
        self._clock = clock
        self._text = ""

    @contextmanager
    def stage(self, stage: Stage) -> Generator[None]:
        """Time a stage; one that raises is reported as failed, one that reported itself keeps its status."""
        self.progress(stage)
        started = self._clock()
        try:
            yield
        except EarshotError as exc:
            self.report(stage, StageStatus.FAILED, str(exc))
            raise
        finally:
            said = self.stages.get(stage)
            self.stages[stage] = StageReport(
                status=said.status if said else StageStatus.OK,
                seconds=self._clock() - started,
                detail=said.detail if said else "",
            )

    def report(self, stage: Stage, status: StageStatus, detail: str = "") -> None:
        seconds = self.stages[stage].seconds if stage in self.stages else 0.0
        self.stages[stage] = StageReport(status=status, seconds=seconds, detail=detail)

    @asynccontextmanager
    async def place(self, places: asyncio.Semaphore, stage: Stage) -> AsyncGenerator[None]:
        """Take one of ``places``; where none is free, the observer hears that others come first."""
        if places.locked():
            self.progress(stage, waiting=True)
        async with places:
            yield

    def progress(self, stage: Stage, fraction: float | None = None, *, waiting: bool = False, result: str = "") -> None:
        self._observer(
            Progress(stage=stage, fraction=fraction, waiting=waiting, transcript_text=self._text, result_text=result)
        )

    def heard(self, segments: tuple[Segment, ...], fraction: float) -> None:
        self._text = " ".join((self._text, *(segment.text for segment in segments))).strip()
        self.progress(Stage.TRANSCRIBE, fraction)


class Pipeline:
    """Answers requests. Every stage has its port and can fail alone.

    Args:
        fetcher: brings audio into the spool.
        decoder: makes samples of it.
        transcriber: makes text of those.
        chain: makes the mode's result of the text.
        modes: the modes that are live.
        transcripts: keeps transcripts for later.
        spool: where the audio lies meanwhile.
        clock: seconds from any beginning, never going back.
        fetch_ahead: how many requests may fetch at a time, so that a rush does not keep others from being acknowledged.
        transcriptions: how many run at a time. One request more may hold decoded audio; the rest wait with the
            encoded file, which is far smaller.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        *,
        fetcher: AudioFetcher,
        decoder: AudioDecoder,
        transcriber: Transcriber,
        chain: Chain,
        modes: ModeSource,
        transcripts: TranscriptStore,
        spool: Spool,
        clock: Callable[[], float],
        fetch_ahead: int = 4,
        transcriptions: int = 1,
    ) -> None:
        self._fetcher = fetcher
        self._decoder = decoder
        self._transcriber = transcriber
        self._chain = chain
        self._modes = modes
        self._transcripts = transcripts
        self._spool = spool
        self._clock = clock
        self._fetching = asyncio.Semaphore(fetch_ahead)
        self._holding = asyncio.Semaphore(transcriptions + 1)
        self._listening = asyncio.Semaphore(transcriptions)

    async def run(self, request: Request, observer: Observer = nobody) -> Reply:
        """Answer ``request``, telling ``observer`` how far it is.

        Raises:
            EarshotError: there is nothing to show, not even a transcript.
        """
        run = _Run(observer, self._clock)
        modes = self._modes.current()  # one snapshot: a request ends on the modes that it began with
        if request.mode is not None:
            route(request.mode, modes)  # an unknown mode is refused before any work is done for it
        transcript, kept_as = await self._transcript(request, run)
        answer = _Answer()
        if request.mode is not None and transcript.segments:
            answer = await self._answer(request.mode, modes, transcript, run)
        not_kept = () if kept_as else (Note(key=NoteKey.NOT_KEPT),)
        return Reply(
            request=request,
            transcript=transcript,
            transcript_id=kept_as,
            mode=answer.mode,
            routing=answer.routing,
            result=answer.completion.result if answer.completion else None,
            model=answer.completion.model if answer.completion else None,
            stages=run.stages,
            notes=transcript.notes + answer.notes + not_kept,
            cached=Cached(transcript=isinstance(request.source, KeptTranscript)),
        )

    async def _transcript(self, request: Request, run: _Run) -> tuple[Transcript, str | None]:
        """The transcript, and the id under which it is kept."""
        if isinstance(request.source, KeptTranscript):
            with run.stage(Stage.TRANSCRIBE):
                run.report(Stage.TRANSCRIBE, StageStatus.SKIPPED, "kept from an earlier request")
                return await self._transcripts.get(request.source.id), request.source.id
        transcript = _with_notes(await self._listen(request.source, request, run))
        try:
            # At once: whatever happens next, nothing that was heard is lost.
            await self._transcripts.put(request.id, transcript)
        except TranscriptNotKept as exc:
            run.report(Stage.TRANSCRIBE, StageStatus.PARTIAL, str(exc))
            return transcript, None
        return transcript, request.id

    async def _listen(self, source: AudioLink | AudioFile, request: Request, run: _Run) -> Transcript:
        async with run.place(self._fetching, Stage.FETCH):
            with run.stage(Stage.FETCH):
                fetched = await self._fetcher.fetch(source, on_fraction=lambda done: run.progress(Stage.FETCH, done))
        decoded: DecodedAudio | None = None
        try:
            async with run.place(self._holding, Stage.DECODE):
                with run.stage(Stage.DECODE):
                    decoded = await self._decoder.decode(fetched)
                self._spool.release(fetched)
                async with run.place(self._listening, Stage.TRANSCRIBE):
                    with run.stage(Stage.TRANSCRIBE):
                        return await self._transcriber.transcribe(decoded, request.options, on_segments=run.heard)
        finally:
            self._spool.release(fetched)
            if decoded is not None:
                self._spool.release(decoded)

    async def _answer(self, wanted: str, modes: Mapping[str, Mode], transcript: Transcript, run: _Run) -> _Answer:
        with run.stage(Stage.ROUTE):
            routing = route(wanted, modes)
            run.report(Stage.ROUTE, StageStatus.OK, routing.reason)
        mode = modes[routing.chosen]
        try:
            with run.stage(Stage.COMPLETE):
                prompt, prompt_notes = build_prompt(mode, transcript)
                completion = await self._chain.run(
                    CompletionTask(mode=mode, transcript=transcript, prompt=prompt),
                    on_text=lambda text: run.progress(Stage.COMPLETE, result=text),
                )
                degraded = any(note.key is NoteKey.TEMPLATE_USED for note in completion.notes)
                run.report(
                    Stage.COMPLETE,
                    StageStatus.PARTIAL if degraded else StageStatus.OK,
                    "; ".join(map(str, completion.failed)),
                )
        except CompletionFailed:
            return _Answer(mode=mode, routing=routing, notes=(Note(key=NoteKey.RESULT_MISSING),))
        # The template has read the whole transcript: what was cut for the models says nothing of its answer.
        notes = completion.notes if degraded else prompt_notes + completion.notes
        return _Answer(mode=mode, routing=routing, completion=completion, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    mode: Mode | None = None
    routing: Routing | None = None
    completion: Completion | None = None
    notes: tuple[Note, ...] = ()


def _with_notes(transcript: Transcript) -> Transcript:
    """Say what the transcriber cannot know: that nobody told the speakers of a file apart."""
    if any(segment.speaker is None for segment in transcript.segments):
        note = Note(key=NoteKey.SPEAKERS_NOT_SEPARATED)
        return transcript.model_copy(update={"notes": (*transcript.notes, note)})
    return transcript
