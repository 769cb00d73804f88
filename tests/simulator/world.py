"""Everything that Discord knows: one application, its guilds, channels, users, commands and interactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.simulator import permissions
from tests.simulator.cdn import Cdn
from tests.simulator.changes import Changes
from tests.simulator.channels import Channel, ChannelKind
from tests.simulator.commands import Commands
from tests.simulator.guilds import Guild
from tests.simulator.intents import Intent
from tests.simulator.messages import emoji_payload
from tests.simulator.snowflakes import Snowflakes
from tests.simulator.users import Role, User

if TYPE_CHECKING:
    from tests.simulator.clock import Clock
    from tests.simulator.interactions import Interaction
    from tests.simulator.messages import Message
    from tests.simulator.payloads import Json

MEBIBYTE = 1024 * 1024


class Dispatcher(Protocol):
    """The gateway, as the rest of the simulator sees it."""

    privileged: Intent

    def dispatch(
        self, event: str, data: Json, *, guild_id: int | None, intent: Intent | None, redacted: Json | None = None
    ) -> None:
        """Send an event to every session that wants it; ``redacted`` to those without message content."""
        ...

    async def flushed(self) -> None:
        """Wait until all that was dispatched is on the wire of every connected session."""
        ...


@dataclass(eq=False, kw_only=True)
class Limits:
    """What Discord limits, where a test may want other figures. Seconds and bytes."""

    acknowledge_s: float = 3.0
    token_s: float = 15 * 60.0
    upload_bytes: int = 10 * MEBIBYTE
    nonce_s: float = 5 * 60.0
    recommended_shards: int = 1


class World:
    """The state, without the servers that show it."""

    def __init__(self, gateway: Dispatcher, clock: Clock) -> None:
        self.gateway = gateway
        self.clock = clock
        self.ids = Snowflakes(clock)
        self.changes = Changes()
        self.limits = Limits()
        self.cdn = Cdn(clock, self.ids)
        self.application_id = self.ids.next()
        self.bot = User(id=self.application_id, name="earshot", bot=True)
        self.owner = User(id=self.ids.next(), name="owner")
        self.users: dict[int, User] = {self.bot.id: self.bot, self.owner.id: self.owner}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.commands = Commands(self)
        self.interactions: dict[int, Interaction] = {}
        self.installers: set[User] = set()
        self._nonces: dict[tuple[int, str], Message] = {}

    def add_user(self, name: str, *, locale: str = "en-US", bot: bool = False) -> User:
        """Make an account."""
        user = User(id=self.ids.next(), name=name, locale=locale, bot=bot)
        self.users[user.id] = user
        return user

    def add_guild(
        self,
        name: str,
        *,
        bot_permissions: int = permissions.EVERYBODY | permissions.Permission.SET_VOICE_CHANNEL_STATUS,
        locale: str = "en-US",
        guild_id: int | None = None,
    ) -> Guild:
        """The bot is invited to a new guild, with a role of its own."""
        guild = self.add_guild_without_bot(name, locale=locale, guild_id=guild_id)
        own = Role(id=self.ids.next(), name=self.bot.name, permissions=bot_permissions, position=1, managed=True)
        guild.roles[own.id] = own
        guild.join(self.bot, roles=[own])
        self.guilds[guild.id] = guild
        # Of a guild that was joined, Discord does not say that it is available (again): so clients tell the two apart.
        joined = {key: value for key, value in guild.payload().items() if key != "unavailable"}
        self.dispatch("GUILD_CREATE", joined, guild_id=guild.id, intent=Intent.GUILDS)
        return guild

    def add_guild_without_bot(self, name: str, *, locale: str = "en-US", guild_id: int | None = None) -> Guild:
        """Make a guild that nobody invited the bot to: it hears of it by interactions of those who installed it."""
        guild = Guild(
            world=self,
            id=guild_id or self.ids.next(),
            name=name,
            owner_id=self.owner.id,
            created_at=self.clock.now(),
            locale=locale,
        )
        everyone = Role(id=guild.id, name="@everyone", permissions=permissions.EVERYBODY, position=0)
        guild.roles = {everyone.id: everyone}
        guild.join(self.owner)
        return guild

    def remove_guild(self, guild: Guild) -> None:
        """The bot is thrown out."""
        del self.guilds[guild.id]
        for channel_id in (*guild.channels, *guild.threads):
            self.channels.pop(channel_id, None)
        self.dispatch("GUILD_DELETE", {"id": str(guild.id)}, guild_id=guild.id, intent=Intent.GUILDS)

    def direct_channel(self, user: User) -> Channel:
        """The conversation between the bot and a user; it is made where there is none."""
        for channel in self.channels.values():
            if channel.recipient is user:
                return channel
        channel = Channel(world=self, id=self.ids.next(), name="", kind=ChannelKind.DM, recipient=user)
        self.channels[channel.id] = channel
        return channel

    def dispatch(
        self,
        event: str,
        data: Json,
        *,
        guild_id: int | None,
        intent: Intent | None,
        redacted: Json | None = None,
    ) -> None:
        """Tell the bot, and whoever waits for a change. Guilds that the bot is not in (yet) are silent."""
        if guild_id is None or guild_id in self.guilds or event == "GUILD_DELETE":
            self.gateway.dispatch(event, data, guild_id=guild_id, intent=intent, redacted=redacted)
        self.changes.notify()

    def publish(self, message: Message) -> None:
        """Put a new message into its channel; an ephemeral one is not told of."""
        message.channel.messages[message.id] = message
        if message.nonce is not None:
            self._nonces[message.channel.id, str(message.nonce)] = message
        self._tell("MESSAGE_CREATE", message)

    def republish(self, message: Message) -> None:
        """A message was edited."""
        self._tell("MESSAGE_UPDATE", message)

    def delete(self, message: Message) -> None:
        """A message was deleted; it keeps its history for the test."""
        message.deleted = True
        if not message.ephemeral:
            guild = message.channel.guild
            data = {"id": str(message.id), "channel_id": str(message.channel.id)}
            if guild:
                data["guild_id"] = str(guild.id)
            self.dispatch("MESSAGE_DELETE", data, guild_id=guild.id if guild else None, intent=self._intent(message))
        self.changes.notify()

    def react(self, message: Message, user: User, emoji: str) -> None:
        """Somebody reacts to a message; doing it again changes nothing."""
        users = message.reactions.setdefault(emoji, [])
        if user in users:
            return
        users.append(user)
        guild = message.channel.guild
        data: Json = {
            "user_id": str(user.id),
            "channel_id": str(message.channel.id),
            "message_id": str(message.id),
            "message_author_id": str(message.author.id),
            "emoji": emoji_payload(emoji),
            "burst": False,
            "type": 0,
        }
        if guild is not None:
            data |= {"guild_id": str(guild.id), "member": guild.members[user.id].payload()}
        intent = Intent.GUILD_MESSAGE_REACTIONS if guild else Intent.DIRECT_MESSAGE_REACTIONS
        self.dispatch("MESSAGE_REACTION_ADD", data, guild_id=guild.id if guild else None, intent=intent)

    def same_nonce(self, channel: Channel, nonce: str | int) -> Message | None:
        """The message that was lately posted with the same nonce."""
        message = self._nonces.get((channel.id, str(nonce)))
        if message is None or (self.clock.now() - message.created_at).total_seconds() > self.limits.nonce_s:
            return None
        return message

    def _tell(self, event: str, message: Message) -> None:
        if message.ephemeral:
            self.changes.notify()
            return
        guild = message.channel.guild
        envelope: Json = {}
        if guild is not None:
            envelope["guild_id"] = str(guild.id)
            if message.author.id in guild.members:
                envelope["member"] = guild.members[message.author.id].payload_without_user()
        self.dispatch(
            event,
            message.payload() | envelope,
            guild_id=guild.id if guild else None,
            intent=self._intent(message),
            redacted=message.redacted_payload() | envelope,
        )

    @staticmethod
    def _intent(message: Message) -> Intent:
        return Intent.GUILD_MESSAGES if message.channel.guild else Intent.DIRECT_MESSAGES
