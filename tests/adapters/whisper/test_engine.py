"""The engine with real models."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.wording import error_rate
from bot.adapters.whisper.device import choose_device
from bot.adapters.whisper.engine import (
    Engine,
    Finished,
    Language,
    Task,
    cpu_quota,
    load_model,
    read_hardware,
)
from bot.core.errors import ModelUnavailable, UnknownLanguage
from tests.adapters.whisper.sounds import NAMES, NOT_SPEECH, RATE, noise, recording, silence, words
from tests.models import WHEELS_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from bot.core.models import Segment
    from tests.adapters.whisper.sounds import Sound

pytestmark = [pytest.mark.speech, pytest.mark.xdist_group("whisper")]

ASK = "not what your country can do for you"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    language: Language | None
    segments: tuple[Segment, ...]
    windows: tuple[Finished, ...]

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


def load(name: str, models_dir: Path) -> Engine:
    placement = choose_device(read_hardware(), device="cpu")
    model = load_model(name, placement, models_dir=models_dir, wheels_dir=WHEELS_DIR)
    return Engine(model, workers=placement.workers)


@pytest.fixture(scope="module")
def base(whisper_models_dir: Path) -> Engine:
    return load("embedded", whisper_models_dir)


@pytest.fixture(scope="module")
def tiny(whisper_models_dir: Path) -> Engine:
    return load("tiny.en", whisper_models_dir)


def hear(
    engine: Engine, sound: Sound, *, language: str | None = None, task: str = "transcribe", begin: int = 0
) -> Heard:
    events = list(engine.run(Task(samples=sound, language=language, task=task, begin=begin)))
    windows = tuple(event for event in events if isinstance(event, Finished))
    found = [event for event in events if isinstance(event, Language)]
    assert events[: len(found)] == found, "the language comes first"
    segments = tuple(segment for window in windows for segment in window.segments)
    return Heard(language=found[0] if found else None, segments=segments, windows=windows)


def test_human_speech_is_understood(base: Engine) -> None:
    heard = [hear(base, recording(name)) for name in NAMES]
    assert all(each.language is not None and each.language.language == "en" for each in heard)
    rate = error_rate([words(name) for name in NAMES], [each.text for each in heard])
    assert rate <= 0.022, "two words of ninety-three"


def test_every_word_of_the_president_is_right(base: Engine) -> None:
    heard = hear(base, recording("jfk"))
    assert error_rate([words("jfk")], [heard.text]) == 0
    assert heard.segments[0].start < 1
    assert 9.5 < heard.segments[-1].end <= 11


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_nothing_is_invented(base: Engine, name: str) -> None:
    assert hear(base, NOT_SPEECH[name]()).segments == ()


@pytest.mark.parametrize("name", ["silence", "bursts of noise", "a warble", "a melody"])
def test_an_english_model_invents_nothing_either(tiny: Engine, name: str) -> None:
    assert hear(tiny, NOT_SPEECH[name]()).segments == ()


@pytest.mark.parametrize("seconds", [0.0, 1 / RATE, 0.05, 0.3])
def test_scraps_of_sound_do_no_harm(tiny: Engine, seconds: float) -> None:
    assert len(hear(tiny, recording("jfk")[: round(seconds * RATE)]).segments) <= 1


def test_samples_that_are_no_numbers_do_no_harm(tiny: Engine) -> None:
    sound = np.concatenate([recording("jfk"), silence(1)])
    sound[:100] = np.nan
    sound[100:200] = np.inf
    sound[-100:] = -np.inf
    assert "fellow Americans" in hear(tiny, sound).text


def test_german_is_recognised(base: Engine) -> None:
    heard = hear(base, recording("german"))
    assert heard.language is not None
    assert heard.language.language == "de"
    assert heard.language.probability > 0.5
    assert "Werkzeug" in heard.text


def test_the_language_can_be_given(base: Engine) -> None:
    heard = hear(base, recording("german"), language="de")
    assert heard.language == Language(language="de", probability=1.0)
    assert "Dienstag" in heard.text


def test_spanish_is_translated(base: Engine) -> None:
    heard = hear(base, recording("spanish"), task="translate")
    assert heard.language is not None
    assert heard.language.language == "es"
    assert "the garden and the tools" in heard.text


def test_an_unknown_language_is_refused(base: Engine, tiny: Engine) -> None:
    with pytest.raises(UnknownLanguage):
        hear(base, recording("jfk"), language="tlh")
    with pytest.raises(UnknownLanguage):
        hear(tiny, recording("jfk"), language="de")


def test_an_english_model_hears_english(tiny: Engine) -> None:
    assert hear(tiny, recording("jfk")).language == Language(language="en", probability=1.0)


def test_hot_words_are_expected(base: Engine) -> None:
    events = base.run(Task(samples=recording("jfk"), language="en", task="transcribe", hot_words=("Kennedy",) * 200))
    text = " ".join(segment.text for event in events if isinstance(event, Finished) for segment in event.segments)
    assert error_rate([words("jfk")], [text]) == 0


@pytest.mark.parametrize("gap", [6.5, 7.0, 7.5, 8.0, 8.5])
def test_nothing_is_lost_around_thirty_seconds(tiny: Engine, gap: float) -> None:
    jfk = recording("jfk")
    sound = np.concatenate([jfk, silence(gap), jfk])
    heard = hear(tiny, sound)
    assert heard.text.lower().count("ask not what your country can do for you") == 2
    assert heard.segments[-1].end == pytest.approx(len(sound) / RATE, abs=1.5)


def test_half_a_minute_without_a_pause_is_heard_whole(tiny: Engine) -> None:
    closely = np.concatenate([recording(name)[3_000:-3_000] for name in NAMES * 2])
    heard = hear(tiny, closely)
    assert error_rate([" ".join(words(name) for name in NAMES * 2)], [heard.text]) < 0.15
    assert all(segment.end - segment.start <= 13 for segment in heard.segments)


def test_times_are_right_after_a_long_silence(tiny: Engine) -> None:
    jfk = recording("jfk")
    sound = np.concatenate([jfk, silence(320), jfk])
    heard = hear(tiny, sound)
    again = [segment for segment in heard.segments if segment.start > 12]
    assert again[0].start == pytest.approx(331 + heard.segments[0].start, abs=1.0)
    assert again[-1].end == pytest.approx(len(sound) / RATE, abs=1.5)
    assert all(one.end <= other.start + 0.01 for one, other in pairwise(heard.segments))


def test_listening_can_begin_in_the_middle(tiny: Engine) -> None:
    jfk = recording("jfk")
    sound = np.concatenate([jfk, silence(30), jfk, silence(30), jfk])
    whole = hear(tiny, sound)
    rest = hear(tiny, sound, begin=whole.windows[1].until)
    assert (rest.text.lower().count(ASK), whole.text.lower().count(ASK)) == (2, 3)
    assert rest.segments[-1].end == pytest.approx(whole.segments[-1].end, abs=0.3)


def test_the_search_for_speech_is_reported(tiny: Engine) -> None:
    seen: list[int] = []
    assert list(tiny.run(Task(samples=silence(100), language=None, task="transcribe"), on_scan=seen.append)) == []
    assert len(seen) == 4
    assert seen[-1] == 100 * RATE


def test_words_come_before_the_whole_file_was_looked_at(tiny: Engine) -> None:
    seen: list[int] = []
    sound = np.concatenate([np.concatenate([recording("jfk"), silence(20)])] * 20)
    events = tiny.run(Task(samples=sound, language=None, task="transcribe"), on_scan=seen.append)
    first = next(event for event in events if isinstance(event, Finished))
    assert first.segments
    assert seen[-1] < len(sound) / 2


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [("200000 100000\n", 2), ("50000 100000", 1), ("max 100000", 1_000), ("", 1_000), ("1 0", 1_000), ("max", 1_000)],
)
def test_a_containers_share_is_respected(cpu_max: str, cores: int) -> None:
    assert cpu_quota(cpu_max) == cores


def test_languages_that_a_model_was_not_taught_are_unknown(base: Engine) -> None:
    assert {"en", "de", "ja"} < base.languages
    assert "yue" not in base.languages


@pytest.mark.parametrize("name", ["enormous", "no/such/folder", "."])
def test_a_model_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        load(name if name != "." else str(tmp_path), tmp_path)
    assert caught.value.values["model"]


def test_an_old_recording_over_a_noisy_telephone_is_not_taken_for_silence(base: Engine) -> None:
    clear = recording("jfk")
    spectrum = np.fft.rfft(clear)
    hertz = np.fft.rfftfreq(len(clear), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3_400)] = 0
    line = np.fft.irfft(spectrum, len(clear)).astype(np.float32)
    heard = hear(base, line + noise(11, 0.1 * float(np.sqrt(np.mean(clear**2))))[: len(line)])
    assert error_rate([words("jfk")], [heard.text]) < 0.1
