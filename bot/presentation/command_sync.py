"""Keeps the commands that Discord shows equal to those of the command tree.

Slash commands are guild commands, as they appear at once; message commands are global, as the answer to them can be
wanted anywhere. So are the slash commands that users need outside guilds, where they may use the bot there. The tree
holds all as global ones and finds them by name in either scope, so this is the one place that knows about scopes.

Discord allows 200 creations a day in a guild: where nothing changed, nothing is written, and where something did, one
bulk overwrite edits commands of the same name rather than creating them anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from loguru import logger

from bot.presentation.network import UNDELIVERED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discord.ext import commands

_AnyCommand = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu

_ONLY_GLOBAL: Final = ("contexts", "integration_types", "dm_permission")
_DEFAULTS: Final[Mapping[str, object]] = {
    "type": 1,
    "description": "",
    "nsfw": False,
    "default_member_permissions": None,
    "name_localizations": None,
    "description_localizations": None,
}
_OPTION_DEFAULTS: Final[Mapping[str, object]] = {
    "required": False,
    "autocomplete": False,
    "name_localizations": None,
    "description_localizations": None,
}


class CommandSync:
    """Compares, and writes where something differs.

    Args:
        bot: whose commands they are.
        allows: says which guilds may use them, the others are shown none; and whether users may outside guilds (None).
    """

    def __init__(
        self, bot: commands.Bot, allows: Callable[[int | None], bool] = lambda guild: guild is not None
    ) -> None:
        self._bot = bot
        self._allows = allows
        self._ids: dict[int | None, dict[str, int]] = {}

    def mention(self, guild_id: int | None, name: str) -> str:
        """A command as a link that can be clicked; as plain text where its id is not known."""
        command_id = (self._ids.get(None, {}) | self._ids.get(guild_id, {})).get(name)
        return f"</{name}:{command_id}>" if command_id else f"`/{name}`"

    async def sync_everywhere(self) -> None:
        """Bring the global scope and all guilds up to date."""
        await self.sync_global()
        for guild in self._bot.guilds:
            await self.sync_guild(guild.id)

    async def sync_global(self) -> None:
        """Bring the global commands up to date."""
        http, application = self._bot.http, self._application_id
        wanted = self.payloads(in_guilds=False)
        try:
            there = await http.get_global_commands(application)
            if differ(wanted, there):
                there = await http.bulk_upsert_global_commands(application, wanted)
                logger.info("{} global commands written", len(wanted))
            self._ids[None] = {command["name"]: int(command["id"]) for command in there}
        except UNDELIVERED as exc:
            logger.error("the global commands could not be brought up to date: {!r}", exc)

    async def sync_guild(self, guild_id: int) -> None:
        """Bring a guild's slash commands up to date."""
        http, application = self._bot.http, self._application_id
        wanted = self.payloads(in_guilds=True) if self._allows(guild_id) else []
        try:
            there = await http.get_guild_commands(application, guild_id)
            if differ(wanted, there):
                there = await http.bulk_upsert_guild_commands(application, guild_id, wanted)
                logger.info("{} commands written for guild {}", len(wanted), guild_id)
        except discord.Forbidden:
            logger.error(
                "guild {} does not let me have commands: invite me again with the scope applications.commands", guild_id
            )
            return
        except UNDELIVERED as exc:
            # One guild's trouble, such as its daily limit of new commands, is not the others'.
            logger.error("the commands of guild {} could not be brought up to date: {!r}", guild_id, exc)
            return
        self._ids[guild_id] = {command["name"]: int(command["id"]) for command in there}

    @property
    def _application_id(self) -> int:
        assert self._bot.application_id is not None
        return self._bot.application_id

    def payloads(self, *, in_guilds: bool) -> list[Any]:
        """The commands as a guild gets them, or those that are registered globally."""
        tree = self._bot.tree
        chosen = [command.to_dict(tree) for command in tree.get_commands() if self._is_global(command) is not in_guilds]
        if in_guilds:
            chosen = [{key: value for key, value in c.items() if key not in _ONLY_GLOBAL} for c in chosen]
        return chosen

    def _is_global(self, command: _AnyCommand) -> bool:
        if isinstance(command, app_commands.ContextMenu):
            return True
        where = command.allowed_contexts
        return self._allows(None) and where is not None and bool(where.dm_channel)


def differ(wanted: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Discord has other commands than those that are wanted."""

    def by_name(commands: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], dict[str, Any]]:
        return {(command.get("type", 1), command["name"]): _comparable(command) for command in commands}

    return by_name(wanted) != by_name(there)


def _comparable(command: Mapping[str, Any]) -> dict[str, Any]:
    """What matters of a command, with Discord's defaults filled in and what Discord adds left out."""
    plain = {key: command.get(key, default) or default for key, default in _DEFAULTS.items()}
    permissions = plain["default_member_permissions"]
    return {
        **plain,
        "name": command["name"],
        "default_member_permissions": None if permissions is None else str(permissions),
        "contexts": sorted(command.get("contexts") or ()),
        "integration_types": sorted(command.get("integration_types") or ()),
        "options": [_comparable_option(option) for option in command.get("options") or ()],
    }


def _comparable_option(option: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in option.items() if value not in (None, [], {})}
    return {
        **_OPTION_DEFAULTS,
        **kept,
        "options": [_comparable_option(inner) for inner in option.get("options") or ()],
        "choices": [
            {key: value for key, value in choice.items() if value is not None} for choice in option.get("choices") or ()
        ],
    }
