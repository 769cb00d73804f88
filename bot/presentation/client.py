"""The Discord client, with what its cogs work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.ext import commands
from loguru import logger

from bot.core.health import State
from bot.presentation.command_sync import CommandSync
from bot.presentation.messages import text
from bot.presentation.views import FilesMenu, RedoMenu

if TYPE_CHECKING:
    from bot.core.health import Health
    from bot.core.ports import ModeSource, TranscriptStore
    from bot.presentation.reception import Reception

EXTENSIONS: Final = ("cogs.listen", "cogs.help")
GATEWAY: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What `/help` tells of the operator's settings."""

    max_audio_mb: float
    max_audio_minutes: float
    transcript_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What cogs work with; each takes what it uses."""

    reception: Reception
    transcripts: TranscriptStore
    modes: ModeSource
    health: Health
    limits: Limits


class EarshotBot(commands.Bot):
    """The bot's side of Discord."""

    def __init__(self, services: Services, *, proxy: str | None) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            # Guilds and channels alone: no messages, no members. Nothing is read that nobody asked for.
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            proxy=proxy,
        )
        self.services = services
        self.commands_shown = CommandSync(self)
        self._health = services.health
        self.tree.error(self._on_command_error)

    async def setup_hook(self) -> None:
        """Load the cogs; one that fails stops the start."""
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        self.add_dynamic_items(FilesMenu, RedoMenu)

    async def on_ready(self) -> None:
        """The gateway is there, for the first time or again after a long absence."""
        self._health.report(GATEWAY, State.OK)
        await self.commands_shown.sync_everywhere()
        logger.info("ready: {} in {} guilds, commands are in sync", self.user, len(self.guilds))

    async def on_resumed(self) -> None:
        """The gateway is there again after a short absence."""
        self._health.report(GATEWAY, State.OK)

    async def on_disconnect(self) -> None:
        """The gateway is gone; discord.py connects again by itself."""
        self._health.report(GATEWAY, State.FAILED, "disconnected; connecting again")

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Somebody invited the bot."""
        await self.commands_shown.sync_guild(guild.id)

    async def on_error(self, event_method: str, /, *_args: object, **_kwargs: object) -> None:
        """An event's handler failed: into the log with it."""
        if self.is_closed():
            logger.info("handling {} was cut off by the end of the process", event_method)
        else:
            logger.exception("handling {} failed", event_method)

    async def _on_command_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        if self.is_closed():
            logger.info("a command was cut off by the end of the process")
            return
        logger.opt(exception=error).error("a command failed")
        message = text("error.unexpected", str(interaction.locale))
        if interaction.response.is_done():
            await interaction.followup.send(message, ephemeral=True)
        else:
            await interaction.response.send_message(message, ephemeral=True)
