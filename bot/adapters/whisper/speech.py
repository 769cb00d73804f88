"""Voice activity, block by block, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from faster_whisper.vad import get_vad_model

from bot.adapters.whisper.windows import FIRST_WINDOW_S, FRAME, MAX_WINDOW_S, find_speech, pack, pad
from bot.core.models import BYTES_PER_SAMPLE, SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bot.adapters.whisper.windows import Window

_BLOCK = 30 * SAMPLE_RATE // FRAME * FRAME
_LONG = 60
"""Seconds from which on a recording has a short first window. In a shorter one it would cost more than it gives: the
whole is there soon, and a window costs as much as one of ten seconds."""
_CONTEXT = 64
"""Samples of the frame before that Silero's network sees."""


class Samples(Protocol):
    """Samples at 16 kHz, of which a part can be read: an array, or a file."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        """Read some of them."""
        ...


class SampleFile:
    """A file of float32 samples, read in parts: mapped into memory it would count as the process's own.

    Args:
        path: where it is.
        samples: how many there are.
    """

    def __init__(self, path: Path, samples: int) -> None:
        self._path = path
        self._samples = samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        start, stop, _ = part.indices(self._samples)
        read = np.fromfile(self._path, dtype=np.float32, count=max(0, stop - start), offset=start * BYTES_PER_SAMPLE)
        if len(read) < stop - start:
            raise EOFError(f"{self._path.name} ends after {start + len(read)} of {self._samples} samples")
        return read


def windows_of(
    samples: Samples, *, begin: int = 0, on_scan: Callable[[int], None] = lambda _: None
) -> Iterator[Window]:
    """Yield windows of speech from the sample ``begin`` on.

    Args:
        samples: the recording; only a block of it is held in memory.
        begin: where to begin.
        on_scan: called with the number of samples that were looked at.
    """
    first_s = FIRST_WINDOW_S if begin == 0 and len(samples) > _LONG * SAMPLE_RATE else MAX_WINDOW_S
    spans = find_speech(probabilities(samples, begin=begin, on_scan=on_scan))
    for window in pack(pad(spans, total=len(samples) - begin), first_s=first_s):
        yield window.moved(begin) if begin else window


def sound_of(samples: Samples, window: Window) -> NDArray[np.float32]:
    """Read what is heard in a window."""
    return clean(np.concatenate([samples[span.start : span.end] for span in window.spans]))


def clean(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put right what is no number or out of range, in a copy: one NaN would deafen the detector for good."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def probabilities(
    samples: Samples, *, begin: int = 0, on_scan: Callable[[int], None] = lambda _: None
) -> Iterator[float]:
    """Yield the probability of speech for each frame; the network's state is carried from block to block.

    faster-whisper's own function takes a whole recording at once and begins anew at each call.
    """
    session = cast("Any", get_vad_model()).session
    hidden, cell = (np.zeros((1, 1, 128), dtype=np.float32) for _ in range(2))
    tail = np.zeros(_CONTEXT, dtype=np.float32)
    for start in range(begin, len(samples), _BLOCK):
        block = clean(samples[start : start + _BLOCK])
        frames = np.pad(block, (0, -len(block) % FRAME)).reshape(-1, FRAME)
        context = np.vstack([tail, frames[:-1, -_CONTEXT:]])
        tail = frames[-1, -_CONTEXT:]
        batch = np.concatenate([context, frames], axis=1)
        output, hidden, cell = session.run(None, {"input": batch, "h": hidden, "c": cell})
        on_scan(min(start + _BLOCK, len(samples)))
        yield from np.ravel(output).tolist()
