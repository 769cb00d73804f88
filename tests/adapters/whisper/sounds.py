"""Sounds to listen to: mono, 16 kHz, float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from faster_whisper.audio import decode_audio

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Sound = NDArray[np.float32]

RATE = 16_000
SPEECH = Path(__file__).parents[2] / "data" / "speech"
NAMES = ("austen-0870", "austen-0880", "austen-0890", "austen-0920", "austen-0930", "jfk")


def recording(name: str) -> Sound:
    (path,) = (path for path in SPEECH.glob(f"{name}.*") if path.suffix != ".txt")
    return cast("Sound", decode_audio(str(path), sampling_rate=RATE))


def words(name: str) -> str:
    return (SPEECH / f"{name}.txt").read_text(encoding="utf-8")


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def tone(seconds: float, hertz: float, loudness: float = 0.4) -> Sound:
    return (loudness * np.sin(2 * np.pi * hertz * _time(seconds))).astype(np.float32)


def hum(seconds: float) -> Sound:
    return np.sum([tone(seconds, 50 * overtone, 0.1) for overtone in range(1, 8)], axis=0).astype(np.float32)


def noise(seconds: float, loudness: float) -> Sound:
    return np.random.default_rng(1).normal(0, loudness, round(seconds * RATE)).astype(np.float32)


def bursts(seconds: float) -> Sound:
    """Noise that is switched on and off three times a second, like syllables."""
    return (noise(seconds, 0.2) * (tone(seconds, 3) > 0)).astype(np.float32)


def clicks(seconds: float) -> Sound:
    sound = silence(seconds)
    for start in range(0, len(sound), RATE // 2):
        sound[start : start + 20] = 0.9
    return sound


def warble(seconds: float) -> Sound:
    """A low tone that swells four times a second: the detector takes it for a voice."""
    return (tone(seconds, 150) * (1 + tone(seconds, 4, 1.0)) / 2).astype(np.float32)


def melody(seconds: float) -> Sound:
    rng = np.random.default_rng(1)
    fade = np.exp(-3 * _time(0.5))
    notes: list[Sound] = []
    for _ in range(round(seconds * 2)):
        pitch = 220 * 2 ** (int(rng.integers(0, 24)) / 12)
        notes.append(sum(tone(0.5, pitch * overtone, 0.3 / overtone) for overtone in range(1, 5)) * fade)
    return np.concatenate(notes).astype(np.float32)


NOT_SPEECH: dict[str, Callable[[], Sound]] = {
    "silence": lambda: silence(30),
    "a quiet room": lambda: noise(30, 0.001),
    "white noise": lambda: noise(30, 0.1),
    "loud noise": lambda: noise(30, 0.5),
    "bursts of noise": lambda: bursts(30),
    "hum": lambda: hum(30),
    "a tone": lambda: tone(30, 1_000, 0.9),
    "clicks": lambda: clicks(30),
    "a warble": lambda: warble(30),
    "a melody": lambda: melody(30),
}


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE
