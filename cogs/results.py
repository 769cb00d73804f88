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
from bot.presentation.moderation import member_of
from bot.presentation.replies import Answer
from bot.presentation.results_page import result_line, result_names, results_answer
from bot.presentation.results_shelf import MAX_OPTIONS, ResultShelf, ResultsMenu

if TYPE_CHECKING:
    from bot.presentation.client import EarshotBot
    from bot.presentation.reception import Reception


@app_commands.guild_only()
class Results(commands.GroupCog, group_name="results", group_description=text("command.results")):
    """Lists, opens and deletes a member's own results in a guild."""

    def __init__(self, reception: Reception, shelf: ResultShelf) -> None:
        self._reception = reception
        self._shelf = shelf

    @app_commands.command(name="list", description=text("command.results.list"))
    async def list_all(self, interaction: discord.Interaction) -> None:
        """Show all, with a menu that opens the newest."""

        async def make() -> Answer:
            member, locale = member_of(interaction), str(interaction.locale)
            records = await self._shelf.of(member)
            answer = results_answer(records, await self._shelf.undelivered(member), locale=locale)
            return replace(answer, extra_items=(ResultsMenu(member.id, locale, records),)) if records else answer

        await self._reception.hand_over(interaction, make)

    @app_commands.command(description=text("command.results.get"))
    @app_commands.describe(result=text("option.results.result"))
    async def get(self, interaction: discord.Interaction, result: str) -> None:
        """Show one again."""

        async def make() -> Answer:
            return await self._shelf.open(member_of(interaction), result, str(interaction.locale))

        await self._reception.hand_over(interaction, make)

    @app_commands.command(description=text("command.results.delete"))
    @app_commands.describe(result=text("option.results.result"))
    async def delete(self, interaction: discord.Interaction, result: str) -> None:
        """Forget one."""

        async def make() -> Answer:
            locale = str(interaction.locale)
            record = await self._shelf.delete(member_of(interaction), result)
            return Answer(description=text("results.deleted", locale, name=result_line(record, locale)))

        await self._reception.hand_over(interaction, make)

    @get.autocomplete("result")
    @delete.autocomplete("result")
    async def complete_result(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Own results that fit what has been typed; none while the store is away."""
        try:
            records = await self._shelf.of(member_of(interaction))
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
