"""Writes down voice messages that nobody asked about, in the channels where moderators want it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import discord
from loguru import logger

from bot.core.errors import EarshotError, FairUseError, Overloaded
from bot.core.models import Asker, Reply, Request, TranscriptionOptions
from bot.core.orders import Address
from bot.core.pipeline import nobody
from bot.presentation.network import UNDELIVERED
from bot.presentation.requests import source_of_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.core.dispatch import Dispatch
    from bot.core.ports import SettingsStore
    from bot.presentation.deliveries import Deliveries
    from bot.presentation.moderation import AccessPolicy
    from bot.presentation.watches import Watches

AT_A_TIME: Final = 2
"""Voice messages of a guild that are worked on at the same time."""
IN_LINE: Final = 20
"""Voice messages of a guild that may wait for that; more are not taken."""
REFUSED: Final = "🛑"
"""Below a voice message that is not written down, as its speaker or the guild is out of tokens, or too much waits."""

_RIGHTS: Final = (
    *("view_channel", "read_message_history", "send_messages"),
    *("embed_links", "attach_files", "add_reactions"),
)

_REMEMBERED: Final = 1_000
"""Messages that are known to have come: Discord may send one again when a connection is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceMessage:
    """A voice message of a member of a guild."""

    message: discord.Message
    author: discord.Member
    guild: discord.Guild


@dataclass(slots=True)
class _Line:
    """The voice messages of one guild."""

    inside: int = 0
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))


class AutomaticTranscripts:
    """Answers voice messages with what was said. Whoever posted one pays for it; refusals and failures stay quiet.

    Args:
        dispatch: makes jobs of requests.
        watches: tell when they are done.
        deliveries: bring the transcripts.
        settings: says in which channels.
        policy: says in which guilds.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        watches: Watches,
        deliveries: Deliveries,
        settings: SettingsStore,
        policy: AccessPolicy,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._dispatch = dispatch
        self._watches = watches
        self._deliveries = deliveries
        self._settings = settings
        self._policy = policy
        self._new_id = new_id
        self._lines: dict[int, _Line] = {}
        self._seen: OrderedDict[int, None] = OrderedDict()

    async def take(self, message: discord.Message) -> None:
        """Write down what was said, if this is a voice message in a channel where that is wanted."""
        voice = voice_message(message)
        if voice is None or not self._policy.allows(voice.guild.id) or self._came_before(message.id):
            return
        try:
            settings = await self._settings.get(voice.guild.id)
            if not _channel_ids(message).isdisjoint(settings.automatic_channels):
                async with self._place(voice.guild.id):
                    await self._serve(voice)
        except FairUseError as exc:
            logger.info("a voice message is not written down: {}", exc)
            with suppress(*UNDELIVERED):
                await message.add_reaction(REFUSED)
        except EarshotError as exc:
            logger.opt(exception=exc.__cause__).warning("a voice message could not be written down: {}", exc)
        except UNDELIVERED as exc:
            logger.info("what a voice message says could not be posted: {!r}", exc)

    async def _serve(self, voice: VoiceMessage) -> None:
        message, author = voice.message, voice.author
        request = Request(
            id=self._new_id(),
            source=source_of_message(message),
            mode=None,
            asker=Asker(
                guild_id=voice.guild.id,
                channel_id=message.channel.id,
                member_id=author.id,
                role_ids=frozenset(role.id for role in author.roles),
            ),
            options=TranscriptionOptions(),  # the desk puts the guild's language in
        )
        address = Address(
            reply_to=message.id,
            guild_id=voice.guild.id,
            channel_id=message.channel.id,
            member_id=author.id,
            locale=str(voice.guild.preferred_locale),
            file_limit=voice.guild.filesize_limit,
        )
        with logger.contextualize(request_id=request.id), self._watches.on(request.id, nobody) as watch:
            taken = await self._dispatch.accept(request, address)
            if isinstance(taken, Reply):
                await self._deliveries.bring(taken, address)  # no job does
                return
            watch.record = taken
            await watch.over(self._dispatch.forward(taken))

    @asynccontextmanager
    async def _place(self, guild_id: int) -> AsyncGenerator[None]:
        """Wait for a place of the guild's.

        Raises:
            Overloaded: too many wait already.
        """
        line = self._lines.setdefault(guild_id, _Line())
        if line.inside >= AT_A_TIME + IN_LINE:
            raise Overloaded(f"{line.inside} voice messages of guild {guild_id} are being written down, or wait for it")
        line.inside += 1
        try:
            async with line.places:
                yield
        finally:
            line.inside -= 1
            if not line.inside:
                del self._lines[guild_id]

    def _came_before(self, message_id: int) -> bool:
        if message_id in self._seen:
            return True
        self._seen[message_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False


def voice_message(message: discord.Message) -> VoiceMessage | None:
    """``message``, if it is a voice message of a member of a guild: no bot's, and nobody's from elsewhere."""
    author, guild = message.author, message.guild
    if not message.flags.voice or author.bot or guild is None or not isinstance(author, discord.Member):
        return None
    return VoiceMessage(message=message, author=author, guild=guild)


def rights_in(channel: discord.abc.GuildChannel) -> tuple[str, ...]:
    """What the bot must be allowed in a channel and its threads, by discord.py's names.

    It sees voice messages, replies to them, with what is long as a file, and puts `REFUSED` below some.
    """
    # Discord tells nothing of the chat in a voice channel to those who may not connect; threads it has none.
    return (*_RIGHTS, "connect" if isinstance(channel, discord.VoiceChannel) else "send_messages_in_threads")


def _channel_ids(message: discord.Message) -> set[int]:
    """Where a message stands; a thread is part of its channel."""
    channel = message.channel
    return {channel.id, channel.parent_id} if isinstance(channel, discord.Thread) else {channel.id}
