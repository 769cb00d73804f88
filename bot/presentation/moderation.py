"""Who may do what, and where. Discord hides commands from some; what counts is checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord

from bot.core.errors import NotAllowed

if TYPE_CHECKING:
    from bot.core.ports import SettingsStore


class ServerNotAllowed(NotAllowed):
    """The operator does not let this guild use the bot."""

    key = "error.server_not_allowed"


class NotOutside(NotAllowed):
    """The operator does not let users bring the bot along to where it is not a member."""

    key = "error.not_outside"


class NotModerator(NotAllowed):
    """Only moderators may do that."""

    key = "error.not_moderator"


class OnlyOnServers(NotAllowed):
    """It has no meaning outside a guild."""

    key = "error.only_on_servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Where the operator lets the bot be used: no ``allowed_guilds`` are all guilds that it is in."""

    allowed_guilds: frozenset[int] = frozenset()
    allow_user_install: bool = False

    def allows(self, guild_id: int | None) -> bool:
        """Whether it may be used in a guild that it is in; None is everywhere else."""
        if guild_id is None:
            return self.allow_user_install
        return not self.allowed_guilds or guild_id in self.allowed_guilds

    def check(self, interaction: discord.Interaction[Any]) -> None:
        """Let an interaction pass.

        Raises:
            ServerNotAllowed, NotOutside: it comes from where the bot may not be used.
        """
        inside = interaction.guild_id is not None and interaction.is_guild_integration()
        if not self.allows(interaction.guild_id if inside else None):
            raise ServerNotAllowed if inside else NotOutside


async def is_moderator(member: discord.Member, settings: SettingsStore) -> bool:
    """Whether somebody may manage the bot in their guild: by Discord's permissions, or by the guild's moderator role.

    The permissions are those of the guild; what a channel allows or denies on top changes nothing.

    Raises:
        StoreUnavailable: they have no such permission, and the role cannot be looked up.
    """
    may = member.guild_permissions
    if may.administrator or may.manage_guild:
        return True
    return (await settings.look_up(member.guild.id)).moderator_role_id in {role.id for role in member.roles}


def member_of(interaction: discord.Interaction[Any]) -> discord.Member:
    """Who used a command in a guild.

    Raises:
        OnlyOnServers: it was used elsewhere.
    """
    member = interaction.user
    if interaction.guild_id is None or not isinstance(member, discord.Member):
        raise OnlyOnServers
    return member


async def require_moderator(interaction: discord.Interaction[Any], settings: SettingsStore) -> discord.Member:
    """Who used a command in a guild, if they are a moderator of it.

    Raises:
        NotModerator, OnlyOnServers: it is somebody else, or elsewhere.
        StoreUnavailable: nobody can tell now.
    """
    member = member_of(interaction)
    if not await is_moderator(member, settings):
        raise NotModerator
    return member
