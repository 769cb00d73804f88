"""How soon there is something useful in the channel: the five seconds.

The real bot process with the embedded model, against the simulator, on a machine without other work. A member posts a
clip of 10 s, of 30 s, or of ten minutes, and asks for a summary; the language model is one that answers at once, so
that what is measured is ours. The time is from the interaction's way onto the wire until an edit shows words of what
was said, or the answer. Each request has a file of its own, so that no cache knows it, and ends before the next one
begins.

A cold start stands beside it: the same with the model unloaded.
"""

# PyAV is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import io
import statistics
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from rich.table import Table

from benchmarks.clips import human_clips, meeting, minute
from benchmarks.results import Result
from tests.audio import retold
from tests.e2e.town import PATIENCE_S, Town, is_final
from tests.llm_server import Streams, scripted_llm
from tests.models import model_folder
from tests.simulator.server import DiscordSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.simulator.messages import Content
    from tests.simulator.process import BotProcess

REFERENCE_S = 5.0
ANSWER = "They speak about what matters."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A clip that is asked for so often; ``words`` are spoken near its beginning."""

    name: str
    data: bytes
    words: frozenset[str]
    times: int


def run() -> Result:
    """Measure each length, warm and cold."""
    model_folder("base")
    with tempfile.TemporaryDirectory() as scratch:
        warm = asyncio.run(_measured(Path(scratch) / "warm"))
        cold = asyncio.run(_measured(Path(scratch) / "cold", cold=True))
    table = Table("", "p50 s", "p95 s", "worst s", title="until there are words in the channel")
    for name, seconds in {**warm, **{f"{name}, cold": seconds for name, seconds in cold.items()}}.items():
        table.add_row(name, *(f"{value:.2f}" for value in (statistics.median(seconds), _p95(seconds), max(seconds))))
    return Result(
        name="deadline",
        ours=max(_p95(seconds) for seconds in warm.values()),
        peers={
            **{f"{name}, p95": _p95(seconds) for name, seconds in warm.items()},
            **{f"{name}, cold, median": statistics.median(seconds) for name, seconds in cold.items()},
        },
        reference=REFERENCE_S,
        unit="s to the first words in the channel, model warm, p95 of the slowest length",
        tables=(table,),
    )


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[18]


def _recordings() -> tuple[Recording, ...]:
    ten = human_clips()
    longest = max(ten, key=lambda clip: clip.path.stat().st_size)
    return (
        Recording(name="11 s", data=_opus(longest.path, 11.0), words=_words(longest.reference), times=12),
        Recording(name="30 s", data=_opus(minute().path, 30.0), words=_words(minute().reference), times=12),
        Recording(name="10 min", data=_opus(meeting().path, 600.0), words=_words(meeting().reference), times=6),
    )


def _words(reference: str) -> frozenset[str]:
    return frozenset(word.strip(".,;:!?").lower() for word in reference.split()[:60])


def _opus(path: Path, seconds: float) -> bytes:
    """The beginning of a recording, as Discord's clients send voice messages."""
    file = io.BytesIO()
    resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
    with av.open(path) as source, av.open(file, "w", format="ogg") as output:
        stream: Any = output.add_stream("libopus", rate=48_000)
        for frame in source.decode(audio=0):
            if frame.time is not None and frame.time >= seconds:
                break
            for packet in (packet for part in resampler.resample(frame) for packet in stream.encode(part)):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return file.getvalue()


async def _measured(folder: Path, *, cold: bool = False) -> dict[str, list[float]]:
    settings = {"WHISPER_IDLE_MINUTES": "0.02"} if cold else {}
    async with _a_town(folder, **settings) as (town, bot):
        found: dict[str, list[float]] = {}
        unloaded = 0
        for recording in _recordings():
            if not cold:
                await _first_words(town, recording, number=-1)  # the first of a length pays for what all others share
            times = 3 if cold else recording.times
            found[recording.name] = []
            for number in range(times):
                if cold:
                    unloaded += 1
                    await _unloaded(bot, unloaded)
                found[recording.name].append(await _first_words(town, recording, number=number))
        assert bot.returncode is None
        return found


async def _unloaded(bot: BotProcess, times: int) -> None:
    """Wait until the model has been unloaded so many times."""
    await bot.until(
        lambda: sum("unloading" in line for line in bot.lines) >= times, within=60, what="the model is unloaded"
    )


async def _first_words(town: Town, recording: Recording, *, number: int) -> float:
    data = retold(recording.data, f"{recording.name} {number}")
    clip = town.simulator.cdn.upload("clip.ogg", data, content_type="audio/ogg")
    interaction = await town.ada.slash(town.channel, "summarize", audio=clip)
    await interaction.acknowledged()
    message = await interaction.reply(is_final, within=4 * PATIENCE_S)
    return next(v.at for v in message.versions if _is_useful(v, recording)) - interaction.dispatched_at


def _is_useful(version: Content, recording: Recording) -> bool:
    """Whether an edit shows the answer, or four of the words that were said at first."""
    if ANSWER in version.text:
        return True
    shown = {word.strip(".,;:!?>").lower() for word in version.text.split()}
    return len(shown & recording.words) >= 4


@asynccontextmanager
async def _a_town(folder: Path, **settings: str) -> AsyncGenerator[tuple[Town, BotProcess]]:
    async with DiscordSimulator() as simulator, scripted_llm() as llm:
        llm.answers = (Streams(pieces=(ANSWER,)),)
        guild = simulator.add_guild("Testers")
        town = Town(
            simulator=simulator,
            guild=guild,
            channel=guild.add_text_channel("general"),
            ada=guild.add_member("ada"),
            data_dir=folder,
        )
        chain = {"OPENAI_BASE_URL": llm.url, "LLM_CHAIN": "scripted,template", "LOG_LEVEL": "DEBUG"}
        async with town.process(**chain, **settings) as bot:
            await bot.ready(commands={"summarize"}, within=120)
            await bot.logged("ready:")
            yield town, bot
