"""A guild of real discord.py objects, and what stands behind the commands of its members: fakes that remember."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord

from bot.core.errors import NotFound, StoreUnavailable
from bot.core.fair_use import FairUse
from bot.core.quotas import Limits
from bot.core.records import AuditEntry, GuildSettings, RequestRecord
from bot.presentation.courier import answer_embed
from bot.presentation.moderation import AccessPolicy
from bot.presentation.reception import Reception
from bot.presentation.settings_changes import Operator
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bot.core.records import Delivery
    from bot.presentation.courier import Placeholder
    from bot.presentation.replies import Answer

GUILD = 100_000_000_000_000_001
CHANNEL = 100_000_000_000_000_002
MANAGERS = 100_000_000_000_000_003
HELPERS = 100_000_000_000_000_004
OWNER = 100_000_000_000_000_005
ADA = 100_000_000_000_000_006
BOB = 100_000_000_000_000_007
LOCALE = "en-US"
NOW = 1_800_000_000.0


# --- a guild ------------------------------------------------------------------------------------------------------


def a_guild() -> discord.Guild:
    """A guild in which ``MANAGERS`` have Manage Server and ``HELPERS`` nothing that everybody has not."""
    client = discord.Client(intents=discord.Intents(guilds=True))
    roles = [
        _role(GUILD, "@everyone", discord.Permissions(view_channel=True)),
        _role(MANAGERS, "managers", discord.Permissions(manage_guild=True)),
        _role(HELPERS, "helpers", discord.Permissions.none()),
    ]
    data: Any = {"id": str(GUILD), "name": "Town", "owner_id": str(OWNER), "roles": roles, "preferred_locale": LOCALE}
    return discord.Guild(data=data, state=client._connection)  # pyright: ignore[reportPrivateUsage] - there is no other way to make one


def _role(role_id: int, name: str, permissions: discord.Permissions) -> dict[str, Any]:
    return {
        "id": str(role_id),
        "name": name,
        "permissions": str(permissions.value),
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 0,
        "managed": False,
        "mentionable": False,
    }


def a_member(member_id: int = ADA, *role_ids: int, guild: discord.Guild | None = None) -> discord.Member:
    guild = guild or a_guild()
    roles = [str(role) for role in role_ids]
    data: Any = {"user": _user(member_id), "roles": roles, "flags": 0, "joined_at": None}
    return discord.Member(data=data, guild=guild, state=guild._state)  # pyright: ignore[reportPrivateUsage] - as above


def a_user(user_id: int = ADA) -> discord.User:
    """Somebody who is in no guild."""
    data: Any = _user(user_id)
    return discord.User(data=data, state=a_guild()._state)  # pyright: ignore[reportPrivateUsage] - as above


def _user(user_id: int) -> dict[str, Any]:
    return {"id": str(user_id), "username": "somebody", "discriminator": "0", "avatar": None}


def a_manager(guild: discord.Guild | None = None) -> discord.Member:
    return a_member(BOB, MANAGERS, guild=guild)


class FakeChannel(discord.abc.Messageable):
    """A channel that takes messages, or fails."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.sent: list[dict[str, Any]] = []

    async def send(self, content: str | None = None, **given: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - what is used of it
        if self.fails is not None:
            raise self.fails
        self.sent.append({**given, "content": content})


# --- what stands behind -------------------------------------------------------------------------------------------


@dataclass
class FakeSettingsStore:
    """Settings of guilds; ``fails`` is raised by every call, but for `get`, which goes on without a store."""

    kept: dict[int, GuildSettings] = field(default_factory=dict[int, GuildSettings])
    entries: list[AuditEntry] = field(default_factory=list[AuditEntry])
    present: list[int] = field(default_factory=list[int])
    fails: Exception | None = None

    async def get(self, guild_id: int) -> GuildSettings:
        with suppress(StoreUnavailable):
            return await self.look_up(guild_id)
        return GuildSettings(guild_id=guild_id)

    async def look_up(self, guild_id: int) -> GuildSettings:
        if self.fails is not None:
            raise self.fails
        return self.kept.get(guild_id) or GuildSettings(guild_id=guild_id)

    async def change(
        self, guild_id: int, change: Callable[[GuildSettings], GuildSettings], entry: AuditEntry
    ) -> GuildSettings:
        self.kept[guild_id] = change(await self.look_up(guild_id))
        self.entries.insert(0, entry)
        return self.kept[guild_id]

    async def keep(self, guild_ids: Iterable[int]) -> None:
        if self.fails is not None:
            raise self.fails
        self.present += guild_ids

    async def expire(self, guild_id: int, *, within_s: float) -> None:  # noqa: ARG002 - the port's
        if self.fails is not None:
            raise self.fails
        self.kept.pop(guild_id, None)


@dataclass
class FakeAuditLog:
    """What was noted, the newest first."""

    noted: list[AuditEntry] = field(default_factory=list[AuditEntry])
    fails: Exception | None = None

    async def note(self, entry: AuditEntry) -> None:
        if self.fails is not None:
            raise self.fails
        self.noted.insert(0, entry)

    async def entries(self, guild_id: int, count: int) -> list[AuditEntry]:
        return [entry for entry in self.noted if entry.guild_id == guild_id][:count]


class FakeRequestLog:
    """Records by id."""

    def __init__(self, *records: RequestRecord) -> None:
        self.records = {record.id: record for record in records}
        self.fails: Exception | None = None

    async def put(self, record: RequestRecord, *, keep_s: float) -> None:  # noqa: ARG002 - the port's
        self.records[record.id] = record

    async def swap(self, old: RequestRecord, new: RequestRecord, *, keep_s: float) -> bool:
        is_kept = self.records.get(old.id) == old
        if is_kept:
            await self.put(new, keep_s=keep_s)
        return is_kept

    async def get(self, request_id: str) -> RequestRecord:
        if request_id not in self.records:
            raise NotFound
        return self.records[request_id]

    async def of_member(self, guild_id: int | None, member_id: int) -> list[RequestRecord]:
        if self.fails is not None:
            raise self.fails
        found = [r for r in self.records.values() if (r.guild_id, r.member_id) == (guild_id, member_id)]
        return sorted(found, key=lambda record: -record.created_at)

    async def delete(self, record: RequestRecord) -> None:
        del self.records[record.id]


class FakeDeliveryLog:
    """Ids of answers that have not arrived."""

    def __init__(self, *request_ids: str) -> None:
        self.waiting = set(request_ids)

    async def begin(self, delivery: Delivery) -> None:
        self.waiting.add(delivery.request_id)

    async def done(self, delivery: Delivery) -> None:
        self.waiting.discard(delivery.request_id)

    async def pending(self, guild_id: int | None, member_id: int) -> frozenset[str]:  # noqa: ARG002 - the port's
        return frozenset(self.waiting)


def an_operator(*, automatic_allowed: bool = True) -> Operator:
    """Allows members 10 tokens an hour and 3 at once, moderators 60 and 20, a guild 500 a day; keeps results a week."""
    no_limiter: Any = None
    default, caps = Limits(per_hour=10, burst=3, daily=500), Limits(per_hour=60, burst=20, daily=500)
    fair_use = FairUse(no_limiter, FakeSettingsStore(), default=default, caps=caps, outside=default)
    return Operator(fair_use=fair_use, transcript_days=7, automatic_allowed=automatic_allowed)


# --- commands -----------------------------------------------------------------------------------------------------


class FakeCourier:
    """Remembers the answers, and who alone sees them."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.private: list[bool] = []

    async def deliver(self, placeholder: Placeholder, answer: Answer, *, nonce: str) -> None:  # noqa: ARG002 - the courier's
        self.answers.append(answer)
        self.private.append(placeholder.address.private)


class Counter:
    """A reception as it is, between commands and a courier that remembers. It serves users outside guilds, too."""

    def __init__(self) -> None:
        self.courier = FakeCourier()
        nothing: Any = None
        courier: Any = self.courier
        policy = AccessPolicy(allow_user_install=True)
        self.reception = Reception(
            *(nothing, nothing, nothing, courier, policy), outlived=True, now=FakeClock(), new_id=lambda: "0" * 16
        )

    @property
    def answer(self) -> Answer:
        """The newest answer; members alone see it."""
        assert self.courier.private[-1]
        return self.courier.answers[-1]


def an_interaction(member: discord.Member | discord.User, **more: Any) -> Any:
    """A command's, of a member in their guild."""

    async def defer(*, ephemeral: bool, thinking: bool) -> None:
        assert ephemeral
        assert thinking

    guild = member.guild if isinstance(member, discord.Member) else None
    return SimpleNamespace(
        **{
            "user": member,
            "guild": guild,
            "guild_id": guild.id if guild else None,
            "channel_id": CHANNEL,
            "locale": LOCALE,
            "created_at": datetime.fromtimestamp(NOW, UTC),
            "application_id": 1,
            "token": "token",
            "filesize_limit": 1_000,
            "client": None,
            "is_guild_integration": lambda: guild is not None,
            "response": SimpleNamespace(defer=defer),
            **more,
        }
    )


# --- values -------------------------------------------------------------------------------------------------------


def assert_fits(answer: Answer) -> discord.Embed:
    """Discord's limits of an embed and of what stands below it."""
    embed = answer_embed(answer)
    assert len(embed) <= 6_000
    assert len(embed.title or "") <= 256
    assert 1 <= len(embed.description or "") <= 4_096
    assert len(embed.fields) <= 25
    for shown in embed.fields:
        assert 1 <= len(shown.name or "") <= 256
        assert 1 <= len(shown.value or "") <= 1_024
    assert len(embed.footer.text or "") <= 2_048
    ids = {getattr(item, "custom_id", None) for item in answer.extra_items}
    assert len(ids) == len(answer.extra_items), "Discord takes an id once in a message"
    return embed


def all_text(answer: Answer) -> str:
    """Everything that is read."""
    fields = (f"{shown.name}\n{shown.value}" for shown in answer.fields)
    return "\n".join((answer.title or "", answer.description, *fields, answer.footer or ""))
