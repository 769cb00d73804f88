"""``/forget-me``: what is kept of a member, and the way to be rid of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.presentation.messages import text
from bot.presentation.privacy_page import ForgetButton, KeepButton, kept_answer
from bot.presentation.requests import asker_of

if TYPE_CHECKING:
    from bot.core import privacy
    from bot.presentation.client import EarshotBot
    from bot.presentation.reception import Reception
    from bot.presentation.replies import Answer


class Privacy(commands.Cog):
    """Asks before it forgets."""

    def __init__(self, reception: Reception, privacy: privacy.Privacy) -> None:
        self._reception = reception
        self._privacy = privacy

    @app_commands.command(name="forget-me", description=text("command.forget_me"))
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.allowed_installs(guilds=True, users=True)
    async def forget_me(self, interaction: discord.Interaction) -> None:
        """Show what is kept, and ask."""

        async def make() -> Answer:
            asker = asker_of(interaction)
            kept = await self._privacy.kept(asker.guild_id, asker.member_id)
            return kept_answer(kept, asker, locale=str(interaction.locale))

        await self._reception.hand_over(interaction, make)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    bot.add_dynamic_items(ForgetButton, KeepButton)
    await bot.add_cog(Privacy(bot.services.reception, bot.services.privacy))
