"""The transcriber: processes with a model, ready when they are wanted and gone when they are not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loguru import logger

from bot.adapters.whisper import protocol
from bot.adapters.whisper.process import COMMAND, WhisperProcess
from bot.core.errors import TranscriberCrashed, TranscriptionFailed, UnknownLanguage
from bot.core.models import Transcript
from bot.core.transcripts import UNDETERMINED, notes_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.core.models import DecodedAudio, Segment, TranscriptionOptions

MAX_STARTS = 3
LOAD_TIMEOUT_S = 1_800.0
"""A large model over a slow line takes its time."""
STALL_S = 600.0
"""One window of a large model on a small machine may take minutes, and it may be tried more than once."""
_WALL_BASE_S, _WALL_PER_S = 120.0, 20.0
NICENESS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriberState:
    """Whether it can work at once; ``detail`` says why it ``failed``."""

    name: Literal["cold", "loading", "ready", "failed"]
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What is known of a job; it outlives the process that works on it."""

    language: str | None
    probability: float
    until: int = 0
    segments: list[Segment] = field(default_factory=list["Segment"])


class WhisperTranscriber:
    """Implements ``bot.core.ports.Transcriber``, each job in a process of its own.

    Args:
        model: ``embedded``, a path, or a name that faster-whisper knows.
        models_dir: where models are kept.
        wheels_dir: where the wheels of the embedded model are kept; beside the models by default.
        device: ``auto``, ``cpu`` or ``cuda``.
        compute_type: ``auto``, or one of CTranslate2's.
        threads: for each process; 0 is a share of the cores.
        concurrency: jobs at once; further ones wait in their order.
        standby: processes that are kept loaded besides while there is work, so that one that is cancelled is replaced
            at once; 0 saves their memory.
        idle_s: seconds without work after which all processes end.
        beam_size: hypotheses that are followed at once.
        load_timeout_s: seconds that loading may take, downloads included.
        stall_s: seconds without a sign of life after which a process is taken for dead.
        command: starts a process.
    """

    def __init__(  # noqa: PLR0913 -- what an operator may choose
        self,
        *,
        model: str,
        models_dir: Path,
        wheels_dir: Path | None = None,
        device: str = "auto",
        compute_type: str = "auto",
        threads: int = 0,
        concurrency: int = 1,
        standby: int = 1,
        idle_s: float = 900.0,
        beam_size: int = 5,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        stall_s: float = STALL_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._setup = protocol.Setup(
            model=str(Path(model).absolute()) if Path(model).is_dir() else model,
            models_dir=str(models_dir.absolute()),
            wheels_dir=str((wheels_dir or models_dir.parent / "wheels").absolute()),
            device=device,
            compute_type=compute_type,
            threads=threads,
            concurrency=concurrency,
            beam_size=beam_size,
            niceness=NICENESS,
        )
        self._name = protocol.EMBEDDED if model == "embedded" else Path(model).name
        self._standby, self._idle_s = standby, idle_s
        self._load_timeout_s, self._stall_s = load_timeout_s, stall_s
        self._command = command
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._idle: list[WhisperProcess] = []
        self._busy: set[WhisperProcess] = set()
        self._dying: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._unloading: asyncio.TimerHandle | None = None
        self._failure = ""
        self._closed = False

    @property
    def model(self) -> str:
        """The model's name, as it stands in transcripts."""
        return self._name

    @property
    def state(self) -> TranscriberState:
        """Whether it can work at once."""
        if self._busy or self._idle:
            return TranscriberState(name="ready")
        if self._loading is not None and not self._loading.done():
            return TranscriberState(name="loading")
        if self._failure:
            return TranscriberState(name="failed", detail=self._failure)
        return TranscriberState(name="cold")

    def pids(self) -> tuple[int, ...]:
        """Give the numbers of all processes that have a model loaded, those at work first."""
        return tuple(process.pid for process in (*self._busy, *self._idle))

    async def warm_up(self) -> None:
        """Load the model, so that the first job need not wait.

        Raises:
            TranscriptionFailed: it cannot be loaded.
        """
        if not self._busy and not self._idle:
            await self._one_more()

    async def aclose(self) -> None:
        """End all processes; jobs that are under way fail."""
        self._closed = True
        self._cancel_unloading()
        for task in (self._filling, self._loading):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        for process in self._busy:
            process.kill()  # its job sees to the rest
        for _ in range(self._concurrency):  # when all are free, nothing is under way
            await self._slots.acquire()
        for _ in range(self._concurrency):
            self._slots.release()
        self._unload()
        await asyncio.gather(*self._dying)

    async def transcribe(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        *,
        on_segments: Callable[[tuple[Segment, ...], float], None],
    ) -> Transcript:
        """Transcribe ``audio``; see ``bot.core.ports.Transcriber``.

        A process that dies is replaced, and the next one goes on after the last window that was finished.
        """
        progress = _Progress(language=options.language, probability=0.0 if options.language is None else 1.0)
        async with self._slots:
            await self._persist(audio, options, progress, on_segments)
        language, probability = progress.language or UNDETERMINED, progress.probability
        return Transcript(
            language=language,
            language_probability=probability,
            duration_s=audio.duration_s,
            segments=tuple(progress.segments),
            model=self._name,
            task=options.task,
            notes=notes_on(
                segments=progress.segments,
                language=language,
                probability=probability,
                decoded_s=audio.duration_s,
                declared_s=audio.declared_s,
            ),
        )

    async def _persist(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        progress: _Progress,
        on_segments: Callable[[tuple[Segment, ...], float], None],
    ) -> None:
        def note(answer: protocol.Found | protocol.Finished) -> None:
            if isinstance(answer, protocol.Found):
                if progress.language is None:
                    progress.language, progress.probability = answer.language, min(answer.probability, 1.0)
                return
            progress.until = answer.until
            progress.segments.extend(answer.segments)
            on_segments(answer.segments, min(answer.until / audio.samples, 1.0))

        for start in range(1, MAX_STARTS + 1):
            try:
                await self._work(audio, options, progress, note)
            except TranscriberCrashed as crash:
                logger.warning("transcriber crashed, start {} of {}: {}", start, MAX_STARTS, crash.detail)
                if start == MAX_STARTS or self._closed:
                    raise
            else:
                return

    async def _work(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        progress: _Progress,
        note: Callable[[protocol.Found | protocol.Finished], None],
    ) -> None:
        process = await self._acquire()
        job = protocol.Job(
            path=str(audio.path.absolute()),
            samples=audio.samples,
            begin=progress.until,
            language=progress.language,
            task=options.task,
            hot_words=options.hot_words,
        )
        self._keep_standby()
        limit_s = _WALL_BASE_S + _WALL_PER_S * audio.duration_s
        try:
            async with asyncio.timeout(limit_s):
                await process.work(job, stall_s=self._stall_s, on_answer=note)
        except UnknownLanguage:
            self._give_back(process)
            raise
        except BaseException as exc:
            self._end(process)
            if isinstance(exc, TimeoutError):
                raise TranscriptionFailed(f"not done after {limit_s:.0f} s") from exc
            raise
        self._give_back(process)

    async def _acquire(self) -> WhisperProcess:
        """Take a process that is ready, or wait for one."""
        while True:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    self._cancel_unloading()
                    self._busy.add(process)
                    return process
                self._end(process)
            await self._one_more()

    async def _one_more(self) -> None:
        """Wait until one more process is idle; somebody else may take it first.

        One is loaded at a time: a model is downloaded once, and loading is heavy. Who stops waiting does not stop the
        loading: the next job needs it as well.

        Raises:
            TranscriptionFailed: it cannot be loaded.
        """
        if self._closed:
            raise TranscriptionFailed("the transcriber is closed")
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
            self._loading.add_done_callback(_see)
        try:
            await asyncio.shield(self._loading)
        except asyncio.CancelledError:
            if self._closed and self._loading.cancelled():
                raise TranscriptionFailed("the transcriber is closed") from None
            raise

    async def _load(self) -> None:
        try:
            process = await WhisperProcess.start(
                self._setup, load_timeout_s=self._load_timeout_s, command=self._command
            )
        except TranscriptionFailed as exc:
            self._failure = exc.detail
            raise
        self._failure = ""
        self._idle.append(process)
        self._unload_later()

    def _give_back(self, process: WhisperProcess) -> None:
        self._busy.discard(process)
        self._idle.append(process)
        self._unload_later()

    def _end(self, process: WhisperProcess) -> None:
        self._busy.discard(process)
        process.kill()
        ending = asyncio.create_task(process.ended())
        self._dying.add(ending)
        ending.add_done_callback(self._dying.discard)

    def _keep_standby(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            while len(self._idle) < self._standby:
                await self._one_more()
        except TranscriptionFailed as exc:  # whoever needs a process next will see it again
            logger.warning("no standby transcriber: {}", exc.detail)

    def _unload_later(self) -> None:
        self._cancel_unloading()
        if not self._busy:
            self._unloading = asyncio.get_running_loop().call_later(self._idle_s, self._unload)

    def _cancel_unloading(self) -> None:
        if self._unloading is not None:
            self._unloading.cancel()
            self._unloading = None

    def _unload(self) -> None:
        logger.debug("unloading {}", self._name)
        while self._idle:
            self._end(self._idle.pop())


def _see(task: asyncio.Task[None]) -> None:
    """Take note of a failure, which nobody may be waiting for any more."""
    if not task.cancelled():
        task.exception()
