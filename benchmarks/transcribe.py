"""Transcription against plain faster-whisper, in one run: the same model, the same number of threads.

Ours is measured through the processes that the bot uses: the confined decoder and the transcriber. Each is a fresh
process; loading the model is left out of all figures, since the bot loads it once. CPU seconds are compared, since wall
time depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from rich.table import Table

from benchmarks import clips, sweep
from benchmarks.results import Result
from benchmarks.wording import error_rate
from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.spool import FileSpool
from bot.adapters.whisper import WhisperTranscriber
from bot.adapters.whisper.embedded import ensure_embedded_model
from bot.core.models import FetchedAudio, TranscriptionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clips import Clip
    from bot.core.models import Segment

THREADS = 2
MODELS, WHEELS = clips.ROOT / ".cache" / "models", clips.ROOT / ".cache" / "wheels"
OURS = "earshot"
PLAIN, BATCHED = "faster-whisper", "faster-whisper, batched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What transcribing cost, and the word error rate."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    error_rate: float


def run() -> Result:
    """Measure short, minute-long and ten-minute clips."""
    model = ensure_embedded_model(MODELS, wheels_dir=WHEELS)
    table = Table("clips", "", "CPU s", "x plain", "wall s", "WER %", "peak MB", title=f"base, int8, {THREADS} threads")
    sets = {"six human": clips.human_clips(), "one minute": (clips.minute(),), "ten minutes": (clips.meeting(),)}
    figures: dict[str, Figures] = {}
    for name, chosen in sets.items():
        figures = {PLAIN: _peer("plain", model, chosen), BATCHED: _peer("batched", model, chosen)}
        figures[OURS] = asyncio.run(_ours(chosen))
        for who, each in figures.items():
            table.add_row(name, who, *_cells(each, figures[PLAIN]))
        table.add_section()
    return Result(
        name="transcribe",
        ours=figures[OURS].cpu_s,
        peers={who: each.cpu_s for who, each in figures.items() if who != OURS},
        reference=figures[PLAIN].cpu_s,
        unit="CPU seconds, ten-minute clip",
        tables=(table, sweep.of_windows(model, clips.meeting()), sweep.of_padding(model, clips.human_clips())),
    )


def _cells(figures: Figures, plain: Figures) -> tuple[str, ...]:
    share = figures.cpu_s / plain.cpu_s
    return (
        *(f"{figures.cpu_s:.1f}", f"{share:.2f}", f"{figures.wall_s:.1f}"),
        *(f"{100 * figures.error_rate:.2f}", f"{figures.peak_mb:.0f}"),
    )


def _peer(kind: str, model: Path, chosen: Sequence[Clip]) -> Figures:
    command = [sys.executable, "-m", "benchmarks.faster_whisper_peer", kind, str(model), str(THREADS)]
    done = subprocess.run([*command, *(str(clip.path) for clip in chosen)], capture_output=True, check=True)
    answer = json.loads(done.stdout)
    return Figures(
        cpu_s=answer["cpu_s"],
        wall_s=answer["wall_s"],
        peak_mb=answer["peak_mb"],
        error_rate=error_rate([clip.reference for clip in chosen], answer["texts"]),
    )


async def _ours(chosen: Sequence[Clip]) -> Figures:
    transcriber = WhisperTranscriber(
        model="embedded", models_dir=MODELS, threads=THREADS, compute_type="int8", standby=0
    )
    with tempfile.TemporaryDirectory() as scratch:
        spool = FileSpool(Path(scratch))
        decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=60))
        try:
            await transcriber.warm_up()
            (pid,) = transcriber.pids()
            cpu, wall = _cpu_s(pid), time.monotonic()
            texts = [await _transcribe(clip, decoder, transcriber) for clip in chosen]
            assert transcriber.pids() == (pid,), "the process was replaced: its figures are lost"
            cpu, wall = _cpu_s(pid) - cpu, time.monotonic() - wall
            peak = _peak_mb(pid)
        finally:
            await transcriber.aclose()
    return Figures(
        cpu_s=cpu, wall_s=wall, peak_mb=peak, error_rate=error_rate([clip.reference for clip in chosen], texts)
    )


async def _transcribe(clip: Clip, decoder: ConfinedDecoder, transcriber: WhisperTranscriber) -> str:
    posted = clip.path.read_bytes()
    digest = hashlib.sha256(posted).hexdigest()
    fetched = FetchedAudio(path=clip.path, sha256=digest, size=len(posted), filename=clip.path.name)
    decoded = await decoder.decode(fetched)
    transcript = await transcriber.transcribe(decoded, TranscriptionOptions(), on_segments=_ignore)
    return transcript.text


def _ignore(_segments: tuple[Segment, ...], _fraction: float) -> None:
    """Nobody watches a benchmark."""


def _cpu_s(pid: int) -> float:
    """Give the CPU seconds of the transcriber and of all decoders that have ended."""
    times = psutil.Process(pid).cpu_times()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return times.user + times.system + ended.ru_utime + ended.ru_stime


def _peak_mb(pid: int) -> float:
    """Give the most memory that a process held, in megabytes (Linux; see proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1_024 / 1e6
