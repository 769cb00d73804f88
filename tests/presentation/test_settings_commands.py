from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import StoreUnavailable
from bot.core.records import AuditEntry, GuildSettings
from bot.presentation import automatic
from bot.presentation.settings_editor import SettingsEditor
from cogs.settings import Settings
from tests.fakes import FakeModeSource, a_mode
from tests.presentation.guildhall import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    HELPERS,
    NOW,
    Counter,
    FakeAuditLog,
    FakeChannel,
    FakeSettingsStore,
    a_manager,
    a_member,
    all_text,
    an_interaction,
    an_operator,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.core.modes import Mode

REFUSED: Any = SimpleNamespace(status=403, reason="no")


class Office:
    """The command, with a guild whose channels are these."""

    def __init__(
        self,
        channels: dict[int, FakeChannel] | None = None,
        *,
        automatic_allowed: bool = True,
        modes: Sequence[Mode] = (a_mode(), a_mode("minutes")),
    ) -> None:
        self.counter = Counter()
        self.store = FakeSettingsStore()
        self.audit = FakeAuditLog(noted=self.store.entries)
        editor = SettingsEditor(self.store, self.counter.reception)
        self.cog = Settings(
            editor, self.audit, FakeModeSource(*modes), an_operator(automatic_allowed=automatic_allowed)
        )
        self._channels = channels or {}

    async def use(self, command: Any, *values: Any, by: discord.Member | None = None, **options: Any) -> str:
        """Use a command; what the answer says."""
        interaction = an_interaction(by or a_manager(), guild=SimpleNamespace(get_channel_or_thread=self._channels.get))
        await command.callback(self.cog, interaction, *values, **options)
        return all_text(self.counter.answer)

    @property
    def settings(self) -> GuildSettings | None:
        return self.store.kept.get(GUILD)


def a_channel(*, may: discord.Permissions | None = None, channel_id: int = CHANNEL) -> Any:
    """A channel as an option of a command, with what the bot may do in it."""
    permissions = discord.Permissions.all() if may is None else may

    def permissions_for(_member: object) -> discord.Permissions:
        return permissions

    return SimpleNamespace(
        id=channel_id, mention=f"<#{channel_id}>", guild=SimpleNamespace(me=None), permissions_for=permissions_for
    )


async def test_a_change_is_made_told_and_noted() -> None:
    office = Office()
    said = await office.use(office.cog.language, "German")
    assert "**Language**\nnot set here → German" in said
    assert office.settings == GuildSettings(guild_id=GUILD, language="de")
    (entry,) = office.store.entries
    assert (entry.who, entry.at, entry.what, entry.after) == (BOB, NOW, "settings.language", "German")
    assert "German" in await office.use(office.cog.audit)
    assert "German" in await office.use(office.cog.show)


@pytest.mark.parametrize("command", ["show", "audit", "language"])
async def test_who_is_no_moderator_is_refused(command: str) -> None:
    office = Office()
    values = ["German"] if command == "language" else []
    assert "Only moderators" in await office.use(getattr(office.cog, command), *values, by=a_member())
    assert office.settings is None
    assert office.store.entries == []


async def test_the_moderator_role_is_enough() -> None:
    office = Office()
    await office.use(office.cog.roles, SimpleNamespace(id=HELPERS))
    assert "Integrations" in all_text(office.counter.answer), "Discord does not show them the commands by itself"
    helper = a_member(ADA, HELPERS)
    assert "German" in await office.use(office.cog.language, "de", by=helper)


async def test_what_is_the_same_is_not_noted() -> None:
    office = Office()
    await office.use(office.cog.language, "de")
    assert "nothing was changed" in await office.use(office.cog.language, "German")
    assert len(office.store.entries) == 1


async def test_every_command_changes_what_it_says() -> None:
    office = Office()
    cog = office.cog
    await office.use(cog.mode, "minutes")
    await office.use(cog.channels, moderators=a_channel(), announcements=a_channel(channel_id=CHANNEL + 1))
    await office.use(cog.limits, per_hour=20.0, daily=300)
    await office.use(cog.tier, SimpleNamespace(id=HELPERS), burst=9)
    await office.use(cog.retention, 2.0)
    await office.use(cog.voice_messages, a_channel(), on=True)
    settings = office.settings
    assert settings is not None
    assert (settings.default_mode, settings.per_hour, settings.burst, settings.daily_budget) == (
        "minutes",
        20,
        None,
        300,
    )
    assert (settings.moderator_channel_id, settings.announcement_channel_id) == (CHANNEL, CHANNEL + 1)
    assert [(tier.per_hour, tier.burst) for tier in settings.tiers] == [(20, 9)]
    assert (settings.retention_days, settings.automatic_channels) == (2, (CHANNEL,))
    await office.use(cog.reset, "default_mode")
    assert office.settings == settings.model_copy(update={"default_mode": None})
    assert len(office.store.entries) == 7


async def test_over_the_cap_is_refused_with_the_cap() -> None:
    office = Office()
    said = await office.use(office.cog.limits, burst=21)
    assert "Tokens at once" in said
    assert "the most that I may allow here is 20" in said
    assert "MAX\\_RATE\\_BURST" in said
    assert office.settings is None


