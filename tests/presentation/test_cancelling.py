"""Who may stop a request, and what is shown then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import StoreUnavailable
from bot.core.jobs import Lane
from bot.core.models import Asker, AudioLink, Request
from bot.core.orders import Address
from bot.core.records import GuildSettings, RequestRecord, RequestState
from bot.presentation.cancelling import Cancelling
from bot.presentation.views import CancelButton, cancel_view
from tests.core.workplace import Store
from tests.presentation.guildhall import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    HELPERS,
    FakeSettingsStore,
    a_guild,
    a_manager,
    a_member,
    a_user,
    an_interaction,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "0123456789abcdef"


class Press:
    """One press of the button: whether it was acknowledged, and what was said to the presser alone."""

    def __init__(self, member: discord.Member | discord.User, fails: Exception | None = None) -> None:
        self.said: list[dict[str, Any]] = []
        self.deferred = 0
        self._fails = fails
        response, followup = SimpleNamespace(defer=self._defer), SimpleNamespace(send=self._say)
        self.interaction = an_interaction(member, response=response, followup=followup)

    async def _say(self, **given: Any) -> None:
        if self._fails is not None:
            raise self._fails
        self.said.append(given)

    async def _defer(self) -> None:
        self.deferred += 1

    @property
    def refusal(self) -> str:
        assert self.deferred == 1, "others see nothing of it"
        (said,) = self.said
        assert said["ephemeral"]
        return said["embed"].description or ""


class Desk:
    """A request of Ada's that runs, and the button below it."""

    def __init__(self) -> None:
        self.store = Store()
        self.settings = FakeSettingsStore()
        self.cancelling = Cancelling(self.store.here.dispatch, self.store.here.requests, self.settings)

    async def taken(self, guild_id: int | None = GUILD) -> RequestRecord:
        asker = Asker(guild_id=guild_id, channel_id=CHANNEL, member_id=ADA)
        source = AudioLink(url="https://cdn.discordapp.com/a.ogg", filename="a.ogg")
        address = Address(member_id=ADA, file_limit=1_000)
        request = Request(id=ID, source=source, mode=None, asker=asker)
        record = await self.store.here.dispatch.accept(request, address)
        assert isinstance(record, RequestRecord)
        return record

    async def press(self, member: discord.Member | discord.User, fails: Exception | None = None) -> Press:
        press = Press(member, fails)
        await self.cancelling.press(press.interaction, ID)
        return press

    async def is_stopped(self) -> bool:
        flagged = ID in await self.store.here.flags.raised([ID])
        assert flagged == ((ID, Lane.READY) in self.store.queue.submitted), (
            "it does not wait for its turn to be cancelled"
        )
        return flagged


def a_moderator() -> discord.Member:
    return a_member(BOB, HELPERS)


@pytest.mark.parametrize("who", [a_member, a_manager, a_moderator], ids=["asker", "manager", "moderator"])
async def test_whoever_asked_or_a_moderator_stops_it(who: Callable[[], discord.Member]) -> None:
    desk = Desk()
    desk.settings.kept[GUILD] = GuildSettings(guild_id=GUILD, moderator_role_id=HELPERS)
    await desk.taken()
    press = await desk.press(who())
    assert await desk.is_stopped()
    assert (press.deferred, press.said) == (1, []), "the message is left to the answer"
    await desk.store.here.run(ID)
    assert (await desk.store.record(ID)).state is RequestState.CANCELLED


def a_manager_elsewhere() -> discord.Member:
    guild = a_guild()
    guild.id = GUILD + 1
    return a_manager(guild)


@pytest.mark.parametrize(
    "who",
    [lambda: a_member(BOB), a_moderator, a_manager_elsewhere, lambda: a_user(BOB)],
    ids=["member", "somebody with a role", "manager of another guild", "user"],
)
async def test_nobody_else_does(who: Callable[[], discord.Member | discord.User]) -> None:
    desk = Desk()
    await desk.taken()
    press = await desk.press(who())
    assert "Only whoever asked for this" in press.refusal
    assert not await desk.is_stopped()


async def test_outside_all_guilds_only_whoever_asked_does() -> None:
    desk = Desk()
    await desk.taken(guild_id=None)
    assert "Only whoever asked for this" in (await desk.press(a_manager())).refusal
    assert (await desk.press(a_user())).deferred == 1
    assert await desk.is_stopped()


async def test_what_has_ended_is_left_as_it_stands() -> None:
    desk = Desk()
    await desk.taken()
    await desk.store.here.run(ID)
    press = await desk.press(a_member())
    assert (press.said, press.deferred) == ([], 1), "its answer may stand there already"
    assert await desk.store.here.flags.raised([ID]) == frozenset()


async def test_what_nobody_knows_cannot_be_stopped() -> None:
    assert (await Desk().press(a_member())).refusal


async def test_where_the_store_is_away_whoever_pressed_hears_of_it() -> None:
    desk = Desk()
    await desk.taken()
    desk.store.here.gate.away = True
    assert (await desk.press(a_member())).refusal
    desk.store.here.gate.away = False
    assert not await desk.is_stopped()


async def test_where_nobody_can_tell_who_is_a_moderator_nobody_is() -> None:
    desk = Desk()
    await desk.taken()
    desk.settings.fails = StoreUnavailable("away")
    assert (await desk.press(a_moderator())).refusal
    assert not await desk.is_stopped()


@pytest.mark.parametrize("who", [a_member, lambda: a_member(BOB)], ids=["asker", "other"])
async def test_a_press_that_cannot_be_answered_counts_all_the_same(who: Callable[[], discord.Member]) -> None:
    desk = Desk()
    await desk.taken()
    gone: Any = SimpleNamespace(status=404, reason="")
    await desk.press(who(), discord.NotFound(gone, {"code": 10_062, "message": "Unknown interaction"}))
    assert await desk.is_stopped() == (who().id == ADA)


async def test_the_button_tells_the_client_which_request_it_stands_under() -> None:
    (button,) = cancel_view(ID, "en-US").children
    assert isinstance(button, CancelButton)
    told: list[tuple[Any, ...]] = []

    def dispatch(*given: Any) -> None:
        told.append(given)

    interaction = an_interaction(a_member(), client=SimpleNamespace(dispatch=dispatch))
    match = CancelButton.__discord_ui_compiled_template__.fullmatch(button.custom_id)
    assert match is not None
    again = await CancelButton.from_custom_id(interaction, button.item, match)
    await again.callback(interaction)
    assert told == [("cancel", interaction, ID)]
    assert again.item.label == button.item.label == "Cancel"
