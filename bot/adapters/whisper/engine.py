"""The transcriber's work, window by window; it runs in the child process.

Windows are independent of each other: no text is handed on as a prompt, so that a mistake stays where it was made, and
several are worked on at once. docs/adr/0002-whisper-windows.md has the measurements behind the choices.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ctranslate2
from faster_whisper import WhisperModel

from bot.adapters.whisper.decoding import BEAM_SIZE, Listening, WindowDecoder
from bot.adapters.whisper.device import Hardware
from bot.adapters.whisper.embedded import MODELS, ensure_embedded_model, ensure_model
from bot.adapters.whisper.speech import sound_of, windows_of
from bot.core.errors import ModelUnavailable, UnknownLanguage
from bot.core.models import Task as Transcription
from bot.core.transcripts import Word, is_believable, is_squeezed, segments_of, settle_language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bot.adapters.whisper.decoding import Heard
    from bot.adapters.whisper.device import Placement
    from bot.adapters.whisper.speech import Samples
    from bot.adapters.whisper.windows import Window
    from bot.core.models import Segment

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_UNLIMITED = 1_000

_SURE = 0.7
_MAX_DETECTIONS = 4
"""The language is sought in this many windows at most, or until it is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One recording. ``begin`` is the sample from which on it is listened to."""

    samples: Samples
    language: str | None
    task: str
    hot_words: tuple[str, ...] = ()
    begin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The language was found, or was given."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A window is done: its segments, in seconds of the recording, and the sample up to which nothing is left to do."""

    segments: tuple[Segment, ...]
    until: int


class Engine:
    """A loaded model."""

    def __init__(self, model: WhisperModel, *, workers: int, beam_size: int = BEAM_SIZE) -> None:
        self._decoder = WindowDecoder(model, beam_size=beam_size)
        self._workers = workers

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model knows."""
        return self._decoder.languages

    def run(self, task: Task, *, on_scan: Callable[[int], None] = lambda _: None) -> Iterator[Language | Finished]:
        """Transcribe a recording; nothing is yielded for one in which nobody speaks.

        Args:
            task: the recording and what is known about it.
            on_scan: called with the number of samples in which speech was looked for.

        Raises:
            UnknownLanguage: the model does not know the language that was asked for.
        """
        if task.language is not None and task.language not in self.languages:
            raise UnknownLanguage(f"the model does not know {task.language!r}", language=task.language)
        windows = windows_of(task.samples, begin=task.begin, on_scan=on_scan)
        found, looked_at = self._settle_language(task, windows)
        if found is None:
            return
        yield found
        listening = Listening(language=found.language, task=task.task, hot_words=task.hot_words)
        ahead: Iterator[tuple[Window, object | None]] = chain(looked_at, ((window, None) for window in windows))
        with ThreadPoolExecutor(self._workers, thread_name_prefix="window") as threads:
            at_work: deque[tuple[Window, Future[tuple[Heard, ...]]]] = deque()
            for window, encoded in ahead:
                sound = sound_of(task.samples, window)
                at_work.append((window, threads.submit(self._decoder.decode, sound, listening, encoded=encoded)))
                if len(at_work) > self._workers:
                    yield _finish(*at_work.popleft(), listening)
            while at_work:
                yield _finish(*at_work.popleft(), listening)

    def _settle_language(
        self, task: Task, windows: Iterator[Window]
    ) -> tuple[Language | None, list[tuple[Window, object | None]]]:
        """Find the language; give the windows that were looked at for it, encoded."""
        known = task.language if self._decoder.multilingual else "en"
        if known is not None:
            first = next(windows, None)
            return (Language(language=known, probability=1.0), [(first, None)]) if first else (None, [])
        looked_at: list[tuple[Window, object | None]] = []
        detections: list[dict[str, float]] = []
        found: Language | None = None
        for window in windows:
            encoded = self._decoder.encode(sound_of(task.samples, window))
            looked_at.append((window, encoded))
            detections.append(dict(self._decoder.detect_language(encoded)))
            language, probability = settle_language(detections)
            found = Language(language=language, probability=probability)
            if probability >= _SURE or len(detections) >= _MAX_DETECTIONS:
                break
        return found, looked_at


def _finish(window: Window, future: Future[tuple[Heard, ...]], listening: Listening) -> Finished:
    words: list[Word] = []
    for heard in future.result():
        if is_believable(heard.text, heard.confidence):
            for word in heard.words:
                start, end = window.interval(word.start, word.end)
                words.append(Word(text=word.text, start=start, end=end))
    segments = tuple(segments_of(words))
    if listening.task == Transcription.TRANSCRIBE:  # the words of a translation have no sound of their own
        segments = tuple(segment for segment in segments if not is_squeezed(segment))
    return Finished(segments=segments, until=window.end)


def read_hardware() -> Hardware:
    """Ask the machine what it has."""
    vendor = cast("Any", ctranslate2)  # it has no types
    try:
        cuda_devices = int(vendor.get_cuda_device_count())
    except RuntimeError:  # a driver without a device
        cuda_devices = 0
    devices = ("cpu", "cuda") if cuda_devices else ("cpu",)
    return Hardware(
        cores=min(_cores(), cpu_quota(_CPU_MAX.read_text() if _CPU_MAX.exists() else "max")),
        cuda_devices=cuda_devices,
        compute_types={device: frozenset(vendor.get_supported_compute_types(device)) for device in devices},
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(cpu_max: str) -> int:
    """Give the processors that a container may use, from its ``cpu.max`` (cgroup v2: microseconds, of a period)."""
    allowed, _, period = cpu_max.strip().partition(" ")
    if not allowed.isdigit() or not period.isdigit() or int(period) == 0:
        return _UNLIMITED
    return max(1, round(int(allowed) / int(period)))


def load_model(name: str, placement: Placement, *, models_dir: Path, wheels_dir: Path) -> WhisperModel:
    """Load a model.

    Args:
        name: ``embedded``, a path, or anything that faster-whisper knows, which downloads it.
        placement: where it runs.
        models_dir: where models are kept.
        wheels_dir: where the wheels of the embedded model are kept.

    Raises:
        ModelUnavailable: there is no such model, it cannot be downloaded, or it is damaged.
    """
    path = name
    if name == "embedded":
        path = str(ensure_embedded_model(models_dir, wheels_dir=wheels_dir))
    elif name in MODELS and (models_dir / MODELS[name].folder).is_dir():
        path = str(ensure_model(name, models_dir, wheels_dir=wheels_dir))
    try:
        return WhisperModel(
            path,
            device=placement.device,
            compute_type=placement.compute_type,
            cpu_threads=placement.threads,
            num_workers=placement.workers,
            download_root=str(models_dir),
        )
    except Exception as exc:  # faster-whisper, the hub's client and CTranslate2 have no error in common
        raise ModelUnavailable(f"{name}: {type(exc).__name__}: {exc}", model=name) from exc
