"""``/settings``: what moderators decide for their guild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.ext import commands

from bot.presentation import automatic
from bot.presentation import settings_changes as changes
from bot.presentation.messages import text
from bot.presentation.mode_commands import complete_language
from bot.presentation.settings_editor import TO_POST, SettingsEditor, rights_missing
from bot.presentation.settings_page import AUDIT_ENTRIES, audit_answer, settings_answer

if TYPE_CHECKING:
    from bot.core.ports import AuditLog, ModeSource
    from bot.core.records import GuildSettings
    from bot.presentation.client import EarshotBot
    from bot.presentation.replies import Answer

_MAX_CHOICES: Final = 25

_Written = discord.TextChannel | discord.VoiceChannel
"""Channels in which voice messages are posted."""


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Settings(commands.GroupCog, group_name="settings", group_description=text("command.settings")):
    """Each command makes one change; every change is in the audit log."""

    def __init__(self, editor: SettingsEditor, audit: AuditLog, modes: ModeSource, operator: changes.Operator) -> None:
        self._editor = editor
        self._audit = audit
        self._modes = modes
        self._operator = operator

    @app_commands.command(description=text("command.settings.show"))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show all settings."""
        locale = str(interaction.locale)

        async def page(settings: GuildSettings) -> Answer:
            return settings_answer(settings, self._operator, locale=locale)

        await self._editor.show(interaction, page)

    @app_commands.command(description=text("command.settings.audit"))
    async def audit(self, interaction: discord.Interaction) -> None:
        """Show the last changes."""
        locale = str(interaction.locale)

        async def page(settings: GuildSettings) -> Answer:
            return audit_answer(await self._audit.entries(settings.guild_id, AUDIT_ENTRIES), locale=locale)

        await self._editor.show(interaction, page)

    @app_commands.command(description=text("command.settings.mode"))
    @app_commands.describe(mode=text("option.settings.mode"))
    async def mode(self, interaction: discord.Interaction, mode: str) -> None:
        """Set the default mode."""
        await self._editor.change(interaction, changes.mode_change(mode, self._modes.current()))

    @mode.autocomplete("mode")
    async def complete_mode(self, _interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Modes that fit what has been typed."""
        wanted = typed.casefold().strip()
        found = [m for m in self._modes.current().values() if wanted in f"{m.id} {m.title}".casefold()]
        return [app_commands.Choice(name=m.title, value=m.id) for m in found[:_MAX_CHOICES]]

    @app_commands.command(description=text("command.settings.language"))
    @app_commands.describe(language=text("option.settings.language"))
    @app_commands.autocomplete(language=complete_language)
    async def language(self, interaction: discord.Interaction, language: str) -> None:
        """Set the language."""
        await self._editor.change(interaction, changes.language_change(language))

    @app_commands.command(description=text("command.settings.roles"))
    @app_commands.describe(moderators=text("option.settings.moderators"))
    async def roles(self, interaction: discord.Interaction, moderators: discord.Role) -> None:
        """Set the moderator role."""
        notes = [text("settings.show_commands", str(interaction.locale))]
        await self._editor.change(interaction, changes.moderator_role_change(moderators.id), notes=notes)

    @app_commands.command(description=text("command.settings.channels"))
    @app_commands.describe(
        moderators=text("option.settings.moderators_channel"), announcements=text("option.settings.announcements")
    )
    async def channels(
        self,
        interaction: discord.Interaction,
        moderators: discord.TextChannel | None = None,
        announcements: discord.TextChannel | None = None,
    ) -> None:
        """Set the channels in which the bot speaks up by itself."""
        given = [channel for channel in (moderators, announcements) if channel is not None]
        notes = [note for channel in given for note in rights_missing(channel, TO_POST, str(interaction.locale))]
        change = changes.channels_change(moderators and moderators.id, announcements and announcements.id)
        await self._editor.change(interaction, change, notes=notes)

    @app_commands.command(description=text("command.settings.limits"))
    @app_commands.describe(
        per_hour=text("option.settings.per_hour"),
        burst=text("option.settings.burst"),
        daily=text("option.settings.daily"),
    )
    async def limits(
        self,
        interaction: discord.Interaction,
        per_hour: app_commands.Range[float, 0.1, 10_000.0] | None = None,
        burst: app_commands.Range[int, 1, 1_000] | None = None,
        daily: app_commands.Range[int, 1, 1_000_000] | None = None,
    ) -> None:
        """Set what members may use."""
        await self._editor.change(
            interaction, changes.limits_change(per_hour, burst, daily, self._operator.fair_use.caps)
        )

    @app_commands.command(description=text("command.settings.tier"))
    @app_commands.describe(
        role=text("option.settings.role"),
        per_hour=text("option.settings.per_hour"),
        burst=text("option.settings.burst"),
    )
    async def tier(
        self,
        interaction: discord.Interaction,
        role: discord.Role,
        per_hour: app_commands.Range[float, 0.1, 10_000.0] | None = None,
        burst: app_commands.Range[int, 1, 1_000] | None = None,
    ) -> None:
        """Set what the holders of a role may use."""
        await self._editor.change(interaction, changes.tier_change(role.id, per_hour, burst, self._operator))

    @app_commands.command(description=text("command.settings.retention"))
    @app_commands.describe(days=text("option.settings.days"))
    async def retention(self, interaction: discord.Interaction, days: app_commands.Range[float, 0.05, 3_650.0]) -> None:
        """Set for how long transcripts and results are kept."""
        change = changes.retention_change(days, self._operator.transcript_days)
        await self._editor.change(interaction, change, notes=[text("settings.from_now_on", str(interaction.locale))])

    @app_commands.command(name="voice-messages", description=text("command.settings.voice_messages"))
    @app_commands.describe(channel=text("option.settings.channel"), on=text("option.settings.on"))
    async def voice_messages(self, interaction: discord.Interaction, channel: _Written, on: bool) -> None:
        """Set whether voice messages in a channel are written down by themselves."""
        locale, notes = str(interaction.locale), list[str]()
        if on:
            speakers_pay = text("settings.speakers_pay", locale, refused=automatic.REFUSED)
            notes = [*rights_missing(channel, automatic.rights_in(channel), locale), speakers_pay]
        change = changes.voice_messages_change(channel.id, on=on, automatic_allowed=self._operator.automatic_allowed)
        await self._editor.change(interaction, change, notes=notes)

    @app_commands.command(description=text("command.settings.reset"))
    @app_commands.describe(setting=text("option.settings.setting"))
    @app_commands.choices(
        setting=[app_commands.Choice(name=text(f"setting.{name}"), value=name) for name in changes.RESETTABLE]
    )
    async def reset(self, interaction: discord.Interaction, setting: str) -> None:
        """Set one setting back to the operator's."""
        await self._editor.change(interaction, changes.reset_change(setting))


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    operator = changes.Operator(
        fair_use=services.fair_use,
        transcript_days=services.limits.transcript_days,
        automatic_allowed=services.automatic,
    )
    editor = SettingsEditor(services.settings, services.reception)
    await bot.add_cog(Settings(editor, services.audit, services.modes, operator))
