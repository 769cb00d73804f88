"""A thousand members ask for the same at once, in two processes: it is done once, whatever happens to the leader."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests import audio
from tests.bootstrap.crowd import Crowd
from tests.llm_server import Streams, scripted_llm
from tests.models import MODELS_DIR, model_folder
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.redis_servers import RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.speech, pytest.mark.xdist_group("e2e")]

ROOT = Path(__file__).parents[2]
WHISPER_CHILD = "bot.adapters.whisper.child"
MINUTE = ROOT / "benchmarks" / "corpus" / "minute.ogg"
SUMMARY = "It works."
EACH = 500


class Process:
    """A crowd under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def listens(self) -> bool:
        """Whether it transcribes: only who does has a Whisper process at work."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        at_work = [child for child in children if WHISPER_CHILD in " ".join(child.cmdline())]
        return any(child.cpu_times().user > 1.5 for child in at_work)

    def kill(self) -> None:
        self._process.kill()

    async def report(self) -> dict[str, Any]:
        out, err = await self._process.communicate()
        assert self._process.returncode == 0, err.decode()
        assert b"Traceback" not in err, err.decode()
        return json.loads(out)


class Town:
    """Starts crowds that share Redis and a language model."""

    def __init__(self, store: RedisProcess, cache: RedisProcess, llm_url: str, folder: Path) -> None:
        self._folder = folder
        self._settings = {
            "REDIS_STORE_URL": store.url,
            "REDIS_CACHE_URL": cache.url,
            "OPENAI_BASE_URL": llm_url,
            "LLM_CHAIN": "scripted,template",
            "MODELS_DIR": str(MODELS_DIR),
            "WHISPER_MODEL": str(model_folder("tiny.en")),
            "WHISPER_STANDBY": "0",
            "MODES_DIR": str(ROOT / "modes"),
        }

    async def crowd(self, number: int, clip: Path) -> Process:
        crowd = Crowd(
            settings={**self._settings, "DATA_DIR": str(self._folder / str(number))},
            clip=str(clip),
            first=number * EACH + 1,
            count=EACH,
        )
        return Process(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.bootstrap.crowd", json.dumps(asdict(crowd))),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )


@asynccontextmanager
async def a_town(store: RedisProcess, cache: RedisProcess, folder: Path) -> AsyncGenerator[tuple[Town, Any]]:
    async with scripted_llm() as llm:
        llm.answers = (Streams(pieces=[SUMMARY]),)
        yield Town(store, cache, llm.url, folder), llm


def the_answers(*reports: dict[str, Any]) -> list[tuple[str, int]]:
    """Each text that was given, and how often."""
    counts: dict[str, int] = {}
    for report in reports:
        for text, count in report["answers"].items():
            counts[text] = counts.get(text, 0) + count
    return list(counts.items())


async def test_a_thousand_requests_make_one_transcription_and_one_completion(
    store_process: RedisProcess, cache_process: RedisProcess, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.ogg"
    clip.write_bytes(audio.encoded("ogg"))
    async with a_town(store_process, cache_process, tmp_path) as (town, llm):
        processes = [await town.crowd(number, clip) for number in range(2)]
        reports = await asyncio.gather(*(process.report() for process in processes))
    ((text, count),) = the_answers(*reports)
    assert count == 2 * EACH
    assert "ask not what your country can do for you" in text.lower()
    assert text.endswith(f"| {SUMMARY}")
    assert sum(report["transcribed"] for report in reports) == 1
    assert sum(report["completed"] for report in reports) == 1
    assert len(llm.requests) == 1


async def test_when_the_leader_is_killed_another_follows_and_nobody_else(
    store_process: RedisProcess, cache_process: RedisProcess, tmp_path: Path
) -> None:
    async with a_town(store_process, cache_process, tmp_path) as (town, llm):
        processes = [await town.crowd(number, MINUTE) for number in range(2)]
        await until(lambda: any(process.listens for process in processes), within=60)
        leader = next(number for number, process in enumerate(processes) if process.listens)
        processes[leader].kill()
        # Its members ask again, as they would of a bot that has started again.
        processes[leader] = await town.crowd(leader, MINUTE)
        reports = await asyncio.gather(*(process.report() for process in processes))
    ((text, count),) = the_answers(*reports)
    assert count == 2 * EACH
    assert "is anything blocking the release" in text.lower()
    assert sum(report["transcribed"] for report in reports) == 1, "one more than the one that was killed"
    assert len(llm.requests) == 1
