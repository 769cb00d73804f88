"""Makes the synthetic meetings: ``python -m benchmarks.corpus.make`` (needs Debian's ``flite``).

A script is read line by line: ``NAME: words`` is spoken by the flite voice of that name, ``pause SECONDS`` is silence.
Each speaker sits at another distance from the microphone, and the room is not quite still. The result is one Opus file
and one reference text for each script; they are committed, so that nobody needs flite to run the benchmarks.
"""
# pyright: reportUnknownMemberType=false
# PyAV leaves the kind of a new stream open.

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
SAMPLE_RATE = 16_000
BIT_RATE = 20_000
TURN_GAP_S = (0.15, 0.9)
GAINS = {"kal": 1.0, "slt": 0.6, "rms": 0.8, "awb": 0.45}
ROOM_NOISE_RMS = 0.0015
"""About 40 dB below speech: a quiet room."""


def speak(voice: str, words: str) -> NDArray[np.float32]:
    """Let flite say ``words``, resampled to `SAMPLE_RATE`."""
    with tempfile.TemporaryDirectory() as scratch:
        spoken = Path(scratch) / "turn.wav"
        subprocess.run(["flite", "-voice", voice, "-t", words, "-o", str(spoken)], check=True)
        with wave.open(str(spoken)) as reader:
            rate = reader.getframerate()
            samples = np.frombuffer(reader.readframes(reader.getnframes()), dtype=np.int16)
    return resample(samples.astype(np.float32) / np.float32(32_768), rate)


def resample(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Bring ``samples`` from ``rate`` hertz to `SAMPLE_RATE`."""
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    pieces = [piece.to_ndarray()[0] for piece in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(pieces).astype(np.float32)


def perform(script: str, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.float32], str]]:
    """Yield each stretch of sound with its words."""
    for line in script.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("pause "):
            yield silence(float(line.removeprefix("pause "))), ""
            continue
        voice, _, words = line.partition(": ")
        yield speak(voice, words) * GAINS[voice], words
        yield silence(rng.uniform(*TURN_GAP_S)), ""


def silence(seconds: float) -> NDArray[np.float32]:
    """Give ``seconds`` of nothing."""
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def encode(samples: NDArray[np.float32], path: Path) -> None:
    """Write ``samples`` as Ogg Opus."""
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, options={"b": str(BIT_RATE)})
        stream.layout = "mono"
        for start in range(0, len(samples), SAMPLE_RATE):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis, start : start + SAMPLE_RATE], "flt", "mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make(script: Path) -> None:
    """Make the recording and the reference text of one script."""
    rng = np.random.default_rng(20)
    stretches = list(perform(script.read_text(encoding="utf-8"), rng))
    sound = np.concatenate([samples for samples, _ in stretches])
    sound += rng.normal(0, ROOM_NOISE_RMS, len(sound)).astype(np.float32)
    encode(np.clip(sound, -1, 1).astype(np.float32), script.with_suffix(".ogg"))
    words = "\n".join(words for _, words in stretches if words)
    script.with_suffix(".txt").write_text(words + "\n", encoding="utf-8")
    print(f"{script.stem}: {len(sound) / SAMPLE_RATE:.1f} s, {script.with_suffix('.ogg').stat().st_size} bytes")


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.script")):
        make(path)
