"""Voice activity, block by block, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from faster_whisper.vad import get_vad_model

from bot.adapters.whisper.windows import FRAME, find_speech, pack, pad
from bot.core.models import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from bot.adapters.whisper.windows import Window

_BLOCK = 30 * SAMPLE_RATE // FRAME * FRAME
_CONTEXT = 64
"""Samples of the frame before that Silero's network sees."""


def windows_of(
    samples: NDArray[np.float32], *, begin: int = 0, on_scan: Callable[[int], None] = lambda _: None
) -> Iterator[Window]:
    """Yield windows of speech from the sample ``begin`` on.

    Args:
        samples: the recording, at 16 kHz; only a block of it is held in memory.
        begin: where to begin.
        on_scan: called with the number of samples that were looked at.
    """
    spans = find_speech(_probabilities(samples[begin:], lambda done: on_scan(begin + done)))
    for window in pack(pad(spans, total=len(samples) - begin)):
        yield window.moved(begin) if begin else window


def clean(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put right what is no number or out of range, in a copy: one NaN would deafen the detector for good."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def _probabilities(samples: NDArray[np.float32], on_scan: Callable[[int], None]) -> Iterator[float]:
    """Yield the probability of speech for each frame; the network's state is carried from block to block.

    faster-whisper's own function takes a whole recording at once and begins anew at each call.
    """
    session = cast("Any", get_vad_model()).session
    hidden, cell = (np.zeros((1, 1, 128), dtype=np.float32) for _ in range(2))
    tail = np.zeros(_CONTEXT, dtype=np.float32)
    for start in range(0, len(samples), _BLOCK):
        block = clean(samples[start : start + _BLOCK])
        frames = np.pad(block, (0, -len(block) % FRAME)).reshape(-1, FRAME)
        context = np.vstack([tail, frames[:-1, -_CONTEXT:]])
        tail = frames[-1, -_CONTEXT:]
        batch = np.concatenate([context, frames], axis=1)
        output, hidden, cell = session.run(None, {"input": batch, "h": hidden, "c": cell})
        on_scan(min(start + _BLOCK, len(samples)))
        yield from np.ravel(output).tolist()
