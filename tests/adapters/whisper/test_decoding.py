"""What is done about a model that is stuck: a real one, made to repeat itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from bot.adapters.whisper.decoding import FULL_FRAMES, MIN_FRAMES, Listening, WindowDecoder, features_of
from bot.adapters.whisper.device import choose_device
from bot.adapters.whisper.engine import load_model, read_hardware
from bot.core.transcripts import is_believable
from tests.adapters.whisper.sounds import RATE, recording, silence
from tests.models import WHEELS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faster_whisper import WhisperModel

pytestmark = [pytest.mark.speech, pytest.mark.xdist_group("whisper")]

ENGLISH = Listening(language="en", task="transcribe")
ASK = "ask not what your country can do for you"


@dataclass
class Looped:
    """CTranslate2's result for a model that has no end."""

    sequences_ids: list[list[int]]
    scores: list[float] = field(default_factory=lambda: [-0.05])
    no_speech_prob: float = 0.05


class StuckWhisper:
    """Repeats itself when ``stuck`` says so, given the frames that it hears and whether it samples."""

    def __init__(self, real: object, stuck: Callable[[int, bool], bool]) -> None:
        self._real = cast("Any", real)
        self._stuck = stuck
        self.calls: list[tuple[int, bool]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def generate(self, encoded: Any, prompts: list[list[int]], **how: Any) -> list[object]:
        call = (2 * int(encoded.shape[1]), "sampling_temperature" in how)
        self.calls.append(call)
        if self._stuck(*call):
            limit = min(how["max_length"] // 2, how["max_length"] - len(prompts[0]))
            return [Looped(sequences_ids=[[1_000, 1_001] * (limit // 2)])]
        return cast("list[object]", self._real.generate(encoded, prompts, **how))


class StuckModel:
    def __init__(self, real: WhisperModel, stuck: Callable[[int, bool], bool]) -> None:
        self._real = real
        self.model = StuckWhisper(cast("Any", real).model, stuck)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.fixture(scope="module")
def tiny(whisper_models_dir: Path) -> WhisperModel:
    placement = choose_device(read_hardware(), device="cpu")
    return load_model("tiny.en", placement, models_dir=whisper_models_dir, wheels_dir=WHEELS_DIR)


def decoder(tiny: WhisperModel, stuck: Callable[[int, bool], bool]) -> tuple[WindowDecoder, StuckWhisper]:
    model = StuckModel(tiny, stuck)
    return WindowDecoder(cast("Any", model)), model.model


def test_full_padding_is_tried_first(tiny: WhisperModel) -> None:
    made, whisper = decoder(tiny, lambda frames, _: frames < FULL_FRAMES)
    (heard,) = made.decode(recording("jfk"), ENGLISH)
    assert ASK in heard.text.lower()
    assert [frames for frames, _ in whisper.calls] == [1_300, FULL_FRAMES]


def test_a_long_window_is_heard_in_halves(tiny: WhisperModel) -> None:
    made, whisper = decoder(tiny, lambda frames, _: frames > 2_000)
    sound = np.concatenate([recording("jfk"), silence(3), recording("austen-0920")])
    one, two = made.decode(sound, ENGLISH)
    assert ASK in one.text.lower()
    assert "respectable" in two.text
    assert 10 < two.words[0].start < 16, "its times are those of the whole window"
    assert two.words[-1].end <= len(sound) / RATE + 0.5
    assert len(whisper.calls) == 4


def test_sampling_comes_last(tiny: WhisperModel) -> None:
    made, whisper = decoder(tiny, lambda _, sampling: not sampling)
    (heard,) = made.decode(recording("jfk"), ENGLISH)
    assert "country" in heard.text
    assert [sampling for _, sampling in whisper.calls] == [False, False, True]


def test_what_a_hopeless_window_costs_has_a_bound(tiny: WhisperModel) -> None:
    made, whisper = decoder(tiny, lambda _frames, _sampling: True)
    parts = made.decode(np.tile(recording("jfk"), 3)[: 28 * RATE], ENGLISH)
    assert len(parts) == 2
    assert not any(is_believable(part.text, part.confidence) for part in parts)
    assert len(whisper.calls) == 8


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.05, MIN_FRAMES), (7, MIN_FRAMES), (12, 1_400), (12.35, 1_436), (28, FULL_FRAMES)]
)
def test_features_are_as_short_as_is_good(tiny: WhisperModel, seconds: float, frames: int) -> None:
    spectrum = features_of(tiny, silence(seconds))
    assert spectrum.shape == (80, frames)
    assert np.all(spectrum[:, -10:] == 0)
