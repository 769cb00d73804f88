"""Commands that listen: ``/transcribe``, one command for each mode, and the two on messages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.ext import commands

from bot.core.routing import AUTO
from bot.presentation.messages import text
from bot.presentation.mode_commands import mode_command, transcribe_command
from bot.presentation.requests import Ask, source_of_message

if TYPE_CHECKING:
    from bot.core.models import AudioLink
    from bot.core.ports import ModeSource
    from bot.presentation.client import EarshotBot
    from bot.presentation.reception import Reception


_ANYWHERE: Final = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
_ANYBODY: Final = app_commands.AppInstallationType(guild=True, user=True)


class Listen(commands.Cog):
    """Adds the commands on loading and takes them away on unloading."""

    def __init__(
        self, tree: app_commands.CommandTree, reception: Reception, modes: ModeSource, *, everywhere: bool
    ) -> None:
        self._tree = tree
        self._reception = reception
        menu = partial(
            app_commands.ContextMenu,
            allowed_contexts=_ANYWHERE if everywhere else None,
            allowed_installs=_ANYBODY if everywhere else None,
        )
        self._commands = [
            transcribe_command(reception),
            *(mode_command(mode, reception) for mode in modes.current().values()),
            menu(name=text("menu.command.summarise"), callback=self._summarise),
            menu(name=text("menu.command.transcribe"), callback=self._transcribe),
        ]

    async def cog_load(self) -> None:
        """Add the commands."""
        for command in self._commands:
            self._tree.add_command(command)

    async def cog_unload(self) -> None:
        """Take the commands away."""
        for command in self._commands:
            kind = command.type if isinstance(command, app_commands.ContextMenu) else discord.AppCommandType.chat_input
            self._tree.remove_command(command.name, type=kind)

    async def _summarise(self, interaction: discord.Interaction, message: discord.Message) -> None:
        await self._on_message(interaction, message, AUTO)

    async def _transcribe(self, interaction: discord.Interaction, message: discord.Message) -> None:
        await self._on_message(interaction, message, None)

    async def _on_message(self, interaction: discord.Interaction, message: discord.Message, mode: str | None) -> None:
        async def find() -> AudioLink:
            return source_of_message(message)

        await self._reception.listen(interaction, find, Ask(mode=mode))


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    everywhere = services.policy.allow_user_install
    await bot.add_cog(Listen(bot.tree, services.reception, services.modes, everywhere=everywhere))
