"""Brings an answer to the member, also when the interaction's token has ended, from whichever process it may be."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import discord
import stamina
from loguru import logger

from bot.core.orders import Address
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

_UNKNOWN_MESSAGE: Final = 10_008
_REFUSED: Final = (400, 403, 404)
"""What Discord says of a reply to a message that is gone, or in a channel that the bot may no longer write in."""
_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.5
_ORIGINAL: Final = cast("int", "@original")
"""Stands for the id of an interaction's response: that is how Discord wants it to be edited."""
_TEMPORARY: Final = (discord.DiscordServerError, discord.RateLimited, *NETWORK)


def address_of(
    interaction: discord.Interaction[Any], *, private: bool, now: float, placeholder_id: int | None = None
) -> Address:
    """Where the answer to an interaction goes that has just been deferred."""
    return Address(
        application_id=interaction.application_id,
        token=interaction.token,
        token_ends_at=now + TOKEN_LIFE_S,
        placeholder_id=placeholder_id,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        member_id=interaction.user.id,
        private=private,
        locale=str(interaction.locale),
        file_limit=interaction.filesize_limit,
    )


class Placeholder:
    """The message that stands for an answer until it is there.

    Args:
        client: Discord's.
        address: where it is.
        now: Unix time in seconds.
    """

    def __init__(self, client: discord.Client, address: Address, *, now: Callable[[], float]) -> None:
        self.client = client
        self.address = address
        self._now = now

    @property
    def token_ended(self) -> bool:
        """Whether the answer needs a message of its own."""
        return self._now() > self.address.token_ends_at

    async def edit(self, **content: Any) -> discord.Message:
        """Change it, as ``discord.Webhook.edit_message`` does."""
        return await self._webhook().edit_message(_ORIGINAL, **content)

    async def show(self, embed: discord.Embed, view: discord.ui.View | None = None) -> None:
        """Show progress, while it can be shown."""
        if not self.token_ended:
            message = await self.edit(embed=embed, view=view)
            self.address = self.address.model_copy(update={"placeholder_id": message.id})

    def _webhook(self) -> discord.Webhook:
        """The interaction's: its token is all that it takes, so that any process can answer."""
        http = self.client.http
        webhook = discord.Webhook.partial(self.address.application_id, self.address.token, client=self.client)
        webhook.proxy, webhook.proxy_auth = http.proxy, http.proxy_auth  # discord.py 2.7.1 forgets them
        return webhook

    @property
    def channel(self) -> discord.PartialMessageable | None:
        """Where the command was used."""
        address = self.address
        if address.channel_id is None:
            return None
        return self.client.get_partial_messageable(address.channel_id, guild_id=address.guild_id)

    def message(self, message_id: int) -> discord.PartialMessage | None:
        """One of the channel's."""
        channel = self.channel
        return channel.get_partial_message(message_id) if channel else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An answer, packed for Discord. Files are opened anew for each attempt to send them."""

    embed: discord.Embed
    view: discord.ui.View | None
    _files: tuple[TextFile, ...]

    @classmethod
    def of(cls, answer: Answer, modes: Iterable[Mode], *, limit: int, locale: str) -> Parcel:
        """Pack ``answer``; ``limit`` is that of a file, in bytes."""
        embed = answer_embed(answer)
        files = tuple(file for file in answer.files if len(file.content) <= limit)
        if len(files) < len(answer.files):
            embed.add_field(name=CONTINUED, value=text("result.too_large_to_attach", locale), inline=False)
        return cls(embed=embed, view=result_view(answer, tuple(modes), locale), _files=files)

    @property
    def files(self) -> list[discord.File]:
        """What is attached."""
        return [discord.File(io.BytesIO(file.content), filename=file.name) for file in self._files]

    async def put_in(self, edit: Callable[..., Awaitable[T]]) -> T:
        """Put it in a message's place, by the ``edit`` of that; doing it twice is harmless."""
        return await _tried(lambda: edit(embed=self.embed, attachments=self.files, view=self.view))

    async def send(self, to: Callable[..., Awaitable[T]], **more: Any) -> T:
        """Send it as a message of its own, by the ``send`` of a channel; with a nonce, twice is once."""
        return await _tried(lambda: to(embed=self.embed, files=self.files, view=self.view, **more))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An answer that arrived; ``url`` leads to it, None where nobody but its member sees it."""

    url: str | None
    message_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """An answer that did not arrive in any way; if ``temporary``, it may later."""

    temporary: bool
    reason: str


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

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> Arrival | Undelivered:
        """Show ``answer`` in the first way that works; where none does, a line in the log says so too.

        Args:
            placeholder: where the member waits.
            answer: what to show.
            nonce: at most 25 characters; Discord refuses a second message with it.
        """
        address = placeholder.address
        parcel = Parcel.of(answer, self._modes(), limit=address.file_limit, locale=address.locale)
        ways: dict[str, Way] = {
            "in place": _in_place,
            "in channel": partial(_in_channel, nonce=nonce),
            "in person": partial(_in_person, nonce=nonce),
        }
        if address.reply_to is not None:
            ways = {"in reply": partial(_in_reply, reply_to=address.reply_to, nonce=nonce)}
        failures: list[BaseException] = []
        for name, way in ways.items():
            try:
                if (arrival := await way(placeholder, parcel)) is not None:
                    _tell(placeholder, answer, arrival)
                    return arrival
            except UNDELIVERED as exc:
                logger.warning("could not deliver {}: {!r}", name, exc)
                failures.append(exc)
        logger.error("the answer could not be delivered in any way")
        is_temporary = any(isinstance(exc, _TEMPORARY) for exc in failures)
        return Undelivered(temporary=is_temporary, reason="; ".join(map(repr, failures)))


def _tell(placeholder: Placeholder, answer: Answer, arrival: Arrival) -> None:
    """Say that more can be made of an answer; only where the bot may come back to it: in the channel of a guild."""
    reply, address = answer.incomplete, placeholder.address
    if reply is None or arrival.message_id is None:
        return
    message = placeholder.message(arrival.message_id)
    if message is not None and reply.request.asker is not None and reply.request.asker.guild_id is not None:
        told = PartialAnswer(reply=reply, message=message, locale=address.locale, limit=address.file_limit)
        placeholder.client.dispatch("partial_answer", told)


async def _in_place(placeholder: Placeholder, parcel: Parcel) -> Arrival | None:
    """Edit the placeholder."""
    if placeholder.token_ended:
        return None
    try:
        edited = await parcel.put_in(placeholder.edit)
    except discord.NotFound as exc:
        # Anything else that is not found is the webhook: the token has ended before its time.
        if exc.code != _UNKNOWN_MESSAGE:
            raise
        logger.info("the placeholder was deleted: nobody waits for the answer")
        return Arrival(url=None)
    message = placeholder.message(edited.id)
    if placeholder.address.private or message is None:
        return Arrival(url=None)
    return Arrival(url=message.jump_url, message_id=message.id)


async def _in_channel(placeholder: Placeholder, parcel: Parcel, *, nonce: str) -> Arrival | None:
    """Write a new message where the command was used."""
    address, channel = placeholder.address, placeholder.channel
    if address.private or channel is None:
        return None
    first = placeholder.message(address.placeholder_id) if address.placeholder_id else None
    member = discord.Object(address.member_id)
    sent = await parcel.send(
        channel.send,
        content=f"<@{address.member_id}>",
        nonce=nonce,
        reference=first.to_reference(fail_if_not_exists=False) if first else None,
        # The one ping there is: the member has waited for over a quarter of an hour.
        allowed_mentions=discord.AllowedMentions(everyone=False, users=[member], roles=False, replied_user=False),
    )
    if first is not None:
        below = discord.Embed(description=text("progress.see_below", address.locale))
        with suppress(*UNDELIVERED):
            await first.edit(embed=below, view=None)
    return Arrival(url=channel.get_partial_message(sent.id).jump_url, message_id=sent.id)


async def _in_reply(placeholder: Placeholder, parcel: Parcel, *, reply_to: int, nonce: str) -> Arrival | None:
    """Reply to a message; where that has been deleted meanwhile, nothing is posted."""
    channel, message = placeholder.channel, placeholder.message(reply_to)
    if channel is None or message is None:
        return None
    try:
        sent = await parcel.send(
            channel.send,
            nonce=nonce,
            reference=message.to_reference(fail_if_not_exists=True),
            allowed_mentions=discord.AllowedMentions.none(),
            mention_author=False,
        )
    except discord.HTTPException as exc:
        if exc.status not in _REFUSED:
            raise
        logger.info("nothing is posted: {}", exc)
        return Arrival(url=None)
    return Arrival(url=channel.get_partial_message(sent.id).jump_url, message_id=sent.id)


async def _in_person(placeholder: Placeholder, parcel: Parcel, *, nonce: str) -> Arrival | None:
    """Write to the member directly."""
    direct = await placeholder.client.create_dm(discord.Object(placeholder.address.member_id))
    await parcel.send(direct.send, nonce=nonce)
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
