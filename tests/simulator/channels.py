"""Channels and the messages in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from tests.simulator.mentions import Pings, mentioned
from tests.simulator.messages import MESSAGE, REPLY, Content, Message, MessageFlag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.simulator.cdn import Attachment
    from tests.simulator.guilds import Guild
    from tests.simulator.memberships import Membership
    from tests.simulator.payloads import Json
    from tests.simulator.permissions import Overwrite
    from tests.simulator.users import User
    from tests.simulator.world import World


class ChannelKind(IntEnum):
    """The kinds that the simulator has."""

    TEXT = 0
    DM = 1
    VOICE = 2
    PRIVATE_THREAD = 12
    STAGE = 13


@dataclass(eq=False, kw_only=True, repr=False)
class Channel:
    """A channel of a guild, or a direct conversation (``guild`` is None, ``recipient`` the other one)."""

    world: World
    id: int
    name: str
    kind: ChannelKind
    guild: Guild | None = None
    recipient: User | None = None
    overwrites: list[Overwrite] = field(default_factory=list["Overwrite"])
    messages: dict[int, Message] = field(default_factory=dict[int, Message])
    voice_status: str | None = None

    def __repr__(self) -> str:
        return f"<Channel {self.name or 'direct'}>"

    @property
    def spoken(self) -> bool:
        """Whether members speak in it; who may not connect to it may not read its chat either."""
        return self.kind in {ChannelKind.VOICE, ChannelKind.STAGE}

    @property
    def visible(self) -> list[Message]:
        """The messages that all see, oldest first."""
        return [m for m in self.messages.values() if not m.ephemeral and not m.deleted]

    def post(
        self,
        member: Membership,
        content: str = "",
        *,
        attachments: Sequence[Attachment] = (),
        flags: int = 0,
        reply_to: Message | None = None,
    ) -> Message:
        """A member posts a message; the bot is told of it if its intents say so."""
        message = Message(
            id=self.world.ids.next(),
            channel=self,
            author=member.user,
            created_at=self.world.clock.now(),
            type=REPLY if reply_to else MESSAGE,
            flags=flags,
            reference=reply_to,
            pinged=mentioned(content) | Pings(users=frozenset({reply_to.author.id} if reply_to else ())),
            versions=[
                Content(at=self.world.clock.monotonic(), content=content, attachments=self._own(attachments, flags))
            ],
        )
        self.world.publish(message)
        return message

    def voice_message(
        self, member: Membership, data: bytes, *, duration_secs: float, waveform: str = "AAAAAAAAAAAA"
    ) -> Message:
        """A member records a voice message: Ogg/Opus, no text."""
        attachment = self.world.cdn.upload(
            "voice-message.ogg", data, content_type="audio/ogg", duration_secs=duration_secs, waveform=waveform
        )
        return self.post(member, attachments=[attachment], flags=MessageFlag.IS_VOICE_MESSAGE)

    def admits(self, _member: Membership, _held: int) -> bool:
        """Whether they see it, as far as that is not a matter of the permissions that they hold."""
        return True

    def users(self, ids: Iterable[int]) -> list[User]:
        """Those of ``ids`` who can see the channel."""
        if self.guild is None:
            known = {user.id: user for user in (self.recipient, self.world.bot) if user}
        else:
            known = {member.user.id: member.user for member in self.guild.members.values()}
        return [known[user_id] for user_id in sorted(ids) if user_id in known]

    def payload(self) -> Json:
        """As the API shows it."""
        last = max(self.messages, default=None)
        common: Json = {
            "id": str(self.id),
            "type": int(self.kind),
            "flags": 0,
            "last_message_id": str(last) if last else None,
        }
        if self.guild is None:
            return common | {"recipients": [self.recipient.payload()] if self.recipient else []}
        common |= {
            "guild_id": str(self.guild.id),
            "name": self.name,
            "position": list(self.guild.channels).index(self.id),
            "parent_id": None,
            "nsfw": False,
            "rate_limit_per_user": 0,
            "permission_overwrites": [overwrite.payload() for overwrite in self.overwrites],
        }
        if self.spoken:
            return common | {"bitrate": 64_000, "user_limit": 0, "rtc_region": None, "video_quality_mode": 1}
        return common | {"topic": None}

    def partial_payload(self, member: Membership | None) -> Json:
        """As an interaction shows it, with the permissions that the member has there."""
        payload = self.payload()
        payload.pop("permission_overwrites", None)
        if member is not None:
            payload["permissions"] = str(member.permissions_in(self))
        return payload

    def forward(self, member: Membership, message: Message) -> Message:
        """A member forwards a message into this channel."""
        forwarding = Message(
            id=self.world.ids.next(),
            channel=self,
            author=member.user,
            created_at=self.world.clock.now(),
            flags=MessageFlag.HAS_SNAPSHOT,
            forwarded=message,
            versions=[Content(at=self.world.clock.monotonic())],
        )
        self.world.publish(forwarding)
        return forwarding

    def _own(self, attachments: Iterable[Attachment], flags: int) -> tuple[Attachment, ...]:
        voice = flags & MessageFlag.IS_VOICE_MESSAGE
        assert not voice or len(list(attachments)) == 1, "a voice message has exactly one attachment"
        return tuple(attachments)
