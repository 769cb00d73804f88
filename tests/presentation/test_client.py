from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import StoreUnavailable
from bot.core.health import Health, State
from bot.core.records import GuildSettings
from bot.presentation.client import GATEWAY, EarshotBot
from bot.presentation.moderation import AccessPolicy
from tests.fakes import FakeClock
from tests.presentation.guildhall import GUILD, FakeSettingsStore, a_guild
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeCommandSync:
    """Remembers where it was asked to write; None is everywhere."""

    def __init__(self) -> None:
        self.synced: list[int | None] = []

    async def sync_everywhere(self) -> None:
        self.synced.append(None)

    async def sync_guild(self, guild_id: int) -> None:
        self.synced.append(guild_id)


class Presence:
    """A bot that is in a guild of which Discord tells everything, and in one that is out of reach."""

    def __init__(self) -> None:
        self.store = FakeSettingsStore(kept={GUILD: GuildSettings(guild_id=GUILD)})
        services: Any = SimpleNamespace(
            settings=self.store,
            policy=AccessPolicy(allowed_guilds=frozenset({1})),
            health=Health((GATEWAY,), FakeClock()),
            automatic=False,
        )
        self.bot = EarshotBot(services, proxy=None)
        self.commands = FakeCommandSync()
        vars(self.bot)["commands_shown"] = self.commands
        state: Any = self.bot._connection  # pyright: ignore[reportPrivateUsage] - there is no other way in
        state._add_guild(a_guild())
        state._add_guild(discord.Guild._create_unavailable(state=state, guild_id=GUILD + 1, data=None))  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
async def presence() -> AsyncIterator[Presence]:
    presence = Presence()
    yield presence
    await presence.bot.close()


async def test_settings_stay_where_the_bot_is(presence: Presence) -> None:
    await presence.bot.on_ready()
    await until(lambda: presence.store.present)
    assert presence.store.present == [GUILD, GUILD + 1], "also where it is out of reach, or may not be used"
    await presence.bot.on_ready()
    assert presence.bot.stay.hours == 24
    assert presence.bot.services.health.parts[GATEWAY].state is State.OK


async def test_who_comes_back_finds_the_settings_and_who_sends_it_away_loses_them_in_a_while(
    presence: Presence,
) -> None:
    await presence.bot.on_guild_join(a_guild())
    assert presence.store.present == [GUILD]
    await presence.bot.on_guild_remove(a_guild())
    assert presence.store.kept == {}


async def test_a_store_that_is_away_keeps_nobody_from_coming_and_going(presence: Presence) -> None:
    presence.store.fails = StoreUnavailable()
    await presence.bot.on_guild_join(a_guild())
    assert presence.commands.synced == [GUILD]
    await presence.bot.on_guild_remove(a_guild())
    await presence.bot.stay()
    presence.store.fails = None
    await presence.bot.stay()
    assert presence.store.present == [GUILD, GUILD + 1], "the next time, they are named again"


async def test_the_end_of_the_bot_ends_the_days(presence: Presence) -> None:
    await presence.bot.on_ready()
    await presence.bot.close()
    await until(lambda: not presence.bot.stay.is_running())
