"""``/help``: what the bot can do here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.core.languages import LANGUAGES
from bot.presentation.courier import COLOUR
from bot.presentation.messages import text

if TYPE_CHECKING:
    from bot.presentation.client import EarshotBot, Limits
    from bot.presentation.command_sync import CommandSync


class Help(commands.Cog):
    """Reads the tree: what is not there is not promised."""

    def __init__(self, tree: app_commands.CommandTree, shown: CommandSync, limits: Limits) -> None:
        self._tree = tree
        self._shown = shown
        self._limits = limits

    @app_commands.command(description=text("command.help"))
    async def help(self, interaction: discord.Interaction) -> None:
        """Answer with a page that only the member sees."""
        await interaction.response.send_message(embed=self._page(interaction), ephemeral=True)

    def _page(self, interaction: discord.Interaction) -> discord.Embed:
        locale = str(interaction.locale)
        embed = discord.Embed(title=text("help.title", locale), description=text("help.intro", locale), colour=COLOUR)
        lines = [
            f"{self._name(command, interaction.guild_id or 0)}: {command.description}"
            for command in self._tree.get_commands(type=discord.AppCommandType.chat_input)
        ]
        limits = {
            "max_mb": f"{self._limits.max_audio_mb:g}",
            "max_minutes": f"{self._limits.max_audio_minutes:g}",
            "languages": len(LANGUAGES),
        }
        embed.add_field(name=text("help.commands", locale), value="\n".join(lines)[:1024], inline=False)
        embed.add_field(
            name=text("help.on_messages", locale), value=text("help.on_messages.text", locale), inline=False
        )
        embed.add_field(name=text("help.after", locale), value=text("help.after.text", locale), inline=False)
        embed.add_field(name=text("help.limits", locale), value=text("help.limits.text", locale, **limits))
        days = f"{self._limits.transcript_days:g}"
        embed.add_field(name=text("help.privacy", locale), value=text("help.privacy.text", locale, days=days))
        return embed

    def _name(self, command: app_commands.Command[Any, ..., Any] | app_commands.Group, guild_id: int) -> str:
        """A command as a link; what only has sub-commands cannot be one."""
        if isinstance(command, app_commands.Group):
            return f"`/{command.name} …`"
        return self._shown.mention(guild_id, command.name)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    await bot.add_cog(Help(bot.tree, bot.commands_shown, bot.services.limits))
