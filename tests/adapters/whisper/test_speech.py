from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from faster_whisper.vad import get_vad_model

from bot.adapters.whisper.speech import SampleFile, clean, probabilities, windows_of
from bot.adapters.whisper.windows import FRAME
from tests.adapters.whisper.sounds import RATE, recording, silence

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.speech


def test_blocks_give_what_the_whole_would() -> None:
    jfk = recording("jfk")
    sound = np.concatenate([jfk, silence(3.3), jfk, jfk, silence(1), jfk, jfk, jfk])[: 60 * RATE // FRAME * FRAME]
    whole: list[float] = np.ravel(cast("Any", get_vad_model())(sound)).tolist()
    assert list(probabilities(sound)) == pytest.approx(whole, abs=1e-3)


def test_windows_leave_silence_out() -> None:
    sound = np.concatenate([silence(60), recording("jfk"), silence(60)])
    windows = list(windows_of(sound))
    assert 59 < windows[0].spans[0].start / RATE < 61
    assert 70 < windows[-1].end / RATE < 72
    assert sum(window.samples for window in windows) / RATE < 12


def test_beginning_later_moves_nothing() -> None:
    sound = np.concatenate([silence(60), recording("jfk"), silence(10)])
    *_, whole = windows_of(sound)
    (late,) = windows_of(sound, begin=50 * RATE)
    assert late.end == pytest.approx(whole.end, abs=RATE // 2)


def test_samples_are_put_right() -> None:
    dirty = np.array([np.nan, np.inf, -np.inf, 7, -7, 0.5], dtype=np.float32)
    assert clean(dirty).tolist() == [0, 1, -1, 1, -1, 0.5]


def test_files_are_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    np.arange(5, dtype=np.float32).tofile(path)
    samples = SampleFile(path, 5)
    assert len(samples) == 5
    assert samples[1:3].tolist() == [1, 2]
    assert samples[3:99].tolist() == [3, 4]
    assert samples[5:9].tolist() == []


def test_a_file_that_is_shorter_than_promised_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    np.arange(5, dtype=np.float32).tofile(path)
    with pytest.raises(EOFError, match="ends after 5 of 9"):
        SampleFile(path, 9)[2:9]


def test_nothing_is_read_of_an_empty_recording(tmp_path: Path) -> None:
    assert list(windows_of(SampleFile(tmp_path / "missing", 0))) == []
