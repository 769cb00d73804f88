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
from typing import TYPE_CHECKING, Any, cast

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel

from bot.adapters.whisper.decoding import BEAM_SIZE, Listening, WindowDecoder
from bot.adapters.whisper.device import Hardware
from bot.adapters.whisper.embedded import MODELS, ensure_model
from bot.adapters.whisper.speech import clean, windows_of
from bot.core.errors import ModelUnavailable, UnknownLanguage
from bot.core.transcripts import Word, is_believable, segments_of, settle_language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bot.adapters.whisper.decoding import Heard
    from bot.adapters.whisper.device import Placement
    from bot.adapters.whisper.windows import Window
    from bot.core.models import Segment

_SURE = 0.7
_MAX_DETECTIONS = 4
"""The language is sought in this many windows at most, or until it is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One recording. ``begin`` is the sample from which on it is listened to."""

    samples: NDArray[np.float32]
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
            at_work: deque[tuple[Window, Future[Heard]]] = deque()
            for window, encoded in ahead:
                sound = _sound(task.samples, window)
                at_work.append((window, threads.submit(self._decoder.decode, sound, listening, encoded=encoded)))
                if len(at_work) > self._workers:
                    yield _finish(*at_work.popleft())
            while at_work:
                yield _finish(*at_work.popleft())

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
            encoded = self._decoder.encode(_sound(task.samples, window))
            looked_at.append((window, encoded))
            detections.append(dict(self._decoder.detect_language(encoded)))
            language, probability = settle_language(detections)
            found = Language(language=language, probability=probability)
            if probability >= _SURE or len(detections) >= _MAX_DETECTIONS:
                break
        return found, looked_at


def _sound(samples: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    return clean(np.concatenate([samples[span.start : span.end] for span in window.spans]))


def _finish(window: Window, future: Future[Heard]) -> Finished:
    heard = future.result()
    words: list[Word] = []
    if is_believable(heard.text, heard.confidence):
        for word in heard.words:
            start, end = window.interval(word.start, word.end)
            words.append(Word(text=word.text, start=start, end=end))
    return Finished(segments=tuple(segments_of(words)), until=window.end)


def read_hardware() -> Hardware:
    """Ask the machine what it has."""
    vendor = cast("Any", ctranslate2)  # it has no types
    try:
        cuda_devices = int(vendor.get_cuda_device_count())
    except RuntimeError:  # a driver without a device
        cuda_devices = 0
    devices = ("cpu", "cuda") if cuda_devices else ("cpu",)
    return Hardware(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cuda_devices=cuda_devices,
        compute_types={device: frozenset(vendor.get_supported_compute_types(device)) for device in devices},
    )


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
        path = str(ensure_model("base", models_dir, wheels_dir=wheels_dir))
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


def map_samples(path: Path, samples: int) -> NDArray[np.float32]:
    """Map a file of float32 samples into memory; it is read as it is needed."""
    if samples == 0:
        return np.zeros(0, dtype=np.float32)
    return cast("Any", np.memmap(path, dtype=np.float32, mode="r", shape=(samples,)))
