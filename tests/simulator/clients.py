"""The real discord.py, in the test's own process, pointed at the simulator. Nothing of it is patched."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import discord

from tests.simulator.server import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.simulator.server import DiscordSimulator

READY_WITHIN_S = 10.0

C = TypeVar("C", bound=discord.Client)


def make_client(simulator: DiscordSimulator, intents: discord.Intents | None = None, **options: Any) -> discord.Client:
    """A client that reaches the simulator; ``connected`` starts it."""
    return discord.Client(**client_options(simulator, intents), **options)


def client_options(simulator: DiscordSimulator, intents: discord.Intents | None = None) -> dict[str, Any]:
    """What a client has to be made with; only inside a running loop."""
    return {
        "intents": intents or discord.Intents.default(),
        "proxy": simulator.proxy_url,
        "connector": simulator.connector(),
        # How long discord.py waits for one more GUILD_CREATE before it says that it is ready; two seconds by default.
        "guild_ready_timeout": 0.05,
    }


@asynccontextmanager
async def connected(client: C, token: str | None = None) -> AsyncGenerator[C]:
    """Run a client until the end of the block; an error that ends it early is raised."""
    running = asyncio.create_task(client.start(token or TOKEN))
    ready = asyncio.create_task(_ready(client))
    try:
        await asyncio.wait({running, ready}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        assert ready.done(), "the client was not ready in time"
        yield client
    finally:
        ready.cancel()
        await client.close()
        await asyncio.gather(running, ready, return_exceptions=True)


async def _ready(client: discord.Client) -> None:
    # wait_until_ready() may only be called after setup, which start() does.
    while not client.is_ready():
        await client.wait_for("ready")
