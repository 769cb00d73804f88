"""What an outage costs: the first two models of a chain are down, and every request has to get past them.

Three OpenAI-compatible servers on loopback: the first fails with 500, the second takes requests and says nothing, the
third answers. A request comes every half second, whatever becomes of those before (an open loop), each with a text of
its own. Measured is the time until the answer, less that of the third server asked alone. Our chain stands beside the
same chain in LiteLLM's Router, in the same run, with servers of its own; it gets the same patience: as many seconds for
a silent model as our hedge waits, and as many tries.

What counts is the median after the first minute; the outage goes on for two.
"""

# LiteLLM is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import importlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks.results import Result
from bot.adapters.extractive import ExtractiveModel
from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.adapters.records import StoredCircuits
from bot.core.caching import SharedWork
from bot.core.chain import SMART, Chain, ChainPolicy
from bot.core.circuits import Circuits
from bot.core.completion import CompletionTask
from bot.core.prompts import Prompt
from tests.fakes import a_mode, a_transcript
from tests.llm_server import Fails, Hangs, Streams, scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.core.ports import CompletionModel

NAMES = ("first", "second", "third")
EVERY_S = 0.5
OUTAGE_S, FIRST_S = 120.0, 60.0
ALONE = 100
"""Requests to the third server alone."""

Ask = Callable[[str], Awaitable[object]]


@dataclass(kw_only=True)
class Contestant:
    """A chain, and what its requests took: when each came, and its seconds."""

    ask: Ask
    alone_s: float = 0.0
    took: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def added_ms(self, after_s: float, before_s: float) -> list[float]:
        """Milliseconds that requests of so many seconds into the outage took more."""
        return [1_000 * (s - self.alone_s) for came, s in self.took if after_s <= came < before_s]


def run() -> Result:
    """Measure both in the same two minutes."""
    contestants = asyncio.run(_contest())
    table = Table(
        "", "median ms", "p95 ms", "first minute: median ms", "p95 ms", title="added by two models that are down"
    )
    medians: dict[str, float] = {}
    for name, contestant in contestants.items():
        late, early = contestant.added_ms(FIRST_S, OUTAGE_S), contestant.added_ms(0.0, FIRST_S)
        medians[name] = statistics.median(late)
        table.add_row(
            name,
            *(f"{value:,.0f}" for part in (late, early) for value in (statistics.median(part), _p95(part))),
        )
    return Result(
        name="chain",
        ours=max(medians["earshot"], 0.1),
        peers={name: median for name, median in medians.items() if name != "earshot"},
        reference=medians["LiteLLM Router"],
        unit="ms added to the median request, after the first minute of an outage of two models",
        tables=(table,),
    )


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


async def _contest() -> dict[str, Contestant]:
    async with AsyncExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        for name, make in (("earshot", _ours), ("LiteLLM Router", _litellm)):
            urls: list[str] = []
            for answer in (Fails(status=500), Hangs(), Streams()):
                server = await stack.enter_async_context(scripted_llm())
                server.answers = (answer,)
                urls.append(server.url)
            alone = await stack.enter_async_context(make({"third": urls[2]}))
            took = [await _timed(alone, f"alone {number}") for number in range(ALONE)]
            ask = await stack.enter_async_context(make(dict(zip(NAMES, urls, strict=True))))
            contestants[name] = Contestant(ask=ask, alone_s=statistics.median(took))
        await asyncio.gather(*map(_outage, contestants.values()))
        return contestants


async def _outage(contestant: Contestant) -> None:
    began = time.perf_counter()

    async def one(number: int) -> None:
        came = number * EVERY_S
        await asyncio.sleep(began + came - time.perf_counter())
        contestant.took.append((came, await _timed(contestant.ask, f"text {number}")))

    await asyncio.gather(*(one(number) for number in range(round(OUTAGE_S / EVERY_S))))


async def _timed(ask: Ask, text: str) -> float:
    began = time.perf_counter()
    await ask(text)
    return time.perf_counter() - began


@asynccontextmanager
async def _ours(urls: dict[str, str]) -> AsyncGenerator[Ask]:
    async with AsyncExitStack() as stack:
        models: list[CompletionModel] = [
            OpenAIChatModel(await stack.enter_async_context(openai_client(None, url)), name)
            for name, url in urls.items()
        ]
        chain = Chain(
            {SMART: [*models, ExtractiveModel()]},
            shared=SharedWork(
                InProcessCache(max_bytes=1 << 20, now=time.monotonic, jitter=lambda: 0.5), LocalFlights()
            ),
            circuits=Circuits(StoredCircuits(InProcessDocuments(now=time.monotonic)), now=time.monotonic),
            policy=ChainPolicy(upgrade_s=0.0),
        )

        async def ask(text: str) -> None:
            task = CompletionTask(mode=a_mode(), transcript=a_transcript(text), prompt=Prompt(system="s", user=text))
            completion = await chain.run(task, on_text=lambda _: None)
            assert completion.model == "third"

        yield ask


@asynccontextmanager
async def _litellm(urls: dict[str, str]) -> AsyncGenerator[Ask]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # noqa: TID251 - it asks the network for one otherwise
    litellm: Any = importlib.import_module("litellm")  # not there for tests and checks
    policy = ChainPolicy()
    first, *others = urls
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": url,
                    "api_key": "none",
                    "timeout": policy.hedge_s,
                },
            }
            for name, url in urls.items()
        ],
        fallbacks=[{first: others}] if others else [],
        num_retries=policy.retries.tries - 1,
    )

    async def ask(text: str) -> None:
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": text}]
        answer = "".join(
            [
                chunk.choices[0].delta.content or ""
                async for chunk in await router.acompletion(model=first, messages=messages, stream=True)
            ]
        )
        assert answer == "All is well."

    yield ask
