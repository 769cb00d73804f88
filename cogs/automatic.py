"""Voice messages that are written down without being asked for, where moderators want it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from discord.ext import commands

from bot.presentation.automatic import AutomaticTranscripts

if TYPE_CHECKING:
    import discord

    from bot.presentation.client import EarshotBot


class Automatic(commands.Cog):
    """Listens for messages where the operator allows it, and does nothing elsewhere."""

    def __init__(self, transcripts: AutomaticTranscripts, *, automatic_allowed: bool) -> None:
        self._transcripts = transcripts
        self._automatic_allowed = automatic_allowed

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """A message was posted."""
        if self._automatic_allowed:
            await self._transcripts.take(message)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    transcripts = AutomaticTranscripts(
        services.dispatch,
        services.watches,
        services.answers,
        services.settings,
        services.policy,
        new_id=lambda: secrets.token_hex(8),
    )
    await bot.add_cog(Automatic(transcripts, automatic_allowed=services.automatic))
