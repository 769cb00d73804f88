"""Brings an answer to the member, also when the interaction's token has ended."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import discord
from loguru import logger

from bot.presentation.messages import text
from bot.presentation.views import result_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.modes import Mode
    from bot.presentation.replies import Answer, TextFile

TOKEN_LIFE_S: Final = 14 * 60
"""Seconds for which an interaction's token is trusted. Discord ends it after 15 minutes."""

INVALID_WEBHOOK_TOKEN: Final = 50_027
"""Discord's code for a token that has ended."""

COLOUR: Final = 0x5865F2
ERROR_COLOUR: Final = 0xED4245


class Placeholder:
    """The message that stands for an answer until it is there."""

    def __init__(self, interaction: discord.Interaction, *, private: bool, clock: Callable[[], float]) -> None:
        self.interaction = interaction
        self.private = private
        self._clock = clock
        self._made = clock()
        self.message: discord.InteractionMessage | None = None

    @property
    def token_ended(self) -> bool:
        """Whether the answer needs a message of its own."""
        return self._clock() - self._made > TOKEN_LIFE_S

    async def show(self, embed: discord.Embed) -> None:
        """Show progress, while it can be shown."""
        if not self.token_ended:
            self.message = await self.interaction.edit_original_response(embed=embed)


class Courier:
    """Delivers answers."""

    def __init__(self, modes: Callable[[], tuple[Mode, ...]]) -> None:
        self._modes = modes

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> None:
        """Show ``answer`` in the placeholder, or in a new message where its token has ended.

        Args:
            placeholder: where the member waits.
            answer: what to show.
            nonce: at most 25 characters; Discord refuses a second message with it.
        """
        interaction = placeholder.interaction
        locale = str(interaction.locale)
        embed = answer_embed(answer)
        files = _attachable(answer, embed, interaction.filesize_limit, locale)
        view = result_view(answer, self._modes(), locale) or discord.utils.MISSING
        if not placeholder.token_ended:
            try:
                await interaction.edit_original_response(embed=embed, attachments=_discord_files(files), view=view)
            except discord.NotFound:
                logger.info("the placeholder is gone: its member deleted it")
                return
            except discord.HTTPException as exc:
                if exc.code != INVALID_WEBHOOK_TOKEN:
                    raise
            else:
                return
        await self._send_anew(placeholder, embed, files, view, nonce)

    async def _send_anew(
        self, placeholder: Placeholder, embed: discord.Embed, files: tuple[TextFile, ...], view: Any, nonce: str
    ) -> None:
        member, channel = placeholder.interaction.user, placeholder.interaction.channel
        if not placeholder.private and isinstance(channel, discord.abc.Messageable):
            reference: Any = discord.utils.MISSING
            if placeholder.message is not None:
                reference = placeholder.message.to_reference(fail_if_not_exists=False)
            # The one ping there is: the member has waited for over a quarter of an hour.
            mentions = discord.AllowedMentions(users=[member], replied_user=False)
            try:
                await channel.send(
                    member.mention,
                    embed=embed,
                    files=_discord_files(files),
                    view=view,
                    nonce=nonce,
                    reference=reference,
                    allowed_mentions=mentions,
                )
            except discord.Forbidden:
                logger.info("may not write into the channel: the answer goes to the member's direct messages")
            else:
                return
        try:
            await member.send(embed=embed, files=_discord_files(files), view=view, nonce=nonce)
        except discord.Forbidden:
            logger.warning("the member takes no direct messages: the answer could not be delivered")


def answer_embed(answer: Answer) -> discord.Embed:
    """An answer as an embed."""
    embed = discord.Embed(
        title=answer.title, description=answer.description, colour=ERROR_COLOUR if answer.is_error else COLOUR
    )
    for field in answer.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if answer.footer:
        embed.set_footer(text=answer.footer)
    return embed


def _attachable(answer: Answer, embed: discord.Embed, limit: int, locale: str) -> tuple[TextFile, ...]:
    """The files that may be uploaded; the embed says where one may not."""
    files = tuple(file for file in answer.files if len(file.content) <= limit)
    if len(files) < len(answer.files):
        embed.add_field(name="\u200b", value=text("result.too_large_to_attach", locale), inline=False)
    return files


def _discord_files(files: tuple[TextFile, ...]) -> list[discord.File]:
    return [discord.File(io.BytesIO(file.content), filename=file.name) for file in files]
