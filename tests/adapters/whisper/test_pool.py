"""The pool, on processes that follow a script: no model is loaded here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from bot.adapters.whisper import WhisperTranscriber
from bot.core.errors import ModelUnavailable, TranscriberCrashed, TranscriptionFailed, UnknownLanguage
from bot.core.models import DecodedAudio, NoteKey, Segment, TranscriptionOptions
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from bot.core.models import Transcript

    Make = Callable[..., WhisperTranscriber]

DONE = ["done"]


class Script:
    """A recording that says what the process is to do."""

    def __init__(self, folder: Path, name: str = "script") -> None:
        self.folder = folder
        self.name = name
        self.heard: list[tuple[str, float]] = []

    def gate(self, name: str) -> Path:
        return self.folder / f"{self.name}-{name}"

    def audio(self, *steps: list[str], seconds: int = 10) -> DecodedAudio:
        path = self.folder / f"{self.name}.json"
        path.write_text(json.dumps(steps), encoding="utf-8")
        return DecodedAudio(path=path, samples=seconds * 16_000, declared_s=None)

    def hear(self, segments: tuple[Segment, ...], fraction: float) -> None:
        self.heard.extend((segment.text, fraction) for segment in segments)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncGenerator[Make]:
    made: list[WhisperTranscriber] = []

    def make_one(*startup: str, **wishes: float) -> WhisperTranscriber:
        command = [sys.executable, "-m", "tests.adapters.whisper.scripted_child", *startup]
        defaults: dict[str, float] = {"standby": 0}
        transcriber = WhisperTranscriber(
            model="embedded",
            models_dir=tmp_path,
            command=command,
            **{**defaults, **wishes},  # pyright: ignore[reportArgumentType] -- a test's shorthand
        )
        made.append(transcriber)
        return transcriber

    yield make_one
    for transcriber in made:
        pids = transcriber.pids()
        await transcriber.aclose()
        assert not any(psutil.pid_exists(pid) for pid in pids), "no process is left behind"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


async def transcribe(
    transcriber: WhisperTranscriber, script: Script, audio: DecodedAudio, language: str | None = None
) -> Transcript:
    return await transcriber.transcribe(audio, TranscriptionOptions(language=language), on_segments=script.hear)


async def test_segments_come_as_they_are_made(make: Make, script: Script) -> None:
    audio = script.audio(
        ["found", "de"], ["finished", "5", "eins"], ["wait", str(script.gate("go"))], ["finished", "10", "zwei"], DONE
    )
    job = asyncio.create_task(transcribe(make(), script, audio))
    await until(lambda: script.heard)
    assert script.heard == [("eins", 0.5)]
    script.gate("go").touch()
    transcript = await job
    assert script.heard == [("eins", 0.5), ("zwei", 1.0)]
    assert (transcript.text, transcript.language, transcript.model) == ("eins zwei", "de", "base")
    assert transcript.language_probability == 0.9
    assert transcript.duration_s == 10


async def test_silence_is_said_to_be_silence(make: Make, script: Script) -> None:
    transcript = await transcribe(make(), script, script.audio(DONE))
    assert (transcript.language, transcript.language_probability) == ("und", 0)
    assert [note.key for note in transcript.notes] == [NoteKey.NO_SPEECH]


async def test_a_crash_costs_nothing_and_nothing_is_said_twice(make: Make, script: Script) -> None:
    audio = script.audio(
        ["found", "en"],
        ["finished", "3", "one"],
        ["finished", "6", "two"],
        ["die_once", str(script.gate("died"))],
        ["finished", "10", "three"],
        DONE,
    )
    transcript = await transcribe(make(), script, audio)
    assert script.gate("died").exists()
    assert [text for text, _ in script.heard] == ["one", "two", "three"]
    assert transcript.text == "one two three"
    assert transcript.language_probability == 0.9


async def test_poison_is_tried_three_times(make: Make, script: Script) -> None:
    started = script.gate("starts")
    with pytest.raises(TranscriberCrashed):
        await transcribe(make("count", str(started)), script, script.audio(["die"]))
    assert started.read_text().count("started") == 3


async def test_after_poison_the_next_recording_is_transcribed(make: Make, script: Script) -> None:
    transcriber = make()
    with pytest.raises(TranscriberCrashed):
        await transcribe(transcriber, script, script.audio(["die"]))
    assert (await transcribe(transcriber, script, script.audio(["finished", "1", "fine"], DONE))).text == "fine"


@pytest.mark.parametrize(
    "steps",
    [
        [["raw", "no JSON\n"]],
        [["raw", '{"type": "ready", "device": "cpu", "compute_type": "", "workers": 1, "threads": 1}\n']],
        [["raw", "x" * 3_000_000]],
        [["raw", '{"type": "finished", "until": 5, "segments": [{"start": -5, "end": 0, "text": ""}]}\n']],
        [["fail"]],
    ],
    ids=["nonsense", "out of turn", "an endless line", "impossible times", "an error"],
)
async def test_a_process_that_misbehaves_is_given_up(make: Make, script: Script, steps: list[list[str]]) -> None:
    with pytest.raises(TranscriberCrashed):
        await transcribe(make(), script, script.audio(*steps))


async def test_a_process_that_hangs_is_given_up(make: Make, script: Script) -> None:
    with pytest.raises(TranscriberCrashed, match="no sign of life"):
        await transcribe(make(stall_s=0.1), script, script.audio(["hang"]))


async def test_a_process_that_complains_at_length_goes_on(make: Make, script: Script) -> None:
    audio = script.audio(["complain", "5000000"], ["finished", "1", "fine"], DONE)
    assert (await transcribe(make(), script, audio)).text == "fine"


async def test_an_unknown_language_is_the_members_to_cure(make: Make, script: Script) -> None:
    transcriber = make()
    await transcriber.warm_up()
    pids = transcriber.pids()
    with pytest.raises(UnknownLanguage) as caught:
        await transcribe(transcriber, script, script.audio(["refuse", "tlh"]), language="tlh")
    assert caught.value.values == {"language": "tlh"}
    assert transcriber.pids() == pids, "the process is as good as before"


async def test_cancelling_kills_and_the_next_one_is_warm(make: Make, script: Script) -> None:
    transcriber = make(standby=1)
    job = asyncio.create_task(transcribe(transcriber, script, script.audio(["finished", "1", "begun"], ["hang"])))
    await until(lambda: script.heard and len(transcriber.pids()) == 2)
    at_work, standby = transcriber.pids()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: not psutil.pid_exists(at_work), within=1)
    assert transcriber.pids() == (standby,)
    assert (await transcribe(transcriber, script, script.audio(["finished", "1", "next"], DONE))).text == "next"
    assert standby in transcriber.pids(), "it was the one that was warm"


async def test_cancelling_while_the_model_loads_leaves_it_to_the_next_job(make: Make, script: Script) -> None:
    started = script.gate("starts")
    transcriber = make("count", str(started))
    job = asyncio.create_task(transcribe(transcriber, script, script.audio(DONE)))
    await until(lambda: transcriber.state.name == "loading")
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await transcribe(transcriber, script, script.audio(DONE))
    assert started.read_text().count("started") == 1


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


async def test_closing_while_the_model_loads_leaves_nothing(make: Make, script: Script) -> None:
    others = children()  # those of fixtures that other tests share
    transcriber = make("hang")
    job = asyncio.create_task(transcribe(transcriber, script, script.audio(DONE)))
    await until(lambda: children() - others)
    await transcriber.aclose()
    with pytest.raises(TranscriptionFailed, match="closed"):
        await job
    assert not children() - others


async def test_a_closed_transcriber_says_so(make: Make, script: Script) -> None:
    transcriber = make()
    await transcriber.aclose()
    with pytest.raises(TranscriptionFailed, match="closed"):
        await asyncio.wait_for(transcribe(transcriber, script, script.audio(DONE)), timeout=5)


async def test_no_more_jobs_run_than_allowed_and_the_rest_keep_their_order(make: Make, tmp_path: Path) -> None:
    transcriber = make(concurrency=2)
    scripts = [Script(tmp_path, f"job{n}") for n in range(5)]
    finished: list[str] = []

    async def run(script: Script) -> None:
        begun, go = script.gate("begun"), script.gate("go")
        await transcribe(transcriber, script, script.audio(["note", str(begun)], ["wait", str(go)], DONE))
        finished.append(script.name)

    jobs = [asyncio.create_task(run(script)) for script in scripts]

    def begun() -> list[str]:
        return [script.name for script in scripts if script.gate("begun").exists()]

    await until(lambda: len(begun()) == 2)
    assert begun() == ["job0", "job1"]
    for n, script in enumerate(scripts):
        script.gate("go").touch()
        await jobs[n]
        await until(lambda n=n: len(begun()) == min(n + 3, 5))
        assert begun() == [f"job{at}" for at in range(min(n + 3, 5))]
    assert finished == [script.name for script in scripts]
    assert len(transcriber.pids()) == 2


async def test_idle_processes_end(make: Make, script: Script) -> None:
    transcriber = make(idle_s=0.05)
    await transcribe(transcriber, script, script.audio(DONE))
    await until(lambda: not transcriber.pids())
    assert transcriber.state.name == "cold"
    assert (await transcribe(transcriber, script, script.audio(["finished", "1", "again"], DONE))).text == "again"


async def test_a_process_at_work_is_not_idle(make: Make, script: Script) -> None:
    transcriber = make(idle_s=0.05)
    await transcribe(transcriber, script, script.audio(DONE))
    audio = script.audio(["finished", "1", "begun"], ["wait", str(script.gate("go"))], DONE)
    job = asyncio.create_task(transcribe(transcriber, script, audio))
    await until(lambda: script.heard)
    pids = transcriber.pids()
    await asyncio.sleep(0.2)  # four times what an idle one gets
    assert transcriber.pids() == pids
    script.gate("go").touch()
    await job


async def test_a_process_that_died_idle_is_replaced(make: Make, script: Script) -> None:
    transcriber = make()
    await transcriber.warm_up()
    (pid,) = transcriber.pids()
    os.kill(pid, 9)
    assert (await transcribe(transcriber, script, script.audio(["finished", "1", "fine"], DONE))).text == "fine"
    assert pid not in transcriber.pids()


async def test_a_model_that_cannot_be_had_is_a_clear_error(make: Make, script: Script) -> None:
    transcriber = make("unavailable")
    with pytest.raises(ModelUnavailable, match="no such model") as caught:
        await transcribe(transcriber, script, script.audio(DONE))
    assert caught.value.values == {"model": "embedded"}
    assert (transcriber.state.name, transcriber.state.detail) == ("failed", "no such model")


async def test_a_standby_that_cannot_be_loaded_is_no_failure(make: Make, script: Script) -> None:
    transcriber = make("once", str(script.gate("loaded")), standby=1)
    await transcriber.warm_up()
    audio = script.audio(["wait", str(script.gate("go"))], ["finished", "1", "fine"], DONE)
    job = asyncio.create_task(transcribe(transcriber, script, audio))
    await until(lambda: script.gate("loaded-twice").exists())
    script.gate("go").touch()
    assert (await job).text == "fine"
    assert transcriber.state.name == "ready"


async def test_a_process_that_dies_loading_says_its_last_words(make: Make, script: Script) -> None:
    transcriber = make("die")
    with pytest.raises(TranscriberCrashed, match="cannot allocate memory"):
        await transcribe(transcriber, script, script.audio(DONE))
    assert transcriber.state.name == "failed"


async def test_loading_has_a_limit(make: Make) -> None:
    with pytest.raises(TranscriptionFailed, match="no sign of life"):
        await make("hang", load_timeout_s=0.2).warm_up()


async def test_warming_up_loads_one_process(make: Make) -> None:
    transcriber = make(standby=1)
    assert transcriber.state.name == "cold"
    await transcriber.warm_up()
    assert transcriber.state.name == "ready"
    assert len(transcriber.pids()) == 1


async def test_closing_ends_what_is_at_work(make: Make, script: Script) -> None:
    others = children()
    transcriber = make(standby=1)
    job = asyncio.create_task(transcribe(transcriber, script, script.audio(["finished", "1", "begun"], ["hang"])))
    await until(lambda: script.heard and len(transcriber.pids()) == 2)
    pids = transcriber.pids()
    await transcriber.aclose()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(TranscriptionFailed):
        await job
    assert not transcriber.pids()
    assert not children() - others
