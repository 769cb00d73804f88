"""What members point at, as sources for the pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

from bot.core.errors import BadInput, NothingToListenTo
from bot.core.models import Asker, AudioLink, Task
from bot.presentation.messages import text

if TYPE_CHECKING:
    from collections.abc import Iterable

_MESSAGE_LINK: Final = re.compile(
    r"<?https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(\d{15,20}|@me)/(\d{15,20})/(\d{15,20})/?>?"
)
_MEDIA_SUFFIXES: Final = (
    *(".ogg", ".oga", ".opus", ".mp3", ".m4a", ".m4b", ".aac", ".wav", ".flac", ".wma", ".aif", ".aiff", ".amr"),
    *(".webm", ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".3gp", ".ts", ".mpg", ".mpeg"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a member wants to have made of a source.

    ``mode`` None asks for the transcript alone; ``language`` is what they typed, None to find it out.
    """

    mode: str | None
    language: str | None = None
    task: Task = Task.TRANSCRIBE
    private: bool = False


class NoInput(BadInput):
    """Neither a file nor a link. Values: ``menu``."""

    key = "input.none"


class TwoInputs(BadInput):
    """A file and a link."""

    key = "input.both"


class BadLink(BadInput):
    """No link to a message."""

    key = "input.bad_link"


class OtherServer(BadInput):
    """A link that leads out of the guild."""

    key = "input.other_server"


class NoAccess(BadInput):
    """A message that the member or the bot may not read, or that is gone: the same answer for all, on purpose."""

    key = "input.no_access"


class MayNotRead(BadInput):
    """Discord keeps the message's content from the bot. Values: ``menu``."""

    key = "input.may_not_read"


def asker_of(interaction: discord.Interaction) -> Asker:
    """Who used a command, and where. What a user brought along into a guild without the bot is outside all guilds."""
    member = interaction.user
    inside = interaction.guild_id is not None and interaction.is_guild_integration()
    roles = frozenset(role.id for role in member.roles) if isinstance(member, discord.Member) else frozenset[int]()
    return Asker(
        guild_id=interaction.guild_id if inside else None,
        channel_id=interaction.channel_id,
        member_id=member.id,
        role_ids=roles if inside else frozenset(),
    )


def source_of_attachment(attachment: discord.Attachment) -> AudioLink:
    """An attachment, whatever it says that it is: the decoder will find out."""
    return AudioLink(
        url=attachment.url, filename=attachment.filename, size=attachment.size, declared_s=attachment.duration
    )


def source_of_message(message: discord.Message) -> AudioLink:
    """The first audio or video of a message, a forwarded one's included.

    Raises:
        NothingToListenTo: there is none.
    """
    attachments = [*message.attachments, *(a for shot in message.message_snapshots for a in shot.attachments)]
    return source_of_attachment(_first_media(attachments))


def _first_media(attachments: Iterable[discord.Attachment]) -> discord.Attachment:
    for attachment in attachments:
        kind = attachment.content_type or ""
        if kind.startswith(("audio/", "video/")) or attachment.filename.lower().endswith(_MEDIA_SUFFIXES):
            return attachment
    raise NothingToListenTo


async def source_of_link(interaction: discord.Interaction, link: str) -> AudioLink:
    """The audio of the message that a link names.

    The bot may read more than the member: it opens only what the member could open too.

    Raises:
        BadLink, OtherServer, NoAccess, NothingToListenTo: with the way out.
    """
    found = _MESSAGE_LINK.fullmatch(link.strip())
    if found is None:
        raise BadLink
    guild, member = interaction.guild, interaction.user
    if guild is None or not isinstance(member, discord.Member) or found[1] != str(guild.id):
        raise OtherServer
    try:
        channel = await _readable_channel(guild, member, int(found[2]))
        message = await channel.fetch_message(int(found[3]))
    # A channel of another guild is a ClientException of discord.py's.
    except (discord.Forbidden, discord.NotFound, discord.ClientException) as exc:
        raise NoAccess(str(exc)) from exc
    if _is_withheld(message, interaction.client):
        raise MayNotRead(menu=text("menu.command.summarise"))
    return source_of_message(message)


async def _readable_channel(
    guild: discord.Guild, member: discord.Member, channel_id: int
) -> discord.abc.MessageableChannel:
    channel = guild.get_channel_or_thread(channel_id) or await guild.fetch_channel(channel_id)
    if isinstance(channel, (discord.CategoryChannel, discord.ForumChannel)):
        raise BadLink
    may = channel.permissions_for(member)
    if not (may.view_channel and may.read_message_history):
        raise NoAccess
    # discord.py does not take the right to read away from those who may not join.
    if isinstance(channel, discord.VoiceChannel | discord.StageChannel) and not may.connect:
        raise NoAccess
    if isinstance(channel, discord.Thread) and channel.is_private() and not may.manage_threads:
        await channel.fetch_member(member.id)  # NotFound for those who are not in it
    return channel


def _is_withheld(message: discord.Message, client: discord.Client) -> bool:
    """Whether Discord keeps a message's content from the bot.

    Without the message content privilege, content, embeds and attachments of others' messages come empty.
    Source: https://discord.com/developers/docs/events/gateway#message-content-intent
    """
    flags = client.application_flags
    privileged = flags.gateway_message_content or flags.gateway_message_content_limited
    parts = [message, *message.message_snapshots]  # a forward that is withheld has a snapshot with nothing in it
    is_empty = not any(part.content or part.attachments or part.embeds for part in parts)
    return is_empty and not privileged and message.author != client.user
