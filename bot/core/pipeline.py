"""The one way through: fetch → decode → transcribe → route → complete.

What was transcribed or completed before comes from the cache; what somebody else is at is waited for, not done twice.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bot.core.caching import TRANSCRIPT_S, News, transcript_key, transcript_ttl
from bot.core.chain import untraced
from bot.core.errors import CompletionFailed, EarshotError, TranscriptNotKept
from bot.core.long_input import TooMuchSaid, complete, status_of
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
from bot.core.records import TRANSCRIPT
from bot.core.routing import route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from bot.core.caching import OnNews, SharedWork
    from bot.core.chain import Chain
    from bot.core.completion import Completion
    from bot.core.load import Load, Work
    from bot.core.models import (
        AudioFile,
        AudioLink,
        DecodedAudio,
        FetchedAudio,
        Request,
        Routing,
        SpooledAudio,
        Transcript,
        TranscriptionOptions,
    )
    from bot.core.modes import Mode
    from bot.core.ports import (
        AudioDecoder,
        AudioFetcher,
        CacheTrail,
        ModeSource,
        Observer,
        Spool,
        Transcriber,
        TranscriptStore,
    )


TOLD_CHARS = 4_000
"""How much of the newest text those who wait are told; more than any of them shows."""


def nobody(_progress: Progress) -> None:
    """An observer that does not look."""


class _Run:
    """What one request leaves behind on its way: reports of its stages, and words for its observer."""

    def __init__(self, observer: Observer, clock: Callable[[], float], trail: CacheTrail) -> None:
        self.stages: dict[Stage, StageReport] = {}
        self.trail = trail
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

    @contextmanager
    def others_work(self, stage: Stage) -> Generator[None]:
        """Time a stage that somebody else may go through, or went through: if so, it is reported as skipped."""
        started = self._clock()
        status, detail = StageStatus.SKIPPED, "shared, or from the cache"
        try:
            yield
        except EarshotError as exc:
            status, detail = StageStatus.FAILED, str(exc)
            raise
        finally:
            self.stages.setdefault(stage, StageReport(status=status, seconds=self._clock() - started, detail=detail))

    @asynccontextmanager
    async def place(self, places: asyncio.Semaphore, stage: Stage, tell: OnNews | None = None) -> AsyncGenerator[None]:
        """Take one of ``places``; where none is free, the observer hears that others come first."""
        if places.locked():
            self.progress(stage, waiting=True)
            if tell is not None:
                tell(News(waiting=True))
        async with places:
            yield

    def progress(self, stage: Stage, fraction: float | None = None, *, waiting: bool = False, result: str = "") -> None:
        self._observer(
            Progress(stage=stage, fraction=fraction, waiting=waiting, transcript_text=self._text, result_text=result)
        )

    def heard(self, news: News) -> None:
        """Pass on what was heard so far, here or wherever somebody listens to the same."""
        self._text = news.text
        self.progress(Stage.TRANSCRIBE, news.fraction, waiting=news.waiting)


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
        shared: finds transcripts that are done, or being done.
        load: counts what waits.
        transcript_s: how long transcripts are cached, in seconds.
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
        shared: SharedWork,
        load: Load,
        clock: Callable[[], float],
        transcript_s: float = TRANSCRIPT_S,
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
        self._shared = shared
        self._load = load
        self._ttl_s = transcript_ttl(transcript_s)
        self._clock = clock
        self._fetching = asyncio.Semaphore(fetch_ahead)
        self._holding = asyncio.Semaphore(transcriptions + 1)
        self._listening = asyncio.Semaphore(transcriptions)

    async def run(self, request: Request, observer: Observer = nobody, *, trail: CacheTrail = untraced) -> Reply:
        """Answer ``request``, telling ``observer`` how far it is, and ``trail`` what it leaves in the cache.

        Raises:
            NotCached: with ``request.only_cached``, where work would be needed.
            EarshotError: there is nothing to show, not even a transcript.
        """
        run = _Run(observer, self._clock, trail)
        modes = self._modes.current()  # one snapshot: a request ends on the modes that it began with
        if request.mode is not None:
            # An unknown mode is refused before any work is done for it.
            route(request.mode, modes, default=request.default_mode)
        heard = await self._transcript(request, run)
        answer = _Answer()
        if request.mode is not None and heard.transcript.segments:
            answer = await self._answer(request, request.mode, modes, heard.transcript, run)
        if request.only_cached and heard.kept_as is None:
            await trail(heard.key, is_new=True)  # noted first: whatever ends this process, /forget-me finds it
            heard = replace(heard, kept_as=await self._keep(request, heard.transcript, run))
        not_kept = () if heard.kept_as else (Note(key=NoteKey.NOT_KEPT),)
        completion = answer.completion
        return Reply(
            request=request,
            transcript=heard.transcript,
            transcript_id=heard.kept_as,
            mode=answer.mode.ref if answer.mode else None,
            routing=answer.routing,
            result=completion.result if completion else None,
            model=completion.model if completion else None,
            stages=run.stages,
            notes=heard.transcript.notes + answer.notes + not_kept,
            cached=Cached(transcript=heard.cached, completion=completion is not None and completion.cached),
            audio_sha256=heard.sha256,
        )

    async def was_heard(self, sha256: str, request: Request) -> bool:
        """Whether it is known what comes of listening to such audio, so that nobody has to."""
        key = transcript_key(sha256, self._transcriber.model, request.options, request.scope)
        try:
            return await self._shared.cached(key, TRANSCRIPT) is not None
        except EarshotError:
            return True

    async def _transcript(self, request: Request, run: _Run) -> _Heard:
        if isinstance(request.source, KeptTranscript):
            with run.stage(Stage.TRANSCRIBE):
                run.report(Stage.TRANSCRIBE, StageStatus.SKIPPED, "kept from an earlier request")
                kept = await self._transcripts.get(request.source.id)
            return _Heard(transcript=kept, kept_as=request.source.id, cached=True)
        heard = await self._listen(request.source, request, run)
        if request.only_cached:
            return heard  # kept when there is an answer: a request that is refused leaves nothing behind
        # At once: whatever happens next, nothing that was heard is lost.
        return replace(heard, kept_as=await self._keep(request, heard.transcript, run))

    async def _keep(self, request: Request, transcript: Transcript, run: _Run) -> str | None:
        try:
            await self._transcripts.put(request.id, transcript, keep_s=request.keep_s)
        except TranscriptNotKept as exc:
            run.report(Stage.TRANSCRIBE, StageStatus.PARTIAL, str(exc))
            return None
        return request.id

    async def _listen(self, source: AudioLink | AudioFile | SpooledAudio, request: Request, run: _Run) -> _Heard:
        async with run.place(self._fetching, Stage.FETCH):
            with run.stage(Stage.FETCH):
                fetched = await self._fetcher.fetch(source, on_fraction=lambda done: run.progress(Stage.FETCH, done))
        key = transcript_key(fetched.sha256, self._transcriber.model, request.options, request.scope)
        try:
            await run.trail(key, is_new=False)
            with run.others_work(Stage.TRANSCRIBE):
                transcript, cached = await self._shared.once(
                    key,
                    TRANSCRIPT,
                    partial(self._hear, fetched, request.options, run, key),
                    ttl_s=lambda transcript: min(self._ttl_s(transcript), request.keep_s),
                    on_news=run.heard,
                    only_cached=request.only_cached,
                )
        finally:
            self._spool.release(fetched)
        return _Heard(transcript=_with_notes(transcript), cached=cached, key=key, sha256=fetched.sha256)

    async def _hear(
        self, fetched: FetchedAudio, options: TranscriptionOptions, run: _Run, key: str, tell: OnNews
    ) -> Transcript:
        """Decode and transcribe what will lie under ``key``; ``tell`` reaches everybody who waits for the same."""
        await run.trail(key, is_new=True)
        decoded: DecodedAudio | None = None
        with self._load.work(fetched.declared_s) as work:
            try:
                async with run.place(self._holding, Stage.DECODE, tell):
                    with run.stage(Stage.DECODE):
                        decoded = await self._decoder.decode(fetched)
                    self._spool.release(fetched)
                    work.known(decoded.duration_s)
                    async with run.place(self._listening, Stage.TRANSCRIBE, tell):
                        with run.stage(Stage.TRANSCRIBE):
                            return await self._transcriber.transcribe(decoded, options, on_segments=_teller(work, tell))
            finally:
                if decoded is not None:
                    self._spool.release(decoded)

    async def _answer(
        self, request: Request, wanted: str, modes: Mapping[str, Mode], transcript: Transcript, run: _Run
    ) -> _Answer:
        with run.stage(Stage.ROUTE):
            routing = route(wanted, modes, default=request.default_mode)
            run.report(Stage.ROUTE, StageStatus.OK, routing.reason)
        mode = modes[routing.chosen]
        try:
            with run.stage(Stage.COMPLETE):
                completion = await complete(
                    self._chain,
                    mode,
                    transcript,
                    request,
                    on_progress=lambda text, done: run.progress(Stage.COMPLETE, done, result=text),
                    trail=run.trail,
                )
                run.report(Stage.COMPLETE, status_of(completion), "; ".join(map(str, completion.failed)))
        except CompletionFailed:
            return _Answer(mode=mode, routing=routing, notes=(Note(key=NoteKey.RESULT_MISSING),))
        except TooMuchSaid as exc:  # nobody was asked, so nobody has failed
            run.report(Stage.COMPLETE, StageStatus.SKIPPED, str(exc))
            return _Answer(mode=mode, routing=routing, notes=(Note(key=NoteKey.TOO_MUCH_SAID),))
        return _Answer(mode=mode, routing=routing, completion=completion, notes=completion.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A transcript, the id under which it is kept, and where it came from: ``key`` is the cache's, if it knows it."""

    transcript: Transcript
    kept_as: str | None = None
    cached: bool
    key: str = ""
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    mode: Mode | None = None
    routing: Routing | None = None
    completion: Completion | None = None
    notes: tuple[Note, ...] = ()


def _teller(work: Work, tell: OnNews) -> Callable[[tuple[Segment, ...], float], None]:
    """Tells all of the text so far, segment by segment."""
    text = ""

    def heard(segments: tuple[Segment, ...], fraction: float) -> None:
        nonlocal text
        text = " ".join((text, *(segment.text for segment in segments))).strip()[-TOLD_CHARS:]
        work.progress(fraction)
        tell(News(text=text, fraction=fraction))

    work.begin()
    return heard


def _with_notes(transcript: Transcript) -> Transcript:
    """Say what the transcriber cannot know: that nobody told the speakers of a file apart."""
    if any(segment.speaker is None for segment in transcript.segments):
        note = Note(key=NoteKey.SPEAKERS_NOT_SEPARATED)
        return transcript.model_copy(update={"notes": (*transcript.notes, note)})
    return transcript
