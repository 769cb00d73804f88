"""``/results``: what one has asked for before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands
from loguru import logger

from bot.core.errors import EarshotError
from bot.presentation.messages import text
from bot.presentation.requests import asker_of
from bot.presentation.results_page import deleted_answer, result_names, results_answer
from bot.presentation.results_shelf import MAX_OPTIONS, ResultShelf, ResultsMenu

if TYPE_CHECKING:
    from bot.presentation.client import EarshotBot
    from bot.presentation.reception import Reception
    from bot.presentation.replies import Answer


@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
@app_commands.allowed_installs(guilds=True, users=True)
class Results(commands.GroupCog, group_name="results", group_description=text("command.results")):
    """Lists, opens and deletes a member's own results."""

    def __init__(self, reception: Reception, shelf: ResultShelf) -> None:
        self._reception = reception
        self._shelf = shelf

    @app_commands.command(name="list", description=text("command.results.list"))
    async def list_all(self, interaction: discord.Interaction) -> None:
        """Show all, with a menu that opens the newest."""

        async def make() -> Answer:
            asker, locale = asker_of(interaction), str(interaction.locale)
            records = await self._shelf.of(asker)
            undelivered = await self._shelf.undelivered(asker)
            answer = results_answer(records, undelivered, outside=asker.guild_id is None, locale=locale)
            menu = ResultsMenu(str(asker.member_id), locale, records)
            return replace(answer, extra_items=(menu,)) if records else answer

        await self._reception.hand_over(interaction, make)

    @app_commands.command(description=text("command.results.get"))
    @app_commands.describe(result=text("option.results.result"))
    async def get(self, interaction: discord.Interaction, result: str) -> None:
        """Show one again."""

        async def make() -> Answer:
            return await self._shelf.open(asker_of(interaction), result, str(interaction.locale))

        await self._reception.hand_over(interaction, make)

    @app_commands.command(description=text("command.results.delete"))
    @app_commands.describe(result=text("option.results.result"))
    async def delete(self, interaction: discord.Interaction, result: str) -> None:
        """Forget one."""

        async def make() -> Answer:
            record = await self._shelf.delete(asker_of(interaction), result)
            return deleted_answer(record, locale=str(interaction.locale))

        await self._reception.hand_over(interaction, make)

    @get.autocomplete("result")
    @delete.autocomplete("result")
    async def complete_result(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Own results that fit what has been typed; none while the store is away."""
        try:
            records = await self._shelf.of(asker_of(interaction))
        except EarshotError as exc:
            logger.info("no results can be suggested: {}", exc)
            return []
        found = result_names(records, typed, str(interaction.locale), MAX_OPTIONS)
        return [app_commands.Choice(name=name, value=request_id) for name, request_id in found]


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    shelf = ResultShelf(services.requests, services.transcripts, services.deliveries)
    bot.add_dynamic_items(ResultsMenu)
    await bot.add_cog(Results(services.reception, shelf))
