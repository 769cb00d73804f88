from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.models import whisper_models_dir as models_dir

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def whisper_models_dir() -> Path:
    """Where ``embedded`` and ``tiny.en`` are."""
    return models_dir()
