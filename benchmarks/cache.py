"""How soon a cached result reaches the member, at fifty requests a second.

The real bot process with its own Redis, against the simulator. One clip is transcribed and completed once; then members
ask for its summary, one every 20 ms, whatever becomes of those before (an open loop), each with the clip attached. The
latency is from the interaction's way onto the wire to the edit that shows the result; the first seconds, in which
connections are opened, do not count. The simulator, Redis and the bot share the machine. What the bot sends is not held
against Discord's schemas here: that takes the simulator a few milliseconds a request, which would be its latency and
not the bot's.

Beside it, the cost of a hit itself: `SharedWork.cached` of that transcript, unpacked and decoded, and a bare GET of the
same bytes with redis-py.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from rich.table import Table

from benchmarks.results import Result
from bot.adapters.embedded_redis import embedded_redis, find_server
from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.redis import keys
from bot.adapters.redis.cache import RedisCache
from bot.adapters.redis.connections import RedisServer
from bot.core.caching import SharedWork
from bot.core.records import TRANSCRIPT
from tests.e2e.town import Town, answer, fields
from tests.llm_server import Streams, scripted_llm
from tests.models import model_folder
from tests.simulator.server import DiscordSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from tests.simulator.interactions import Interaction
    from tests.simulator.process import BotProcess

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "tests" / "data" / "speech" / "jfk.wav"

REQUESTS_PER_S = 50
MEMBERS = 100
WARM_UP_S, MEASURED_S = 3.0, 20.0
REFERENCE_MS = 300.0
LOOKS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Seconds until the result was there; ``slip`` is how late the load itself was at worst."""

    p50: float
    p99: float
    worst: float
    slip: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that one look takes, on average."""

    hit: float
    get: float


def run() -> Result:
    """Measure both."""
    model_folder("base")
    with tempfile.TemporaryDirectory() as scratch:
        latencies, costs = asyncio.run(_measured(Path(scratch)))
    table = Table("", "p50 ms", "p99 ms", "worst ms", title=f"cached results at {REQUESTS_PER_S} a second")
    table.add_row("earshot", *(f"{1_000 * value:.1f}" for value in (latencies.p50, latencies.p99, latencies.worst)))
    table.caption = f"the load was up to {1_000 * latencies.slip:.0f} ms late"
    each = Table("", "µs", title="one look into the cache")
    each.add_row("a hit: found, unpacked, decoded", f"{1e6 * costs.hit:.0f}")
    each.add_row("a bare GET of the same bytes", f"{1e6 * costs.get:.0f}")
    return Result(
        name="cache",
        ours=1_000 * latencies.p99,
        peers={"a hit, µs": 1e6 * costs.hit, "bare GET, µs": 1e6 * costs.get},
        reference=REFERENCE_MS,
        unit=f"ms to a cached result at {REQUESTS_PER_S} a second, p99",
        tables=(table, each),
    )


async def _measured(folder: Path) -> tuple[Latencies, Costs]:
    async with _a_town(folder) as (town, bot):
        clip = town.simulator.cdn.upload("clip.wav", CLIP.read_bytes(), content_type="audio/wav")
        members = [town.guild.add_member(f"member {number}") for number in range(MEMBERS)]
        await answer(await town.ada.slash(town.channel, "summarize", audio=clip))

        async def ask(number: int) -> Interaction:
            return await members[number % MEMBERS].slash(town.channel, "summarize", audio=clip)

        await _load(ask, WARM_UP_S)
        asked, slip = await _load(ask, MEASURED_S)
        latencies = [await _latency(interaction) for interaction in asked]
        assert bot.returncode is None
        costs = await _costs(folder / "redis")
    latencies.sort()
    p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
    return Latencies(p50=statistics.median(latencies), p99=p99, worst=latencies[-1], slip=slip), costs


@asynccontextmanager
async def _a_town(folder: Path) -> AsyncGenerator[tuple[Town, BotProcess]]:
    """A guild, and the bot with a language model that answers at once."""
    async with DiscordSimulator() as simulator, scripted_llm() as llm:
        simulator.rest._contracts = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - see above
        llm.answers = (Streams(pieces=["A president asks ", "his fellow Americans ", "what they can do."]),)
        guild = simulator.add_guild("Testers")
        town = Town(
            simulator=simulator,
            guild=guild,
            channel=guild.add_text_channel("general"),
            ada=guild.add_member("ada"),
            data_dir=folder,
        )
        settings = {"OPENAI_BASE_URL": llm.url, "LLM_CHAIN": "scripted,template", "LOG_LEVEL": "INFO"}
        async with town.process(**settings) as bot:
            await bot.ready(commands={"summarize"}, within=120)
            await bot.logged("ready:")
            yield town, bot


async def _load(ask: Callable[[int], Awaitable[Interaction]], seconds: float) -> tuple[Sequence[Interaction], float]:
    """Ask for so long, and wait for every answer; gives also how late a request was at worst."""
    loop = asyncio.get_running_loop()
    begun, slip = loop.time(), 0.0
    tasks: list[asyncio.Task[Interaction]] = []
    for number in range(int(seconds * REQUESTS_PER_S)):
        due = begun + number / REQUESTS_PER_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        slip = max(slip, loop.time() - due)
        tasks.append(asyncio.ensure_future(ask(number)))
    asked = await asyncio.gather(*tasks)
    for interaction in asked:
        await answer(interaction)
    return asked, slip


async def _latency(interaction: Interaction) -> float:
    message = await answer(interaction)
    assert "costs nothing" in fields(message)["Took"], "every one of them has to come from the cache"
    return message.now.at - interaction.dispatched_at


async def _costs(folder: Path) -> Costs:
    """Of one look at a time, in this process, at the bot's own cache."""
    binary = find_server()
    assert binary is not None
    async with embedded_redis(folder, binary) as servers:
        server = RedisServer(servers.cache_url, role="cache", clock=time.monotonic)
        shared = SharedWork(RedisCache(server, jitter=lambda: 0.0), LocalFlights())
        async with Redis.from_url(servers.cache_url) as bare:
            (stored,) = [name async for name in bare.scan_iter(keys.cached("t1:*"))]
            key = stored.decode().removeprefix(keys.cached(""))
            assert await shared.cached(key, TRANSCRIPT) is not None
            costs = Costs(
                hit=await _each(lambda: shared.cached(key, TRANSCRIPT)), get=await _each(lambda: bare.get(stored))
            )
        await server.aclose()
    return costs


async def _each(look: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    for _ in range(LOOKS):
        await look()
    return (time.perf_counter() - begun) / LOOKS
