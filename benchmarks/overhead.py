"""What the pipeline costs beside the model: wall time of ``python -m bot try``'s pipeline over that of the bare model.

Both listen to the same clip with the same engine, model and threads, loaded before the clock starts. *Bare* is the
engine alone, on samples that are decoded already, in a fresh process. *Pipeline* adds everything else: the copy into
the spool and its hash, the confined decoder, the transcriber's process and its protocol, routing, the template, the
kept transcript. Each is measured several times, in turn; the medians are compared.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks import clips
from benchmarks.results import Result
from bot.adapters.local_files import LocalFileFetcher
from bot.bootstrap.services import open_core
from bot.bootstrap.state import in_process_state
from bot.core.models import AudioFile, Request
from bot.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from bot.adapters.spool import FileSpool

ROUNDS = 5
ALLOWED_SHARE, ALLOWED_S = 0.10, 0.300


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """Median wall times in seconds."""

    bare: float
    pipeline: float

    @property
    def overhead(self) -> float:
        """What the pipeline adds. Never under a millisecond: less is noise."""
        return max(self.pipeline - self.bare, 0.001)

    @property
    def allowed(self) -> float:
        """What it may add."""
        return max(ALLOWED_SHARE * self.bare, ALLOWED_S)


def run() -> Result:
    """Measure a short clip and one of a minute; the result is the one that comes closer to its limit."""
    chosen = {"eleven seconds": clips.human_clips()[-1], "one minute": clips.minute()}
    measured = {name: asyncio.run(_walls(clip.path)) for name, clip in chosen.items()}
    table = Table("clip", "bare s", "pipeline s", "overhead s", "allowed s", title=f"medians of {ROUNDS}")
    for name, walls in measured.items():
        figures = (walls.bare, walls.pipeline, walls.overhead, walls.allowed)
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
    worst = min(measured.values(), key=lambda walls: walls.allowed / walls.overhead)
    return Result(
        name="overhead",
        ours=worst.overhead,
        peers={"bare model": worst.bare},
        reference=worst.allowed,
        unit="seconds over the bare model",
        tables=(table,),
    )


async def _walls(clip: Path) -> Walls:
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings.from_env({"DATA_DIR": scratch, "WHISPER_STANDBY": "0"})
        async with open_core(settings, in_process_state(), _local_files) as core:
            await core.transcriber.warm_up()
            bare: list[float] = []
            pipeline: list[float] = []
            for number in range(ROUNDS):
                bare.append(await asyncio.to_thread(_bare, clip))
                started = time.monotonic()
                # A scope of its own for each round: a cached transcript would make it quick.
                source, scope = AudioFile(path=clip), f"round {number}"
                request = Request(id=f"{number:016x}", source=source, mode="summarize", scope=scope)
                await core.pipeline.run(request)
                pipeline.append(time.monotonic() - started)
    return Walls(bare=statistics.median(bare), pipeline=statistics.median(pipeline))


def _local_files(spool: FileSpool, max_bytes: int) -> LocalFileFetcher:
    return LocalFileFetcher(spool, max_bytes=max_bytes)


def _bare(clip: Path) -> float:
    """Seconds that the engine alone takes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bare_engine", str(clip)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)
