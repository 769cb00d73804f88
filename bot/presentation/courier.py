"""Brings an answer to the member, also when the interaction's token has ended."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import discord
import stamina
from loguru import logger

from bot.presentation.messages import text
from bot.presentation.network import NETWORK, UNDELIVERED
from bot.presentation.views import result_view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.modes import Mode
    from bot.presentation.replies import Answer, TextFile

T = TypeVar("T")

TOKEN_LIFE_S: Final = 14 * 60
"""Seconds for which an interaction's token is trusted. Discord ends it after 15 minutes."""

COLOUR: Final = 0x5865F2
ERROR_COLOUR: Final = 0xED4245

_UNKNOWN_MESSAGE: Final = 10_008
_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.5


class Placeholder:
    """The message that stands for an answer until it is there."""

    def __init__(self, interaction: discord.Interaction, *, private: bool, clock: Callable[[], float]) -> None:
        self.interaction = interaction
        self.private = private
        self.locale = str(interaction.locale)
        self.message: discord.InteractionMessage | None = None
        self._clock = clock
        self._made = clock()

    @property
    def token_ended(self) -> bool:
        """Whether the answer needs a message of its own."""
        return self._clock() - self._made > TOKEN_LIFE_S

    async def show(self, embed: discord.Embed) -> None:
        """Show progress, while it can be shown."""
        if not self.token_ended:
            self.message = await self.interaction.edit_original_response(embed=embed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    """An answer, packed for Discord. Files are opened anew for each attempt to send them."""

    embed: discord.Embed
    view: Any  # a View, or MISSING
    nonce: str
    _files: tuple[TextFile, ...]

    @property
    def files(self) -> list[discord.File]:
        return [discord.File(io.BytesIO(file.content), filename=file.name) for file in self._files]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An answer that arrived; ``url`` leads to it, None where nobody but its member sees it."""

    url: str | None


class Courier:
    """Delivers answers: in the placeholder, else in the channel, else by direct message."""

    def __init__(self, modes: Callable[[], tuple[Mode, ...]]) -> None:
        self._modes = modes

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> Arrival | None:
        """Show ``answer`` in the first way that works; None, and a line in the log, where none does.

        Args:
            placeholder: where the member waits.
            answer: what to show.
            nonce: at most 25 characters; Discord refuses a second message with it.
        """
        parcel = self._packed(answer, placeholder, nonce)
        for way in (_in_place, _in_channel, _in_person):
            try:
                if (arrival := await way(placeholder, parcel)) is not None:
                    return arrival
            except UNDELIVERED as exc:
                logger.warning("could not deliver {}: {!r}", way.__name__.removeprefix("_").replace("_", " "), exc)
        logger.error("the answer could not be delivered in any way")
        return None

    def _packed(self, answer: Answer, placeholder: Placeholder, nonce: str) -> _Parcel:
        embed = answer_embed(answer)
        files = tuple(file for file in answer.files if len(file.content) <= placeholder.interaction.filesize_limit)
        if len(files) < len(answer.files):
            embed.add_field(name="\u200b", value=text("result.too_large_to_attach", placeholder.locale), inline=False)
        view = result_view(answer, self._modes(), placeholder.locale) or discord.utils.MISSING
        return _Parcel(embed=embed, view=view, nonce=nonce, _files=files)


async def _in_place(placeholder: Placeholder, parcel: _Parcel) -> Arrival | None:
    """Edit the placeholder: doing it twice is harmless."""
    if placeholder.token_ended:
        return None
    edit = placeholder.interaction.edit_original_response
    try:
        message = await _tried(lambda: edit(embed=parcel.embed, attachments=parcel.files, view=parcel.view))
    except discord.NotFound as exc:
        # Anything else that is not found is the webhook: the token has ended before its time.
        if exc.code != _UNKNOWN_MESSAGE:
            raise
        logger.info("the placeholder was deleted: nobody waits for the answer")
        return Arrival(url=None)
    return Arrival(url=None if placeholder.private else message.jump_url)


async def _in_channel(placeholder: Placeholder, parcel: _Parcel) -> Arrival | None:
    """Write a new message where the command was used."""
    member, channel = placeholder.interaction.user, placeholder.interaction.channel
    if placeholder.private or not isinstance(channel, discord.abc.Messageable):
        return None
    reference: Any = discord.utils.MISSING
    if placeholder.message is not None:
        reference = placeholder.message.to_reference(fail_if_not_exists=False)
    message = await _tried(
        lambda: channel.send(
            member.mention,
            embed=parcel.embed,
            files=parcel.files,
            view=parcel.view,
            nonce=parcel.nonce,
            reference=reference,
            # The one ping there is: the member has waited for over a quarter of an hour.
            allowed_mentions=discord.AllowedMentions(everyone=False, users=[member], roles=False, replied_user=False),
        )
    )
    if placeholder.message is not None and isinstance(channel, discord.TextChannel | discord.VoiceChannel):
        below = discord.Embed(description=text("progress.see_below", placeholder.locale))
        with suppress(*UNDELIVERED):
            await channel.get_partial_message(placeholder.message.id).edit(embed=below)
    return Arrival(url=message.jump_url)


async def _in_person(placeholder: Placeholder, parcel: _Parcel) -> Arrival | None:
    """Write to the member directly."""
    member = placeholder.interaction.user
    await _tried(lambda: member.send(embed=parcel.embed, files=parcel.files, view=parcel.view, nonce=parcel.nonce))
    return Arrival(url=None)


async def _tried(send: Callable[[], Awaitable[T]]) -> T:
    """Send, and again where the network or Discord failed; what is sent may be sent twice without harm."""
    failures = (discord.DiscordServerError, *NETWORK)
    async for attempt in stamina.retry_context(on=failures, attempts=_TRIES, timeout=None, wait_initial=_FIRST_WAIT_S):
        with attempt:
            return await send()
    raise AssertionError("retrying ends with a result or an error")


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
