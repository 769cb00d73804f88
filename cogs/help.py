"""``/help``: what the bot can do here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.ext import commands

from bot.core.languages import LANGUAGES
from bot.presentation.listing import field_of_lines, fitting
from bot.presentation.messages import text
from bot.presentation.replies import Answer, Field
from bot.presentation.requests import asker_of

if TYPE_CHECKING:
    from bot.presentation.client import EarshotBot, Limits
    from bot.presentation.command_sync import CommandSync
    from bot.presentation.reception import Reception

_SHOWN: Final = 4_000
"""Characters of the list of commands, of the 6,000 of an embed."""


class Help(commands.Cog):
    """Reads the tree: what is not there is not promised."""

    def __init__(
        self, reception: Reception, tree: app_commands.CommandTree, *, shown: CommandSync, limits: Limits
    ) -> None:
        self._reception = reception
        self._tree = tree
        self._shown = shown
        self._limits = limits

    @app_commands.command(description=text("command.help"))
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.allowed_installs(guilds=True, users=True)
    async def help(self, interaction: discord.Interaction) -> None:
        """Answer with a page that only the member sees."""

        async def make() -> Answer:
            return self._page(asker_of(interaction).guild_id, str(interaction.locale))

        await self._reception.hand_over(interaction, make)

    def _page(self, guild_id: int | None, locale: str) -> Answer:
        lines = [
            f"{self._name(command, guild_id or 0)}: {command.description}"
            for command in self._tree.get_commands(type=discord.AppCommandType.chat_input)
            if guild_id is not None or (command.allowed_contexts and command.allowed_contexts.dm_channel)
        ]
        count = fitting(lines, _SHOWN)
        if count < len(lines):
            lines = [*lines[:count], text("help.more", locale, count=len(lines) - count)]
        values = {
            "max_mb": f"{self._limits.max_audio_mb:g}",
            "max_minutes": f"{self._limits.max_audio_minutes:g}",
            "languages": len(LANGUAGES),
            "days": f"{self._limits.transcript_days:g}",
        }
        about = [
            Field(name=text(f"help.{what}", locale), value=text(f"help.{what}.text", locale, **values), inline=False)
            for what in ("on_messages", "after", "limits", "privacy")
        ]
        return Answer(
            title=text("help.title", locale),
            description=text("help.intro", locale),
            fields=(*field_of_lines(text("help.commands", locale), lines), *about),
        )

    def _name(self, command: app_commands.Command[Any, ..., Any] | app_commands.Group, guild_id: int) -> str:
        """A command as a link; what only has sub-commands cannot be one."""
        if isinstance(command, app_commands.Group):
            return f"`/{command.name} …`"
        return self._shown.mention(guild_id, command.name)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    await bot.add_cog(Help(services.reception, bot.tree, shown=bot.commands_shown, limits=services.limits))
