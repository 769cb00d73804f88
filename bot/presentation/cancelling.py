"""The button below a request that is under way: whoever asked, or a moderator, stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from loguru import logger

from bot.core.errors import EarshotError, NotAllowed, reference_of
from bot.core.records import RequestState
from bot.presentation.courier import answer_embed
from bot.presentation.moderation import is_moderator
from bot.presentation.network import UNDELIVERED
from bot.presentation.replies import error_answer

if TYPE_CHECKING:
    from bot.core.dispatch import Dispatch
    from bot.core.ports import RequestLog, SettingsStore
    from bot.core.records import RequestRecord


class NotYoursToCancel(NotAllowed):
    """Somebody else's request."""

    key = "error.not_yours_to_cancel"


class Cancelling:
    """Stops requests.

    Args:
        dispatch: stops them, wherever they are.
        requests: knows whose they are.
        settings: name the moderators.
    """

    def __init__(self, dispatch: Dispatch, requests: RequestLog, settings: SettingsStore) -> None:
        self._dispatch = dispatch
        self._requests = requests
        self._settings = settings

    async def press(self, interaction: discord.Interaction[Any], request_id: str) -> None:
        """Stop a request; whoever may not is told alone, and where it has ended already, so it has.

        The message is left to the answer, which says that it was cancelled: two edits at a time may come in any order.
        """
        with logger.contextualize(request_id=request_id):
            try:
                await interaction.response.defer()
                try:
                    await self._cancel(interaction, request_id)
                except EarshotError as exc:
                    logger.info("not cancelled: {}: {}", exc.key, exc.detail)
                    answer = error_answer(exc, reference=reference_of(request_id), locale=str(interaction.locale))
                    await interaction.followup.send(embed=answer_embed(answer), ephemeral=True)
            except UNDELIVERED as exc:
                logger.warning("a cancellation could not be answered: {!r}", exc)

    async def _cancel(self, interaction: discord.Interaction[Any], request_id: str) -> None:
        record = await self._requests.get(request_id)
        await self._check(interaction, record)
        if record.state is RequestState.RUNNING:
            await self._dispatch.cancel(record)

    async def _check(self, interaction: discord.Interaction[Any], record: RequestRecord) -> None:
        """Let the member pass who asked, or a moderator of the guild where they did.

        Raises:
            NotYoursToCancel: it is somebody else.
            StoreUnavailable: nobody can tell now.
        """
        member = interaction.user
        if member.id == record.member_id:
            return
        if not isinstance(member, discord.Member) or member.guild.id != record.guild_id:
            raise NotYoursToCancel
        if not await is_moderator(member, self._settings):
            raise NotYoursToCancel
