"""What one would write first: a discord.py bot that runs faster-whisper in a thread of its own process.

`benchmarks.ack` holds the bot against it. Arguments: the model's folder.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import discord
from discord import app_commands
from faster_whisper import WhisperModel

THREADS = 2
SETTINGS = os.environ  # noqa: TID251 - not a part of the bot


class ThreadBot(discord.Client):
    """One command: ``/transcribe audio:``."""

    def __init__(self, model: WhisperModel) -> None:
        super().__init__(intents=discord.Intents(guilds=True), proxy=SETTINGS["DISCORD_PROXY"])
        self.tree = app_commands.CommandTree(self)
        self._model: Any = model  # its methods are partly without types
        self._workers = ThreadPoolExecutor(THREADS)
        self.tree.add_command(app_commands.Command(name="transcribe", description="Words", callback=self._answer))

    async def on_ready(self) -> None:
        """Show the command."""
        for guild in self.guilds:
            self.tree.copy_global_to(guild=guild)
            await self.tree.sync(guild=guild)

    async def _answer(self, interaction: discord.Interaction, audio: discord.Attachment) -> None:
        await interaction.response.defer()
        async with aiohttp.ClientSession() as session, session.get(audio.url, proxy=SETTINGS["DISCORD_PROXY"]) as file:
            data = await file.read()
        said = await asyncio.get_running_loop().run_in_executor(self._workers, self._listen, data)
        await interaction.edit_original_response(content=said[:2000] or "-")

    def _listen(self, data: bytes) -> str:
        segments, _ = self._model.transcribe(io.BytesIO(data))
        return "".join(segment.text for segment in segments)


if __name__ == "__main__":
    bot = ThreadBot(WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, num_workers=THREADS))
    bot.run(SETTINGS["DISCORD_TOKEN"])
