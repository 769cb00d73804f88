"""The engine alone, for `benchmarks.overhead`: prints the wall time in seconds. Argument: a clip."""

from __future__ import annotations

import sys
import time

import numpy as np
from faster_whisper.audio import decode_audio

from bot.adapters.whisper.device import choose_device
from bot.adapters.whisper.engine import Engine, Task, load_model, read_hardware
from bot.settings import Settings


def main() -> None:
    """Load, then measure one run."""
    settings = Settings.from_env({})
    placement = choose_device(read_hardware())
    model = load_model(
        settings.whisper_model,
        placement,
        models_dir=settings.models_dir,
        wheels_dir=settings.models_dir.parent / "wheels",
    )
    engine = Engine(model, workers=placement.workers)
    samples = np.asarray(decode_audio(sys.argv[1]), dtype=np.float32)
    started = time.monotonic()
    for _ in engine.run(Task(samples=samples, language=None, task="transcribe")):
        pass
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
