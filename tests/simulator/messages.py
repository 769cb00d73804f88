"""Messages, with the history of their edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from tests.simulator.intents import Intent
from tests.simulator.mentions import Pings, mentioned
from tests.simulator.payloads import members, without_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tests.simulator.cdn import Attachment
    from tests.simulator.channels import Channel
    from tests.simulator.payloads import Json
    from tests.simulator.users import User


class MessageFlag(IntFlag):
    """Source: https://discord.com/developers/docs/resources/message#message-object-message-flags."""

    SUPPRESS_EMBEDS = 1 << 2
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    IS_VOICE_MESSAGE = 1 << 13
    HAS_SNAPSHOT = 1 << 14
    IS_COMPONENTS_V2 = 1 << 15


MESSAGE = 0
REPLY = 19
CHAT_INPUT_COMMAND = 20
CONTEXT_MENU_COMMAND = 23

_REPLIES, _FORWARD = 0, 1
_NOTHING: Json = {"content": "", "embeds": [], "attachments": [], "components": []}
"""What is left of a message that the bot may not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message shows. ``at`` is the clock's monotonic time, in seconds, from which on it did."""

    at: float
    content: str = ""
    embeds: tuple[Json, ...] = ()
    components: tuple[Json, ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @property
    def text(self) -> str:
        """Everything that one reads in it: content, embeds and text components, in lines."""
        return "\n".join(line for line in self._lines() if line)

    def _lines(self) -> Iterator[str]:
        yield self.content
        for embed in self.embeds:
            yield members(embed.get("author")).get("name", "")
            yield embed.get("title", "")
            yield embed.get("description", "")
            for entry in embed.get("fields", []):
                yield entry["name"]
                yield entry["value"]
            yield members(embed.get("footer")).get("text", "")
        yield from (part["content"] for part in nested(self.components) if part["type"] == TEXT_DISPLAY)


ACTION_ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
TEXT_DISPLAY = 10


def nested(components: Iterable[Json]) -> Iterator[Json]:
    """All components, depth first."""
    for component in components:
        yield component
        yield from nested(component.get("components") or [])
        yield from nested(child for key in ("accessory", "component") if (child := component.get(key)))


@dataclass(eq=False, kw_only=True, repr=False)
class Message:
    """A message. Its present content is the last of ``versions``.

    Attributes:
        pinged: everybody whom the message pinged, or would have pinged by one of its edits.
        seen_by: the only user who sees an ephemeral message, None where all do.
        reference: the message that it replies to.
        forwarded: the message that it brings from elsewhere.
        reactions: who reacted, by the emoji.
    """

    id: int
    channel: Channel
    author: User
    created_at: datetime
    versions: list[Content]
    type: int = MESSAGE
    flags: int = 0
    pinged: Pings = field(default_factory=Pings)
    seen_by: User | None = None
    reference: Message | None = None
    forwarded: Message | None = None
    nonce: str | int | None = None
    application_id: int | None = None
    interaction_metadata: Json | None = None
    edited_at: datetime | None = None
    deleted: bool = False
    reactions: dict[str, list[User]] = field(default_factory=dict[str, "list[User]"])

    def __repr__(self) -> str:
        return f"<Message {self.id} of {self.author.name}: {self.text!r}>"

    @property
    def now(self) -> Content:
        """What it shows."""
        return self.versions[-1]

    @property
    def content(self) -> str:
        """Its plain text."""
        return self.now.content

    @property
    def embeds(self) -> tuple[Json, ...]:
        """Its embeds."""
        return self.now.embeds

    @property
    def components(self) -> tuple[Json, ...]:
        """Its components, top level."""
        return self.now.components

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Its files."""
        return self.now.attachments

    @property
    def text(self) -> str:
        """Everything that one reads in it."""
        return self.now.text

    @property
    def ephemeral(self) -> bool:
        """Whether only one member sees it."""
        return bool(self.flags & MessageFlag.EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether it still says "thinking …"."""
        return bool(self.flags & MessageFlag.LOADING)

    @property
    def url(self) -> str:
        """What "Copy message link" gives."""
        guild = self.channel.guild
        return f"https://discord.com/channels/{guild.id if guild else '@me'}/{self.channel.id}/{self.id}"

    def component(self, custom_id: str | None = None, *, label: str | None = None) -> Json | None:
        """The first component with that custom id, or that label."""
        for part in nested(self.components):
            if (custom_id is not None and part.get("custom_id") == custom_id) or (
                label is not None and part.get("label") == label
            ):
                return part
        return None

    def file(self, suffix: str) -> Attachment | None:
        """The first file whose name ends so."""
        return next((file for file in self.attachments if file.filename.endswith(suffix)), None)

    @property
    def open_to_bot(self) -> bool:
        """Whether the bot reads its content without the privilege to read all.

        Source: https://discord.com/developers/docs/events/gateway#message-content-intent
        """
        bot = self.channel.world.bot
        return self.channel.guild is None or self.author is bot or bot.id in self.pinged.users

    def rest_payload(self) -> Json:
        """As the HTTP API shows it to the bot: what it reads there, the application's privilege decides."""
        whole = self.channel.world.gateway.privileged & Intent.MESSAGE_CONTENT
        return self.payload() if whole else self.redacted_payload()

    def redacted_payload(self) -> Json:
        """As it is shown to a bot without the privilege; the message that it replies to has a case of its own."""
        payload = self.payload()
        if not self.open_to_bot:
            payload |= _NOTHING
            if self.forwarded is not None:
                payload["message_snapshots"] = [{"message": self.forwarded.snapshot() | _NOTHING}]
        if self.reference is not None and not self.reference.deleted:
            payload["referenced_message"] = _alone(self.reference.redacted_payload())
        return payload

    def payload(self) -> Json:
        """As the API shows it, with all that is in it."""
        named = mentioned(self.content)
        body: dict[str, Any] = {
            "id": str(self.id),
            "type": self.type,
            "channel_id": str(self.channel.id),
            "author": self.author.payload(),
            "content": self.content,
            "timestamp": self.created_at.isoformat(),
            "edited_timestamp": self.edited_at.isoformat() if self.edited_at else None,
            "tts": False,
            "pinned": False,
            "mention_everyone": self.pinged.everyone,
            "mentions": [user.payload() for user in self.channel.users(named.users)],
            "mention_roles": [str(role) for role in sorted(named.roles)],
            "attachments": [attachment.payload() for attachment in self.attachments],
            "embeds": list(self.embeds),
            "components": list(self.components),
            "flags": self.flags,
        }
        optional = {
            "nonce": self.nonce,
            "application_id": str(self.application_id) if self.application_id else None,
            "webhook_id": str(self.application_id) if self.interaction_metadata else None,
            "interaction_metadata": self.interaction_metadata,
            "message_reference": self._message_reference(),
            "message_snapshots": None if self.forwarded is None else [{"message": self.forwarded.snapshot()}],
        }
        if self.reactions:
            body["reactions"] = [self._reaction(emoji) for emoji in self.reactions]
        if self.reference is not None:
            body["referenced_message"] = None if self.reference.deleted else _alone(self.reference.payload())
        return body | without_none(optional)

    def snapshot(self) -> Json:
        """As a message that forwards it shows it."""
        shown = ("type", "content", "mentions", "mention_roles", "attachments", "embeds", "timestamp")
        payload = self.payload()
        return {key: payload[key] for key in (*shown, "edited_timestamp", "flags", "components")}

    def _reaction(self, emoji: str) -> Json:
        users = self.reactions[emoji]
        return {
            "emoji": emoji_payload(emoji),
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me": self.channel.world.bot in users,
            "me_burst": False,
        }

    def _message_reference(self) -> Json | None:
        source = self.forwarded or self.reference
        if source is None:
            return None
        guild = source.channel.guild
        return without_none(
            {
                "type": _FORWARD if self.forwarded else _REPLIES,
                "message_id": str(source.id),
                "channel_id": str(source.channel.id),
                "guild_id": str(guild.id) if guild else None,
            }
        )


def emoji_payload(emoji: str) -> Json:
    """An emoji of Unicode's, or one of a guild's as ``name:id``."""
    name, _, custom = emoji.partition(":")
    return {"id": custom or None, "name": name}


def _alone(payload: Json) -> Json:
    """As a reply shows it: without what it itself replies to."""
    return {key: value for key, value in payload.items() if key != "referenced_message"}
