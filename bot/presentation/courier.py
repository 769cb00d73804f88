"""Brings an answer to the member, also when the interaction's token has ended."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import discord
import stamina
from loguru import logger

from bot.presentation.messages import text
from bot.presentation.network import NETWORK, UNDELIVERED
from bot.presentation.replies import CONTINUED
from bot.presentation.views import result_view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from bot.core.models import Reply
    from bot.core.modes import Mode
    from bot.presentation.replies import Answer, TextFile

    Way = Callable[["Placeholder", "Parcel"], Awaitable["Arrival | None"]]

T = TypeVar("T")

TOKEN_LIFE_S: Final = 14 * 60
"""Seconds for which an interaction's token is trusted. Discord ends it after 15 minutes."""

COLOUR: Final = 0x5865F2
ERROR_COLOUR: Final = 0xED4245

_IN_GUILDS: Final = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel, discord.Thread)
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
class Parcel:
    """An answer, packed for Discord. Files are opened anew for each attempt to send them."""

    embed: discord.Embed
    view: Any  # a View, or MISSING
    _files: tuple[TextFile, ...]

    @classmethod
    def of(cls, answer: Answer, modes: Iterable[Mode], *, limit: int, locale: str) -> Parcel:
        """Pack ``answer``; ``limit`` is that of a file, in bytes."""
        embed = answer_embed(answer)
        files = tuple(file for file in answer.files if len(file.content) <= limit)
        if len(files) < len(answer.files):
            embed.add_field(name=CONTINUED, value=text("result.too_large_to_attach", locale), inline=False)
        view = result_view(answer, tuple(modes), locale) or discord.utils.MISSING
        return cls(embed=embed, view=view, _files=files)

    @property
    def files(self) -> list[discord.File]:
        """What is attached."""
        return [discord.File(io.BytesIO(file.content), filename=file.name) for file in self._files]

    async def put_in(self, edit: Callable[..., Awaitable[T]]) -> T:
        """Put it in a message's place, by the ``edit`` of that; doing it twice is harmless."""
        return await _tried(lambda: edit(embed=self.embed, attachments=self.files, view=self.view))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An answer that arrived; ``url`` leads to it, None where nobody but its member sees it."""

    url: str | None
    message_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialAnswer:
    """An answer of which more can be made, in a channel; ``limit`` is that of a file there, in bytes."""

    reply: Reply
    message: discord.PartialMessage
    locale: str
    limit: int


class Courier:
    """Delivers answers: in the placeholder, else in the channel, else by direct message.

    Of those that are incomplete, where others see them too, it tells the client by an event, ``partial_answer``.
    """

    def __init__(self, modes: Callable[[], tuple[Mode, ...]]) -> None:
        self._modes = modes

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> Arrival | None:
        """Show ``answer`` in the first way that works; None, and a line in the log, where none does.

        Args:
            placeholder: where the member waits.
            answer: what to show.
            nonce: at most 25 characters; Discord refuses a second message with it.
        """
        limit = placeholder.interaction.filesize_limit
        parcel = Parcel.of(answer, self._modes(), limit=limit, locale=placeholder.locale)
        ways: dict[str, Way] = {
            "in place": _in_place,
            "in channel": partial(_in_channel, nonce=nonce),
            "in person": partial(_in_person, nonce=nonce),
        }
        for name, way in ways.items():
            try:
                if (arrival := await way(placeholder, parcel)) is not None:
                    _tell(placeholder, answer, arrival)
                    return arrival
            except UNDELIVERED as exc:
                logger.warning("could not deliver {}: {!r}", name, exc)
        logger.error("the answer could not be delivered in any way")
        return None


def _tell(placeholder: Placeholder, answer: Answer, arrival: Arrival) -> None:
    """Say that more can be made of an answer; only where the bot may come back to it: in the channel of a guild."""
    reply, channel = answer.incomplete, placeholder.interaction.channel
    if reply is None or arrival.message_id is None or not isinstance(channel, _IN_GUILDS):
        return
    if reply.request.asker is not None and reply.request.asker.guild_id is not None:
        message = channel.get_partial_message(arrival.message_id)
        limit = placeholder.interaction.filesize_limit
        told = PartialAnswer(reply=reply, message=message, locale=placeholder.locale, limit=limit)
        placeholder.interaction.client.dispatch("partial_answer", told)


async def _in_place(placeholder: Placeholder, parcel: Parcel) -> Arrival | None:
    """Edit the placeholder."""
    if placeholder.token_ended:
        return None
    try:
        message = await parcel.put_in(placeholder.interaction.edit_original_response)
    except discord.NotFound as exc:
        # Anything else that is not found is the webhook: the token has ended before its time.
        if exc.code != _UNKNOWN_MESSAGE:
            raise
        logger.info("the placeholder was deleted: nobody waits for the answer")
        return Arrival(url=None)
    return Arrival(url=None) if placeholder.private else Arrival(url=message.jump_url, message_id=message.id)


async def _in_channel(placeholder: Placeholder, parcel: Parcel, *, nonce: str) -> Arrival | None:
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
            nonce=nonce,
            reference=reference,
            # The one ping there is: the member has waited for over a quarter of an hour.
            allowed_mentions=discord.AllowedMentions(everyone=False, users=[member], roles=False, replied_user=False),
        )
    )
    if placeholder.message is not None and isinstance(channel, discord.TextChannel | discord.VoiceChannel):
        below = discord.Embed(description=text("progress.see_below", placeholder.locale))
        with suppress(*UNDELIVERED):
            await channel.get_partial_message(placeholder.message.id).edit(embed=below)
    return Arrival(url=message.jump_url, message_id=message.id)


async def _in_person(placeholder: Placeholder, parcel: Parcel, *, nonce: str) -> Arrival | None:
    """Write to the member directly."""
    member = placeholder.interaction.user
    await _tried(lambda: member.send(embed=parcel.embed, files=parcel.files, view=parcel.view, nonce=nonce))
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
