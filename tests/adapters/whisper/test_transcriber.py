"""The transcriber with its real processes and a small model."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from bot.adapters.whisper import WhisperTranscriber
from bot.core.errors import ModelUnavailable, UnknownLanguage
from bot.core.models import DecodedAudio, NoteKey, Task, TranscriptionOptions
from tests.adapters.whisper.sounds import RATE, recording, silence
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from bot.core.models import Segment
    from tests.adapters.whisper.sounds import Sound

pytestmark = [pytest.mark.speech, pytest.mark.xdist_group("whisper")]

ASK = "not what your country can do for you"


@pytest.fixture
async def transcriber(whisper_models_dir: Path) -> AsyncGenerator[WhisperTranscriber]:
    made = WhisperTranscriber(model="tiny.en", models_dir=whisper_models_dir)
    yield made
    await made.aclose()


def audio(tmp_path: Path, sound: Sound, *, declared_s: float | None = None) -> DecodedAudio:
    path = tmp_path / "samples.f32"
    sound.tofile(path)
    return DecodedAudio(path=path, samples=len(sound), declared_s=declared_s)


def speech_of(minutes: int) -> Sound:
    """Eleven seconds of speech twice a minute."""
    return np.concatenate([recording("jfk"), silence(19)] * (2 * minutes))


class Listener:
    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.fractions: list[float] = []

    def __call__(self, segments: tuple[Segment, ...], fraction: float) -> None:
        self.segments.extend(segments)
        self.fractions.append(fraction)


async def test_speech_is_transcribed(transcriber: WhisperTranscriber, tmp_path: Path) -> None:
    listener = Listener()
    sound = audio(tmp_path, recording("jfk"), declared_s=67.0)
    transcript = await transcriber.transcribe(sound, TranscriptionOptions(), on_segments=listener)
    assert ASK in transcript.text.lower()
    assert (transcript.language, transcript.model, transcript.task) == ("en", "tiny.en", Task.TRANSCRIBE)
    assert tuple(listener.segments) == transcript.segments
    assert listener.fractions[-1] > 0.9
    assert [note.key for note in transcript.notes] == [NoteKey.TRUNCATED]
    with pytest.raises(UnknownLanguage):
        await transcriber.transcribe(sound, TranscriptionOptions(language="de"), on_segments=listener)


async def test_silence_gives_nothing(transcriber: WhisperTranscriber, tmp_path: Path) -> None:
    transcript = await transcriber.transcribe(
        audio(tmp_path, silence(40)), TranscriptionOptions(), on_segments=Listener()
    )
    assert transcript.segments == ()
    assert [note.key for note in transcript.notes] == [NoteKey.NO_SPEECH]


async def test_a_process_killed_at_work_costs_nothing(transcriber: WhisperTranscriber, tmp_path: Path) -> None:
    listener = Listener()
    job = asyncio.create_task(
        transcriber.transcribe(audio(tmp_path, speech_of(3)), TranscriptionOptions(), on_segments=listener)
    )
    await until(lambda: listener.segments, within=60)
    assert not job.done(), "the kill has to come in the middle of the work"
    os.kill(transcriber.pids()[0], 9)
    transcript = await job
    assert transcript.text.lower().count(ASK) == 6
    assert tuple(listener.segments) == transcript.segments
    assert listener.fractions == sorted(listener.fractions)
    assert [round(segment.end) // 30 for segment in transcript.segments if ASK in segment.text.lower()] == [*range(6)]


async def test_cancelling_takes_less_than_a_second(transcriber: WhisperTranscriber, tmp_path: Path) -> None:
    listener = Listener()
    job = asyncio.create_task(
        transcriber.transcribe(audio(tmp_path, speech_of(20)), TranscriptionOptions(), on_segments=listener)
    )
    await until(lambda: listener.segments and len(transcriber.pids()) == 2, within=60)
    at_work, standby = transcriber.pids()
    begun = time.monotonic()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: not psutil.pid_exists(at_work))
    assert time.monotonic() - begun < 1
    await transcriber.transcribe(audio(tmp_path, silence(1)), TranscriptionOptions(), on_segments=Listener())
    assert standby in transcriber.pids(), "the next job had a process that was warm"


async def test_a_process_is_polite_and_knows_no_secrets(transcriber: WhisperTranscriber) -> None:
    await transcriber.warm_up()
    process = psutil.Process(transcriber.pids()[0])
    assert process.nice() > psutil.Process().nice()
    known = {"PATH", "HOME", "LANG", "TMPDIR"}
    handed_on = {name for name in process.environ() if not name.startswith(("HF_", "PYTHON", "LC_", "OPENBLAS_"))}
    assert handed_on <= known | {
        name for name in handed_on if "PROXY" in name.upper() or "SSL" in name or "CA_BUNDLE" in name or "PIP" in name
    }
    assert "PYTEST_CURRENT_TEST" not in process.environ()


async def test_a_model_that_nobody_knows_is_a_clear_error(tmp_path: Path) -> None:
    transcriber = WhisperTranscriber(model="enormous", models_dir=tmp_path)
    with pytest.raises(ModelUnavailable, match="enormous"):
        await transcriber.warm_up()
    assert transcriber.state.name == "failed"
    assert "enormous" in transcriber.state.detail
    await transcriber.aclose()


async def test_processes_die_with_the_bot(whisper_models_dir: Path, tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from bot.adapters.whisper import WhisperTranscriber
from bot.core.models import DecodedAudio, TranscriptionOptions

async def main():
    transcriber = WhisperTranscriber(model="tiny.en", models_dir=Path({str(whisper_models_dir)!r}))
    await transcriber.warm_up()
    audio = DecodedAudio(path=Path({str(tmp_path / "samples.f32")!r}), samples={60 * 20 * RATE})
    def on_segments(segments, fraction):
        print(*transcriber.pids(), flush=True)
    await transcriber.transcribe(audio, TranscriptionOptions(), on_segments=on_segments)

asyncio.run(main())
"""
    audio(tmp_path, speech_of(20))
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert bot.stdout is not None
    async with asyncio.timeout(60):
        pids = [int(pid) for pid in (await bot.stdout.readline()).split()]
    assert pids
    bot.kill()
    await bot.communicate()
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