async def test_automatic_transcription_names_who_has_to_switch_it_on() -> None:
    office = Office(automatic_allowed=False)
    said = await office.use(office.cog.voice_messages, a_channel(), on=True)
    assert "AUTO_TRANSCRIBE" in said
    assert "Message Content Intent" in said
    assert office.settings is None


async def test_what_the_bot_may_not_do_in_a_channel_is_pointed_out() -> None:
    office = Office()
    mute = a_channel(may=discord.Permissions(view_channel=True, embed_links=True))
    said = await office.use(office.cog.channels, moderators=mute)
    assert f"In <#{CHANNEL}>, I still need: **Send Messages**." in said
    assert "I still need" not in await office.use(office.cog.channels, moderators=a_channel(channel_id=7))


@pytest.mark.parametrize("right", automatic.rights_in(a_channel()))
async def test_what_writing_down_voice_messages_needs_is_pointed_out_when_it_is_switched_on(right: str) -> None:
    office = Office()
    lacking = discord.Permissions.all()
    lacking.update(**{right: False})
    on = await office.use(office.cog.voice_messages, a_channel(may=lacking), on=True)
    name = right.replace("_", " ").title().replace(" In ", " in ")
    assert f"I still need: **{name}**." in on
    assert "I still need" not in await office.use(office.cog.voice_messages, a_channel(may=lacking), on=False)


async def test_who_pays_for_voice_messages_is_said_when_they_are_switched_on() -> None:
    office = Office()
    on = await office.use(office.cog.voice_messages, a_channel(), on=True)
    assert "I still need" not in on
    assert "takes a token of whoever speaks" in on
    assert f"{automatic.REFUSED} below one says that they, or this server, have none left" in on
    assert "token" not in await office.use(office.cog.voice_messages, a_channel(), on=False)


async def test_a_channel_for_announcements_is_said_to_be_for_later() -> None:
    office = Office()
    said = await office.use(office.cog.channels, announcements=a_channel())
    assert f"Announcements' channel (not in use yet): <#{CHANNEL}>" in said


async def test_a_tier_that_would_do_nothing_is_refused_with_what_everybody_has() -> None:
    office = Office()
    said = await office.use(office.cog.tier, SimpleNamespace(id=HELPERS), burst=2)
    assert "more than everybody has, which is 10 an hour and 3 at once" in said
    assert office.settings is None


async def test_every_change_that_is_kept_is_shown() -> None:
    office = Office()
    entry = AuditEntry(guild_id=GUILD, at=NOW, who=ADA, what="settings.language", after="German")
    office.store.entries += [entry] * 300
    await office.use(office.cog.audit)
    (file,) = office.counter.answer.files
    assert len(file.content.splitlines()) == 300


async def test_a_change_is_posted_where_moderators_read_and_pings_nobody() -> None:
    channel = FakeChannel()
    office = Office({CHANNEL: channel})
    await office.use(office.cog.channels, moderators=a_channel())
    await office.use(office.cog.language, "de")
    assert len(channel.sent) == 2
    assert f"<@{BOB}> **Language**: not set here → German" in channel.sent[1]["embed"].description
    assert channel.sent[1]["content"] is None
    assert channel.sent[1]["allowed_mentions"].to_dict() == {"parse": []}


async def test_who_turns_the_posts_away_is_seen_to_do_so() -> None:
    old, new = FakeChannel(), FakeChannel()
    office = Office({CHANNEL: old, CHANNEL + 1: new})
    await office.use(office.cog.channels, moderators=a_channel())
    await office.use(office.cog.channels, moderators=a_channel(channel_id=CHANNEL + 1))
    assert (len(old.sent), len(new.sent)) == (2, 1)
    await office.use(office.cog.reset, "moderator_channel_id")
    assert len(new.sent) == 2


@pytest.mark.parametrize(
    "channels",
    [
        {},
        {CHANNEL: FakeChannel(fails=discord.Forbidden(REFUSED, "no"))},
        {CHANNEL: FakeChannel(fails=OSError("reset"))},
    ],
    ids=["gone", "closed", "network"],
)
async def test_a_change_that_cannot_be_posted_is_made_all_the_same(channels: dict[int, FakeChannel]) -> None:
    office = Office(channels)
    await office.use(office.cog.channels, moderators=a_channel())
    assert "German" in await office.use(office.cog.language, "de")
    assert office.settings is not None
    assert office.settings.language == "de"


async def test_a_store_that_is_away_is_said_to_be() -> None:
    office = Office()
    office.store.fails = StoreUnavailable()
    cog = office.cog
    for command, values in ((cog.show, ()), (cog.language, ("de",)), (cog.reset, ("language",)), (cog.audit, ())):
        assert "can't reach my memory" in await office.use(command, *values)


async def suggested(cog: Any, typed: str) -> list[str]:
    """The ids of the modes that are suggested; discord.py's decorator hides that it is a method of the cog's."""
    return [choice.value for choice in await cog.complete_mode(an_interaction(a_manager()), typed)]


@pytest.mark.parametrize(("typed", "found"), [("", ["summarize", "minutes"]), ("MIN", ["minutes"]), ("?", [])])
async def test_modes_are_suggested(typed: str, found: list[str]) -> None:
    office = Office()
    assert await suggested(office.cog, typed) == found


async def test_no_more_modes_are_suggested_than_discord_shows() -> None:
    office = Office(modes=[a_mode(f"mode-{number}") for number in range(60)])
    assert len(await suggested(office.cog, "mode")) == 25
