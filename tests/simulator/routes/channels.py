"""Channels and the messages in them.

Source: https://discord.com/developers/docs/resources/message
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.simulator import postings
from tests.simulator.channels import ChannelKind
from tests.simulator.errors import ApiError, bad_value, missing_access, missing_permissions, unknown
from tests.simulator.intents import Intent
from tests.simulator.messages import REPLY, MessageFlag
from tests.simulator.permissions import Permission
from tests.simulator.postings import Origin, Posting
from tests.simulator.routing import NOTHING, Answer, Call, Routes
from tests.simulator.threads import Thread

if TYPE_CHECKING:
    from tests.simulator.channels import Channel
    from tests.simulator.messages import Message

ROUTES = Routes()

_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"
_OWN_REACTION = f"{_MESSAGE}/reactions/{{emoji_name}}/@me"
_CUSTOM_EMOJI = re.compile(r"\w{2,32}:\d{15,20}")
_MAX_STATUS = 500


def _permitted(call: Call, *needed: Permission) -> Channel:
    """The channel in the path, where the bot may do all of ``needed``.

    Raises:
        ApiError: it may not, or there is no such channel.
    """
    channel = call.channel()
    if channel.guild is not None:
        held = channel.guild.me.permissions_in(channel) if channel.guild.has_bot else 0
        if not held & Permission.VIEW_CHANNEL:
            raise missing_access()
        if any(not held & permission for permission in needed):
            raise missing_permissions()
    return channel


def _open(call: Call, *needed: Permission) -> Channel:
    """The channel in the path, where the bot may read messages, and do all of ``needed``.

    Raises:
        ApiError: it may not, or there is no such channel.
    """
    channel = _permitted(call)
    if channel.guild is not None and channel.spoken:
        held = channel.guild.me.permissions_in(channel)
        if not held & Permission.CONNECT:
            raise missing_access()
    return _permitted(call, *needed)


def _message(call: Call, *needed: Permission) -> Message:
    message = _open(call, *needed).messages.get(call.id("message_id"))
    # Ephemeral messages can only be reached with their interaction's token.
    if message is None or message.deleted or message.ephemeral:
        raise unknown("message")
    return message


def _own_message(call: Call) -> Message:
    message = _message(call)
    if message.author is not call.world.bot:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    return message


@ROUTES.on("GET", "/channels/{channel_id}")
def get_channel(call: Call) -> Answer:
    """One channel."""
    return Answer(body=_permitted(call).payload())


@ROUTES.on("POST", "/channels/{channel_id}/typing")
def type_in_channel(call: Call) -> Answer:
    """Show "… is typing"."""
    _permitted(call, Permission.SEND_MESSAGES)
    return NOTHING


@ROUTES.on("GET", _MESSAGES)
def list_messages(call: Call) -> Answer:
    """The latest messages, newest first."""
    channel = _open(call, Permission.READ_MESSAGE_HISTORY)
    before = int(call.query.get("before", 1 << 63))
    found = [message for message in reversed(channel.visible) if message.id < before]
    return Answer(body=[message.rest_payload() for message in found[: int(call.query.get("limit", 50))]])


@ROUTES.on("GET", _MESSAGE)
def get_message(call: Call) -> Answer:
    """One message."""
    return Answer(body=_message(call, Permission.READ_MESSAGE_HISTORY).rest_payload())


@ROUTES.on("POST", _MESSAGES)
def create_message(call: Call) -> Answer:
    """Post a message; with ``enforce_nonce``, at most once for a nonce."""
    needed = [Permission.SEND_MESSAGES, *([Permission.ATTACH_FILES] if call.files else [])]
    channel = _open(call, *needed)
    nonce = call.json.get("nonce")
    if nonce is not None and call.json.get("enforce_nonce"):
        same = call.world.same_nonce(channel, nonce)
        if same is not None:
            return Answer(body=same.rest_payload())
    if (call.json.get("flags") or 0) & MessageFlag.EPHEMERAL:
        raise bad_value(("flags",), "Only answers to interactions can be ephemeral")
    reference = _reference(call, channel)
    posting = Posting(body=call.json, files=call.files, size_limit=call.world.limits.upload_bytes)
    origin = Origin(kind=REPLY, reference=reference) if reference else Origin()
    return Answer(body=postings.create(call.world, channel, posting, origin).rest_payload())


def _reference(call: Call, channel: Channel) -> Message | None:
    reference = call.json.get("message_reference")
    if not reference:
        return None
    message = channel.messages.get(int(reference["message_id"]))
    if message is not None and not message.deleted:
        return message
    if reference.get("fail_if_not_exists", True):
        raise bad_value(("message_reference",), "Unknown message", "REPLIES_UNKNOWN_MESSAGE")
    return None


@ROUTES.on("PATCH", _MESSAGE)
def edit_message(call: Call) -> Answer:
    """Edit a message of the bot."""
    message = _own_message(call)
    posting = Posting(body=call.json, files=call.files, size_limit=call.world.limits.upload_bytes)
    postings.edit(call.world, message, posting)
    return Answer(body=message.rest_payload())


@ROUTES.on("DELETE", _MESSAGE)
def delete_message(call: Call) -> Answer:
    """Delete a message: an own one, or with a permission anybody's."""
    message = _message(call)
    if message.author is not call.world.bot:
        _permitted(call, Permission.MANAGE_MESSAGES)
    call.world.delete(message)
    return NOTHING


@ROUTES.on("PUT", _OWN_REACTION)
def add_reaction(call: Call) -> Answer:
    """React to a message; to be the first with an emoji needs a permission of its own."""
    message, emoji = _message(call, Permission.READ_MESSAGE_HISTORY), unquote(call.params["emoji_name"])
    if emoji.isascii() and not _CUSTOM_EMOJI.fullmatch(emoji):
        raise ApiError(400, 10014, "Unknown Emoji")
    if emoji not in message.reactions:
        _permitted(call, Permission.ADD_REACTIONS)
    call.world.react(message, call.world.bot, emoji)
    return NOTHING


@ROUTES.on("GET", "/channels/{channel_id}/thread-members/{user_id}")
def get_thread_member(call: Call) -> Answer:
    """Whether somebody is in a thread."""
    thread = _permitted(call)
    if not isinstance(thread, Thread):
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    member = thread.joined.get(call.id("user_id"))
    if member is None:
        raise unknown("member")
    return Answer(body=thread.member_payload(member))


@ROUTES.on("PUT", "/channels/{channel_id}/voice-status")
def set_voice_status(call: Call) -> Answer:
    """Set the line below a voice channel's name."""
    channel = _permitted(call, Permission.SET_VOICE_CHANNEL_STATUS)
    if channel.kind is not ChannelKind.VOICE or channel.guild is None:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    status = call.json.get("status") or None
    if status is not None and len(status) > _MAX_STATUS:
        raise bad_value(("status",), "Must be 500 or fewer in length.", "BASE_TYPE_BAD_LENGTH")
    channel.voice_status = status
    call.world.dispatch(
        "VOICE_CHANNEL_STATUS_UPDATE",
        {"id": str(channel.id), "guild_id": str(channel.guild.id), "status": channel.voice_status},
        guild_id=channel.guild.id,
        intent=Intent.GUILDS,
    )
    return NOTHING
