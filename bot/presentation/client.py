"""The Discord client, with what its cogs work with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.ext import commands, tasks
from loguru import logger

from bot.core.errors import StoreUnavailable, reference_of
from bot.core.health import State
from bot.core.quotas import DAY_S
from bot.presentation.command_sync import CommandSync
from bot.presentation.messages import text
from bot.presentation.network import UNDELIVERED
from bot.presentation.views import FilesMenu, RedoMenu

if TYPE_CHECKING:
    from bot.core.desk import Desk
    from bot.core.dispatch import Dispatch
    from bot.core.fair_use import FairUse
    from bot.core.health import Health
    from bot.core.ports import AuditLog, DeliveryLog, ModeSource, RequestLog, SettingsStore, TranscriptStore
    from bot.core.privacy import Privacy
    from bot.presentation.deliveries import Deliveries
    from bot.presentation.moderation import AccessPolicy
    from bot.presentation.reception import Reception
    from bot.presentation.watches import Watches

EXTENSIONS: Final = (
    "cogs.listen",
    "cogs.jobs",
    "cogs.help",
    "cogs.settings",
    "cogs.quota",
    "cogs.results",
    "cogs.privacy",
    "cogs.automatic",
)
GATEWAY: Final = "gateway"
LEFT_GUILD_S: Final = 30 * DAY_S
"""How long a guild's settings outlast the bot's presence there, where it saw its end; in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What `/help` tells of the operator's settings."""

    max_audio_mb: float
    max_audio_minutes: float
    transcript_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What cogs work with; each takes what it uses. ``automatic`` allows what moderators can switch on in a channel."""

    desk: Desk
    reception: Reception
    dispatch: Dispatch
    watches: Watches
    answers: Deliveries
    policy: AccessPolicy
    fair_use: FairUse
    settings: SettingsStore
    audit: AuditLog
    requests: RequestLog
    deliveries: DeliveryLog
    transcripts: TranscriptStore
    privacy: Privacy
    modes: ModeSource
    health: Health
    limits: Limits
    automatic: bool = False


class EarshotBot(commands.Bot):
    """The bot's side of Discord."""

    def __init__(self, services: Services, *, proxy: str | None) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            # Guilds and channels alone: no messages, no members. Nothing is read that nobody asked for; where the
            # operator allows moderators to ask for it, messages of guilds too.
            intents=discord.Intents(guilds=True, guild_messages=services.automatic, message_content=services.automatic),
            allowed_mentions=discord.AllowedMentions.none(),
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            proxy=proxy,
        )
        self.services = services
        self.commands_shown = CommandSync(self, services.policy.allows)
        self._health = services.health
        self._presence: discord.CustomActivity | None = None
        self.tree.error(self._on_command_error)

    async def setup_hook(self) -> None:
        """Load the cogs; one that fails stops the start."""
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        self.add_dynamic_items(FilesMenu, RedoMenu)

    async def on_ready(self) -> None:
        """The gateway is there, for the first time or again after a long absence."""
        self._health.report(GATEWAY, State.OK)
        await self.show_load(read_only=self._presence is not None)
        if not self.stay.is_running():
            self.stay.start()
        await self.commands_shown.sync_everywhere()
        logger.info("ready: {} in {} guilds, commands are in sync", self.user, len(self.guilds))

    async def on_resumed(self) -> None:
        """The gateway is there again after a short absence."""
        self._health.report(GATEWAY, State.OK)

    async def on_disconnect(self) -> None:
        """The gateway is gone; discord.py connects again by itself."""
        self._health.report(GATEWAY, State.FAILED, "disconnected; connecting again")

    async def on_message(self, message: discord.Message, /) -> None:
        """Look for no commands in messages: the bot has slash commands alone."""

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Somebody invited the bot."""
        await self._keep_settings([guild.id])
        await self.commands_shown.sync_guild(guild.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Somebody sent the bot away: what was set there is kept for a while, should they think again."""
        with suppress(StoreUnavailable):
            await self.services.settings.expire(guild.id, within_s=LEFT_GUILD_S)

    @tasks.loop(hours=24)
    async def stay(self) -> None:
        """Day by day, see to it that settings stay in the guilds that the bot is in: those out of reach, too.

        What ends where this does not happen is what was set in guilds that were left while nobody was there to see it.
        """
        await self._keep_settings([guild.id for guild in self.guilds])

    async def _keep_settings(self, guild_ids: list[int]) -> None:
        with suppress(StoreUnavailable):  # they last for many days
            await self.services.settings.keep(guild_ids)

    async def close(self) -> None:
        """Leave Discord."""
        self.stay.cancel()
        await super().close()

    async def show_load(self, *, read_only: bool) -> None:
        """Tell in the bot's presence whether new work is taken."""
        self._presence = discord.CustomActivity(text("presence.read_only")) if read_only else None
        status = discord.Status.idle if read_only else discord.Status.online
        if self.is_ready() and not self.is_closed():
            with suppress(*UNDELIVERED):
                await self.change_presence(activity=self._presence, status=status)

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
        command_id, locale = str(interaction.id), str(interaction.locale)
        with logger.contextualize(request_id=command_id):
            logger.opt(exception=error).error("a command failed")
        reference = text("error.reference", locale, reference=reference_of(command_id))
        message = f"{text('error.unexpected', locale)}\n-# {reference}"
        with suppress(*UNDELIVERED):
            if interaction.response.is_done():
                await interaction.followup.send(message, ephemeral=True)
            else:
                await interaction.response.send_message(message, ephemeral=True)
