"""A small bot for the tests of `BotProcess`: the real discord.py, set up by environment variables alone.

``SAMPLE_MODE`` chooses: ``run``; ``crash`` ends at once; ``stubborn`` ignores SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import discord
from discord import app_commands

_ENVIRONMENT = dict(os.environ)  # noqa: TID251 - a program of its own


class SampleBot(discord.Client):
    """Says again what it is told."""

    def __init__(self, *, stubborn: bool) -> None:
        super().__init__(
            intents=discord.Intents.default(), proxy=_ENVIRONMENT["DISCORD_PROXY"], guild_ready_timeout=0.05
        )
        self.tree = app_commands.CommandTree(self)
        self._stubborn = stubborn
        self._closing: asyncio.Task[None] | None = None

    async def setup_hook(self) -> None:
        self.tree.command(name="echo", description="Say it again")(echo)
        await self.tree.sync()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)

    def _stop(self) -> None:
        sys.stdout.write("stopping\n")
        if not self._stubborn:
            self._closing = asyncio.create_task(self.close())


async def echo(interaction: discord.Interaction, text: str) -> None:
    """Answer with the text and the process' id."""
    await interaction.response.send_message(f"{text} {os.getpid()}")


def main() -> int:
    """Run until SIGTERM."""
    mode = _ENVIRONMENT.get("SAMPLE_MODE", "run")
    if mode == "crash":
        sys.stderr.write("no such thing as a token\n")
        return 3
    SampleBot(stubborn=mode == "stubborn").run(_ENVIRONMENT["DISCORD_TOKEN"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
