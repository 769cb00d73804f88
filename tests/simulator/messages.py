"""Messages, with the history of their edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING, Any

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
    IS_COMPONENTS_V2 = 1 << 15


MESSAGE = 0
REPLY = 19
CHAT_INPUT_COMMAND = 20
CONTEXT_MENU_COMMAND = 23


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
    nonce: str | int | None = None
    application_id: int | None = None
    interaction_metadata: Json | None = None
    edited_at: datetime | None = None
    deleted: bool = False

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

    def payload(self) -> Json:
        """As the API shows it."""
        named = mentioned(self.content)
        guild = self.channel.guild
        reference: Json | None = None
        if self.reference is not None:
            reference = without_none(
                {
                    "type": 0,
                    "message_id": str(self.reference.id),
                    "channel_id": str(self.channel.id),
                    "guild_id": str(guild.id) if guild else None,
                }
            )
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
            "message_reference": reference,
        }
        if self.reference is not None:
            body["referenced_message"] = None if self.reference.deleted else self.reference.referenced_payload()
        return body | without_none(optional)

    def referenced_payload(self) -> Json:
        """As a reply shows it: without what it itself replies to."""
        payload = self.payload()
        payload.pop("referenced_message", None)
        return payload
