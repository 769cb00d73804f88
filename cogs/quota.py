"""``/quota``: what one may use, and, for moderators, what others may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.core.models import Asker
from bot.core.records import AuditEntry
from bot.presentation.messages import text
from bot.presentation.moderation import member_of, require_moderator
from bot.presentation.quota_page import quota_answer
from bot.presentation.requests import asker_of

if TYPE_CHECKING:
    from bot.core.fair_use import FairUse
    from bot.core.ports import AuditLog, ModeSource, SettingsStore
    from bot.presentation.client import EarshotBot
    from bot.presentation.reception import Reception
    from bot.presentation.replies import Answer


class Quota(commands.Cog):
    """Looks into buckets, and fills them."""

    def __init__(
        self,
        reception: Reception,
        fair_use: FairUse,
        modes: ModeSource,
        *,
        settings: SettingsStore,
        audit: AuditLog,
    ) -> None:
        self._reception = reception
        self._fair_use = fair_use
        self._modes = modes
        self._settings = settings
        self._audit = audit

    @app_commands.command(description=text("command.quota"))
    @app_commands.describe(member=text("option.quota.member"), reset=text("option.quota.reset"))
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.allowed_installs(guilds=True, users=True)
    async def quota(
        self,
        interaction: discord.Interaction,
        member: discord.User | discord.Member | None = None,
        reset: bool = False,
    ) -> None:
        """Show a bucket, which a moderator may have filled first."""

        async def make() -> Answer:
            whose = member or interaction.user
            is_other = whose.id != interaction.user.id
            if is_other or reset:
                await require_moderator(interaction, self._settings)
            asker = asker_as(whose, interaction) if is_other else asker_of(interaction)
            if reset:
                await self._reset(interaction, asker)
            return quota_answer(
                await self._fair_use.quota(asker),
                self._modes.current().values(),
                locale=str(interaction.locale),
                outside=asker.guild_id is None,
                of_member=whose.id if is_other else None,
                was_reset=reset,
            )

        await self._reception.hand_over(interaction, make)

    async def _reset(self, interaction: discord.Interaction, asker: Asker) -> None:
        guild_id = member_of(interaction).guild.id
        entry = AuditEntry(
            guild_id=guild_id,
            at=interaction.created_at.timestamp(),
            who=interaction.user.id,
            what="quota.reset",
            after=f"<@{asker.member_id}>",
        )
        # Noted first: what nobody can read about afterwards is not done.
        await self._audit.note(entry)
        await self._fair_use.reset(asker)


def asker_as(user: discord.User | discord.Member, interaction: discord.Interaction) -> Asker:
    """Somebody else, as if they asked where a moderator asks about them."""
    roles = frozenset(role.id for role in user.roles) if isinstance(user, discord.Member) else frozenset[int]()
    return Asker(guild_id=interaction.guild_id, channel_id=interaction.channel_id, member_id=user.id, role_ids=roles)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    await bot.add_cog(
        Quota(services.reception, services.fair_use, services.modes, settings=services.settings, audit=services.audit)
    )
