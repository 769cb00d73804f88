"""A transcriber that waits instead of listening, and recordings that it tells apart.

What it waits for is no processor, so that a machine with two cores can run several workers at full tilt. A recording's
length says its number, and the number is all that is heard in it.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import wave
from typing import TYPE_CHECKING, Final

import numpy as np

from bot.adapters.whisper import TranscriberState
from bot.core.models import Segment, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.models import DecodedAudio, TranscriptionOptions

POISON: Final = 999
"""The number of a recording that kills the process that listens to it."""

_RATE: Final = 16_000
_SHORTEST_S: Final = 0.5
_STEP_S: Final = 0.02


def recording(number: int) -> bytes:
    """A WAV file that is heard as that number, and no other's bytes."""
    samples = 0.3 * np.sin(np.arange(round((_SHORTEST_S + number * _STEP_S) * _RATE)) * (2 * np.pi * 440 / _RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(_RATE)
        output.writeframes((samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def words(number: int) -> str:
    """What is heard in a recording."""
    return f"This is recording number {number} of them all."


def number_in(text: str) -> int | None:
    """The number of the recording whose words stand in ``text``; None where there are none."""
    found = re.search(r"recording number (\d+) of them all", text)
    return int(found[1]) if found else None


class WaitingEars:
    """Implements `bot.bootstrap.services.Ears`; every recording takes ``seconds``."""

    model = "waiting"
    state = TranscriberState(name="ready")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def warm_up(self) -> None:
        """Nothing is loaded."""

    async def aclose(self) -> None:
        """Nothing was started."""

    async def transcribe(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        *,
        on_segments: Callable[[tuple[Segment, ...], float], None],
    ) -> Transcript:
        number = round((audio.duration_s - _SHORTEST_S) / _STEP_S)
        if number == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        heard = (Segment(start=0.0, end=audio.duration_s, text=words(number)),)
        await asyncio.sleep(self._seconds)
        on_segments(heard, 1.0)
        return Transcript(
            language="en",
            language_probability=1.0,
            duration_s=audio.duration_s,
            segments=heard,
            model=self.model,
            task=options.task,
        )
