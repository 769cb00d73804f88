"""Speed against error: what the transcriber's defaults were chosen from.

The sweeps run the model on the transcriber's own windows, without the second attempts that it makes at doubtful text,
so that a setting's faults show. Batches of windows are padded to their longest.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from rich.table import Table

from benchmarks.faster_whisper_peer import cpu_s
from benchmarks.wording import error_rate
from bot.adapters.whisper.decoding import BEAM_SIZE, MIN_FRAMES, features_of
from bot.adapters.whisper.speech import windows_of
from bot.core.models import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.clips import Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``workers`` batches at once on ``threads`` threads each; ``min_frames`` of 10 ms in a window."""

    beam: int = BEAM_SIZE
    batch: int = 1
    min_frames: int = MIN_FRAMES
    workers: int = 2
    threads: int = 1


def of_windows(model: Path, clip: Clip) -> Table:
    """Vary beam, batch and the use of threads on a long clip."""
    settings = [Setting(beam=beam, batch=batch) for beam in (1, 2, 5) for batch in (1, 4, 8)]
    settings += [Setting(beam=beam, workers=1, threads=2) for beam in (1, 2, 5)]
    return _measure(model, [clip], settings, f"{clip.path.stem}: beam, batch and threads")


def of_padding(model: Path, clips: Sequence[Clip]) -> Table:
    """Vary the shortest window and the beam on short clips."""
    settings = [Setting(beam=beam, min_frames=frames) for frames in (1_000, 1_500, 3_000) for beam in (1, 2, 5)]
    return _measure(model, clips, settings, "short clips: the shortest window")


def _measure(model: Path, clips: Sequence[Clip], settings: Sequence[Setting], title: str) -> Table:
    table = Table("beam", "batch", "min frames", "at once", "threads", "CPU s", "wall s", "WER %", title=title)
    sounds = [decode(clip.path) for clip in clips]
    for setting in settings:
        whisper = WhisperModel(
            str(model), device="cpu", compute_type="int8", cpu_threads=setting.threads, num_workers=setting.workers
        )
        cpu, wall = cpu_s(), time.monotonic()
        texts = [" ".join(_transcribe(whisper, sound, setting)) for sound in sounds]
        cpu, wall = cpu_s() - cpu, time.monotonic() - wall
        rate = 100 * error_rate([clip.reference for clip in clips], texts)
        ways = (setting.beam, setting.batch, setting.min_frames, setting.workers, setting.threads)
        table.add_row(*map(str, ways), f"{cpu:.1f}", f"{wall:.1f}", f"{rate:.2f}")
    return table


def _transcribe(whisper: WhisperModel, sound: NDArray[np.float32], setting: Setting) -> Iterator[str]:
    windows = [np.concatenate([sound[span.start : span.end] for span in each.spans]) for each in windows_of(sound)]
    batches = [windows[at : at + setting.batch] for at in range(0, len(windows), setting.batch)]
    with ThreadPoolExecutor(setting.workers) as threads:
        yield from chain.from_iterable(threads.map(partial(_decode_batch, whisper, setting), batches))


def _decode_batch(whisper: WhisperModel, setting: Setting, batch: Sequence[NDArray[np.float32]]) -> list[str]:
    spectra = [features_of(whisper, sound, min_frames=setting.min_frames) for sound in batch]
    longest = max(spectrum.shape[1] for spectrum in spectra)
    stack = np.stack([np.pad(each, ((0, 0), (0, longest - each.shape[1]))) for each in spectra])
    vendor = cast("Any", whisper)
    tokenizer = Tokenizer(whisper.hf_tokenizer, multilingual=True, task="transcribe", language="en")
    prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    results = vendor.model.generate(vendor.encode(stack), [prompt] * len(batch), beam_size=setting.beam)
    return [tokenizer.decode(result.sequences_ids[0]).strip() for result in results]


def decode(path: Path) -> NDArray[np.float32]:
    """Read a file into mono samples at 16 kHz."""
    from faster_whisper.audio import decode_audio  # noqa: PLC0415 -- it loads PyAV

    return cast("NDArray[np.float32]", decode_audio(str(path), sampling_rate=SAMPLE_RATE))
