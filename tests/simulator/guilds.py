"""Guilds: who is there, and which channels there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulator.channels import Channel, ChannelKind
from tests.simulator.intents import Intent
from tests.simulator.members import Member
from tests.simulator.permissions import Permission
from tests.simulator.threads import Thread
from tests.simulator.users import Role, User

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tests.simulator.memberships import Membership
    from tests.simulator.payloads import Json
    from tests.simulator.permissions import Overwrite
    from tests.simulator.world import World


@dataclass(eq=False, kw_only=True, repr=False)
class Guild:
    """A guild; most of them have the bot in it."""

    world: World
    id: int
    name: str
    owner_id: int
    created_at: datetime
    locale: str = "en-US"
    roles: dict[int, Role] = field(default_factory=dict[int, Role])
    members: dict[int, Member] = field(default_factory=dict[int, Member])
    channels: dict[int, Channel] = field(default_factory=dict[int, Channel])
    threads: dict[int, Thread] = field(default_factory=dict[int, Thread])

    def __repr__(self) -> str:
        return f"<Guild {self.name}>"

    @property
    def everyone(self) -> Role:
        """The role that all have."""
        return self.roles[self.id]

    @property
    def has_bot(self) -> bool:
        """Whether the bot is a member."""
        return self.world.bot.id in self.members

    @property
    def me(self) -> Member:
        """The bot."""
        return self.members[self.world.bot.id]

    def add_role(self, name: str, *, permissions: int = 0, mentionable: bool = False) -> Role:
        """Make a role."""
        role = Role(
            id=self.world.ids.next(),
            name=name,
            permissions=permissions,
            position=len(self.roles),
            mentionable=mentionable,
        )
        self.roles[role.id] = role
        self._tell("GUILD_ROLE_CREATE", {"guild_id": str(self.id), "role": role.payload()})
        return role

    def add_member(self, name: str, *, roles: Iterable[Role] = (), locale: str = "en-US", bot: bool = False) -> Member:
        """Somebody joins; the bot hears of it with the GUILD_MEMBERS intent."""
        user = self.world.add_user(name, locale=locale, bot=bot)
        return self.join(user, roles=roles)

    def join(self, user: User, *, roles: Iterable[Role] = ()) -> Member:
        """A user of another guild joins this one as well."""
        member = Member(world=self.world, guild=self, user=user, joined_at=self.world.clock.now(), roles=list(roles))
        self.members[user.id] = member
        self._tell("GUILD_MEMBER_ADD", {**member.payload(), "guild_id": str(self.id)}, intent=Intent.GUILD_MEMBERS)
        return member

    def add_text_channel(self, name: str, *, overwrites: Iterable[Overwrite] = ()) -> Channel:
        """Make a text channel."""
        return self._add_channel(name, ChannelKind.TEXT, overwrites)

    def add_voice_channel(self, name: str, *, overwrites: Iterable[Overwrite] = ()) -> Channel:
        """Make a voice channel."""
        return self._add_channel(name, ChannelKind.VOICE, overwrites)

    def add_stage_channel(self, name: str, *, overwrites: Iterable[Overwrite] = ()) -> Channel:
        """Make a stage channel."""
        return self._add_channel(name, ChannelKind.STAGE, overwrites)

    def add_private_thread(self, parent: Channel, name: str, *, members: Iterable[Membership]) -> Thread:
        """Somebody makes a private thread and adds others; the bot is told of it where it sees it."""
        thread = Thread(
            world=self.world,
            id=self.world.ids.next(),
            name=name,
            kind=ChannelKind.PRIVATE_THREAD,
            guild=self,
            overwrites=parent.overwrites,
            parent=parent,
            made_at=self.world.clock.now(),
            joined={member.id: member for member in members},
        )
        self.threads[thread.id] = thread
        self.world.channels[thread.id] = thread
        if self._bot_sees(thread):
            self._tell("THREAD_CREATE", {**thread.payload(), "newly_created": True})
        return thread

    def payload(self) -> Json:
        """As ``GUILD_CREATE`` shows it. Without the members intent, Discord lists the bot and those in voice only."""
        return self._settings() | {
            "joined_at": self.created_at.isoformat(),
            "large": False,
            "unavailable": False,
            "member_count": len(self.members),
            "members": [self.me.payload()],
            "channels": [channel.payload() for channel in self.channels.values()],
            "roles": [role.payload() for role in self.roles.values()],
            "voice_states": [],
            "threads": [thread.payload() for thread in self.threads.values() if self._bot_sees(thread)],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "emojis": [],
            "stickers": [],
        }

    def partial_payload(self) -> Json:
        """As an interaction shows it."""
        return {"id": str(self.id), "locale": self.locale, "features": []}

    def _settings(self) -> Json:
        nothing: Json = dict.fromkeys(
            (
                "afk_channel_id",
                "application_id",
                "banner",
                "description",
                "discovery_splash",
                "hub_type",
                "icon",
                "incidents_data",
                "public_updates_channel_id",
                "rules_channel_id",
                "safety_alerts_channel_id",
                "splash",
                "system_channel_id",
                "vanity_url_code",
            )
        )
        return nothing | {
            "id": str(self.id),
            "name": self.name,
            "owner_id": str(self.owner_id),
            "afk_timeout": 300,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "features": [],
            "mfa_level": 0,
            "nsfw_level": 0,
            "preferred_locale": self.locale,
            "premium_progress_bar_enabled": False,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "system_channel_flags": 0,
            "verification_level": 0,
            "max_members": 500_000,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "region": "deprecated",
            "widget_enabled": False,
            "widget_channel_id": None,
        }

    def _add_channel(self, name: str, kind: ChannelKind, overwrites: Iterable[Overwrite]) -> Channel:
        channel = Channel(
            world=self.world, id=self.world.ids.next(), name=name, kind=kind, guild=self, overwrites=list(overwrites)
        )
        self.channels[channel.id] = channel
        self.world.channels[channel.id] = channel
        self._tell("CHANNEL_CREATE", channel.payload())
        return channel

    def _bot_sees(self, channel: Channel) -> bool:
        return self.has_bot and bool(self.me.permissions_in(channel) & Permission.VIEW_CHANNEL)

    def _tell(self, event: str, data: Json, *, intent: Intent = Intent.GUILDS) -> None:
        self.world.dispatch(event, data, guild_id=self.id, intent=intent)
