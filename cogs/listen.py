"""Commands that listen: ``/transcribe``, one command for each mode, the two on messages, and the button for a retry."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot.core.routing import AUTO
from bot.presentation.messages import text
from bot.presentation.mode_commands import mode_command, transcribe_command
from bot.presentation.requests import Ask, source_of_message
from bot.presentation.retry import Retries
from bot.presentation.upgrades import EVERY_S, Upgrades
from bot.presentation.views import RetryButton

if TYPE_CHECKING:
    from bot.core.models import AudioLink
    from bot.core.ports import ModeSource
    from bot.presentation.client import EarshotBot
    from bot.presentation.courier import PartialAnswer
    from bot.presentation.reception import Reception


_GRACE_S: Final = 5.0
"""Seconds for which those who pressed a button are told that it ends."""

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


class Retry(commands.Cog):
    """Makes again what could not be made as it was asked for: where somebody presses the button, and by itself."""

    def __init__(self, retries: Retries, upgrades: Upgrades) -> None:
        self._retries = retries
        self._upgrades = upgrades

    async def cog_load(self) -> None:
        """Begin to look."""
        self.look.start()

    async def cog_unload(self) -> None:
        """End what is under way."""
        task = self.look.get_task()
        self.look.cancel()
        await self._retries.aclose(within_s=_GRACE_S)
        if task is not None:
            await asyncio.wait({task})

    @commands.Cog.listener()
    async def on_retry(self, interaction: discord.Interaction[Any], request_id: str) -> None:
        """Somebody pressed the button."""
        await self._retries.press(interaction, request_id)

    @commands.Cog.listener()
    async def on_partial_answer(self, answer: PartialAnswer) -> None:
        """An answer arrived of which more can be made."""
        await self._upgrades.remember(answer)

    @tasks.loop(seconds=EVERY_S)
    async def look(self) -> None:
        """See whether a language model answers again."""
        await self._upgrades.look()


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    everywhere = services.policy.allow_user_install
    await bot.add_cog(Listen(bot.tree, services.reception, services.modes, everywhere=everywhere))

    def new_id() -> str:
        return secrets.token_hex(8)

    desk, requests, modes = services.desk, services.requests, services.modes
    upgrades = Upgrades(desk, requests, modes, clock=time.monotonic, new_id=new_id)
    retries = Retries(desk, requests, services.settings, services.policy, modes, upgrades, new_id=new_id)
    bot.add_dynamic_items(RetryButton)
    await bot.add_cog(Retry(retries, upgrades))
