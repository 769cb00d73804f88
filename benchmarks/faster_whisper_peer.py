"""Plain faster-whisper in a process of its own: ``python -m benchmarks.faster_whisper_peer KIND MODEL THREADS FILE …``.

It prints one JSON object: texts, and the CPU seconds, wall seconds and peak memory of transcribing, without loading.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any, cast

from faster_whisper import BatchedInferencePipeline, WhisperModel


def main(kind: str, model_path: str, threads: str, *files: str) -> None:
    """Transcribe with all defaults."""
    model = WhisperModel(model_path, device="cpu", compute_type="int8", cpu_threads=int(threads))
    transcriber = cast("Any", BatchedInferencePipeline(model) if kind == "batched" else model)
    cpu, wall = cpu_s(), time.monotonic()
    texts = ["".join(segment.text for segment in transcriber.transcribe(file)[0]) for file in files]
    spent = {"cpu_s": cpu_s() - cpu, "wall_s": time.monotonic() - wall, "peak_mb": peak_mb()}
    print(json.dumps({"texts": texts, **spent}))


def cpu_s() -> float:
    """Give the CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Give the most memory that this process held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000


if __name__ == "__main__":
    main(*sys.argv[1:])
