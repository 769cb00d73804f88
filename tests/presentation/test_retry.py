from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import CourtesyExceeded, StoreUnavailable, UnknownMode
from bot.core.models import KeptTranscript
from bot.core.quotas import Verdict
from bot.core.records import GuildSettings
from bot.presentation.courier import PartialAnswer
from bot.presentation.moderation import AccessPolicy
from bot.presentation.retry import Retries, withdraw
from bot.presentation.upgrades import EVERY_S, Upgrades
from bot.presentation.views import RetryButton
from cogs.listen import Retry
from tests.fakes import FakeClock, FakeModeSource
from tests.presentation.guildhall import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    HELPERS,
    LOCALE,
    FakeRequestLog,
    FakeSettingsStore,
    a_manager,
    a_member,
    a_user,
    an_interaction,
)
from tests.presentation.retrying import (
    EXTRACT,
    GAP,
    ID,
    KEPT,
    MISSING,
    REFUSES,
    ScriptedDesk,
    a_partial,
    a_record,
)
from tests.waiting import until

if TYPE_CHECKING:
    from bot.core.models import Note
    from bot.core.records import RequestRecord

AGAIN, UPGRADE = "1" * 16, "2" * 16
GONE: Any = SimpleNamespace(status=404, reason="gone")
UNKNOWN = discord.NotFound(GONE, {"code": 10_008, "message": "Unknown Message"})
VERDICT = Verdict(allowed=False, cost=1, remaining=0, retry_after_s=9, full_at=9, now=0, refused_by="bucket")


class FakeAside:
    """Messages to whoever pressed: what each shows, and whether it is still there."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.is_there = False
        self.dismissed = False

    async def send(self, *, embed: discord.Embed, ephemeral: bool, wait: bool) -> FakeAside:
        assert ephemeral
        assert wait
        assert not self.is_there, "one message is enough"
        self.is_there = True
        return await self.edit(embed=embed)

    async def edit(self, *, embed: discord.Embed) -> FakeAside:
        if self.dismissed:
            self.is_there = self.dismissed = False
            raise UNKNOWN
        self.shown.append(f"{embed.title or ''}\n{embed.description}")
        return self

    async def delete(self) -> None:
        self.is_there = False


class Press:
    """A message with the button, and somebody who presses it."""

    def __init__(self, *notes: Note, guild_id: int | None = GUILD, allowed: frozenset[int] = frozenset()) -> None:
        self.reply = a_partial(*notes, guild_id=guild_id)
        self.requests = FakeRequestLog(a_record(self.reply))
        self.desk = ScriptedDesk(self.requests)
        self.settings = FakeSettingsStore()
        desk: Any = self.desk
        modes = FakeModeSource()
        self.clock = FakeClock()
        ids = iter([UPGRADE, "3" * 16, "4" * 16])
        self.upgrades = Upgrades(desk, self.requests, modes, clock=self.clock, new_id=lambda: next(ids))
        policy = AccessPolicy(allowed_guilds=allowed, allow_user_install=True)
        self.retries = Retries(desk, self.requests, self.settings, policy, modes, self.upgrades, new_id=lambda: AGAIN)
        self.aside = FakeAside()
        self.edits: list[dict[str, Any]] = []
        self.fails: Exception | None = None

    async def by(
        self, member: discord.Member | discord.User | None = None, *, ephemeral: bool = False, request_id: str = ID
    ) -> None:
        interaction = an_interaction(
            member or a_member(),
            message=SimpleNamespace(id=1, flags=SimpleNamespace(ephemeral=ephemeral), jump_url="https://x.example/1"),
            response=SimpleNamespace(defer=self._defer),
            followup=self.aside,
            edit_original_response=self.edit,
            filesize_limit=1_000,
            client=SimpleNamespace(dispatch=self._dispatch),
        )
        # As after a restart: of the button there is its id alone.
        button = RetryButton(request_id, LOCALE)
        found = button.template.fullmatch(button.custom_id)
        assert found is not None
        again = await RetryButton.from_custom_id(interaction, button.item, found)
        await again.callback(interaction)
        await self._pressed

    async def remembered(self, message_id: int = 1) -> None:
        """Let a message wait for a model."""
        message: Any = SimpleNamespace(id=message_id, jump_url="", edit=self.edit)
        answer = PartialAnswer(reply=self.reply, message=message, locale=LOCALE, limit=1_000)
        await Retry(self.retries, self.upgrades).on_partial_answer(answer)

    def _dispatch(self, event: str, *told: Any) -> None:
        cog = Retry(self.retries, self.upgrades)
        self._pressed = asyncio.ensure_future(getattr(cog, f"on_{event}")(*told))

    async def _defer(self) -> None:
        """What stands there stays; nobody sees "is thinking"."""

    async def edit(self, **given: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.edits.append(given)

    @property
    def shown(self) -> list[str]:
        return [edit["embed"].description for edit in self.edits]


async def test_what_a_model_makes_of_it_takes_the_place_of_the_message() -> None:
    press = Press()
    await press.by()
    assert press.shown == ["By gpt-4o."]
    (edit,) = press.edits
    assert edit["embed"].footer.text == "Updated with gpt-4o."
    assert edit["attachments"] == [], "the files of the extract go"
    assert not any(isinstance(item, RetryButton) for item in edit["view"].children)
    assert press.aside.shown == []
    assert press.desk.delivered_at == {AGAIN: "https://x.example/1"}


async def test_the_same_mode_is_made_of_the_kept_transcript() -> None:
    press = Press()
    await press.by()
    (request,) = press.desk.asked
    assert (request.id, request.source, request.mode) == (AGAIN, KeptTranscript(id=KEPT), "summarize")
    assert request.asker is not None
    assert (request.asker.guild_id, request.asker.channel_id, request.asker.member_id) == (GUILD, CHANNEL, ADA)


@pytest.mark.parametrize("ephemeral", [False, True], ids=["public", "private"])
@pytest.mark.parametrize(
    ("before", "after"),
    [(EXTRACT, EXTRACT), (MISSING, MISSING), (EXTRACT, MISSING), (GAP, GAP), (GAP, EXTRACT)],
    ids=lambda note: note.key,
)
async def test_what_is_no_better_leaves_the_message_as_it_is(before: Note, after: Note, ephemeral: bool) -> None:
    press = Press(before)
    press.desk.outcomes = [(after,)]
    await press.by(ephemeral=ephemeral)
    assert press.edits == []
    (said,) = press.aside.shown
    assert ("That gave no more" if after is GAP else "Still no language model answers") in said
    if after is not GAP:
        assert AGAIN not in press.requests.records, "it has no place in /results"
    else:
        assert press.desk.delivered_at == {AGAIN: None}, "nobody waits for it"


@pytest.mark.parametrize(("before", "after"), [(MISSING, EXTRACT), (EXTRACT, GAP)], ids=lambda note: note.key)
async def test_what_is_better_is_shown_and_can_be_tried_again(before: Note, after: Note) -> None:
    press = Press(before)
    press.desk.outcomes = [(after,)]
    await press.by()
    (edit,) = press.edits
    assert f"earshot:retry:{AGAIN}" in [item.custom_id for item in edit["view"].children]


async def test_a_private_answer_has_no_link() -> None:
    press = Press()
    await press.by(ephemeral=True)
    assert press.shown == ["By gpt-4o."]
    assert press.desk.delivered_at == {AGAIN: None}


# --- who may ------------------------------------------------------------------------------------------------------


async def test_moderators_may_press_it_too() -> None:
    by_permission, by_role = Press(), Press()
    await by_permission.by(a_manager())
    by_role.settings.kept[GUILD] = GuildSettings(guild_id=GUILD, moderator_role_id=HELPERS)
    await by_role.by(a_member(BOB, HELPERS))
    assert by_permission.shown == by_role.shown == ["By gpt-4o."]
    asker = by_role.desk.asked[0].asker
    assert asker is not None
    assert asker.member_id == BOB, "whoever presses is who asks"


@pytest.mark.parametrize(
    "stranger", [a_member(BOB), a_member(BOB, HELPERS), a_user(BOB)], ids=["member", "helper", "user"]
)
async def test_others_get_a_polite_word(stranger: discord.Member | discord.User) -> None:
    press = Press()
    await press.by(stranger)
    (said,) = press.aside.shown
    assert "Only whoever asked for this, or a moderator" in said
    assert (press.edits, press.desk.asked) == ([], [])


async def test_a_moderator_of_another_guild_is_none_here() -> None:
    press = Press(guild_id=GUILD + 1)
    await press.by(a_manager())
    assert "Only whoever asked for this" in press.aside.shown[0]
    assert press.desk.asked == []


async def test_in_a_direct_message_it_is_still_the_guilds() -> None:
    press = Press()
    await press.by(a_user(ADA))
    assert press.shown == ["By gpt-4o."]
    asker = press.desk.asked[0].asker
    assert asker is not None
    assert asker.guild_id == GUILD
    assert press.desk.delivered_at == {AGAIN: None}


async def test_where_the_bot_may_not_be_used_it_is_not() -> None:
    press = Press(allowed=frozenset({GUILD + 5}))
    await press.by()
    assert "not opened me for this server" in press.aside.shown[0]
    assert press.desk.asked == []


# --- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CourtesyExceeded(VERDICT), "it was a lot of it"),
        (StoreUnavailable(), "can't reach my memory"),
        (UnknownMode(mode="summarize", known="notes"), "no mode called"),
        (ZeroDivisionError("secret"), "Something went wrong on my side"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_goes_wrong_is_told_to_whoever_pressed(error: Exception, said: str) -> None:
    press = Press()
    press.desk.outcomes = [error]
    await press.by()
    assert press.edits == []
    (told,) = press.aside.shown
    assert said in told
    assert "secret" not in told


async def test_a_result_that_was_deleted_cannot_be_made_again() -> None:
    press = Press()
    press.requests.records.clear()
    await press.by()
    assert "no longer kept" in press.aside.shown[0]
    assert press.desk.asked == []


async def test_a_message_that_is_gone_ends_quietly() -> None:
    press = Press()
    press.fails = UNKNOWN
    await press.by()
    assert press.aside.shown == []


async def test_where_the_message_went_meanwhile_nothing_is_said_to_be_under_way() -> None:
    press = Press()
    press.fails = UNKNOWN
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.aside.is_there)
    press.desk.open.set()
    await pressing
    assert not press.aside.is_there


async def test_whoever_dismisses_the_progress_hears_how_it_ended() -> None:
    press = Press()
    press.desk.outcomes = [(EXTRACT,)]
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.aside.is_there)
    press.aside.dismissed = True
    press.desk.open.set()
    await pressing
    assert "Still no language model answers" in press.aside.shown[-1]


@pytest.mark.parametrize("before", [EXTRACT, MISSING, GAP], ids=lambda note: note.key)
async def test_what_the_models_refuse_is_told_apart(before: Note) -> None:
    press = Press(before)
    press.desk.outcomes, press.desk.detail = [(before,)], REFUSES
    await press.by()
    (said,) = press.aside.shown
    assert "The language models refuse this" in said
    assert press.edits == []


async def test_what_was_forgotten_meanwhile_is_not_shown() -> None:
    press = Press()
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.desk.asked)
    del press.requests.records[ID]
    press.desk.open.set()
    await pressing
    assert "no longer kept" in press.aside.shown[-1]
    assert press.edits == []
    assert press.requests.records == {}, "nor is it in /results"


async def test_what_fails_has_no_place_in_results_and_what_others_left_in_the_cache_stays() -> None:
    press = Press()
    press.desk.outcomes = [StoreUnavailable()]
    cleared: list[str] = []

    class Log(FakeRequestLog):
        async def delete(self, record: RequestRecord) -> None:
            cleared.extend(record.cache_keys)
            await super().delete(record)

    first = press.requests.records[ID].model_copy(update={"cache_keys": ("c1:a", "c1:b")})
    failed = first.model_copy(update={"id": AGAIN, "cache_keys": ("c1:b", "c1:c")})
    log = Log(first, failed)
    await withdraw(log, AGAIN, beside=ID)
    assert (list(log.records), cleared) == ([ID], ["c1:c"])

    await press.by()
    assert list(press.requests.records) == [ID]


async def test_progress_is_shown_aside_and_goes() -> None:
    press = Press()
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.aside.is_there)
    press.desk.open.set()
    await pressing
    assert press.aside.shown == ["On it …\n**Writing** …"]
    assert not press.aside.is_there
    assert press.shown == ["By gpt-4o."]


async def test_whoever_waits_when_the_process_ends_is_told() -> None:
    press = Press()
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.desk.asked)
    await press.retries.aclose(within_s=5.0)
    with pytest.raises(asyncio.CancelledError):
        await pressing
    assert "I was restarted" in press.aside.shown[0]
    assert press.edits == []


# --- beside others ------------------------------------------------------------------------------------------------


async def test_two_presses_are_one_and_the_second_is_told() -> None:
    press = Press()
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.desk.asked)
    second = Press()
    second.retries, second.upgrades = press.retries, press.upgrades
    await second.by()
    assert "already" in second.aside.shown[0]
    assert "Reference" not in second.aside.shown[0]
    press.desk.open.set()
    await pressing
    assert (press.shown, second.edits, len(press.desk.asked)) == (["By gpt-4o."], [], 1)


async def test_what_is_being_updated_is_not_made_again() -> None:
    press = Press()
    with press.upgrades.changing(1):
        await press.by()
    assert "already" in press.aside.shown[0]
    assert press.desk.asked == []
    press.desk.outcomes = [(EXTRACT,), ()]
    for _ in range(2):
        press.aside = FakeAside()
        await press.by()
    assert press.shown == ["By gpt-4o."], "each press ends, whatever came of it"


async def test_what_a_press_could_not_fill_is_waited_for() -> None:
    press = Press()
    await press.remembered()
    press.desk.outcomes = [(EXTRACT,), (GAP,), ()]
    await press.upgrades.look()
    assert UPGRADE in press.requests.records
    await press.by()
    assert UPGRADE not in press.requests.records, "what took its place is what counts"
    press.clock.now += EVERY_S
    await press.upgrades.look()
    assert press.shown == ["By gpt-4o.", "By gpt-4o."]
    last = press.edits[-1]["view"]
    assert not any(isinstance(item, RetryButton) for item in last.children)


async def test_while_somebody_waits_at_a_press_nobody_else_tries() -> None:
    press = Press()
    await press.remembered()
    press.desk.open.clear()
    pressing = asyncio.create_task(press.by())
    await until(lambda: press.desk.asked)
    async with asyncio.timeout(10):
        await press.upgrades.look()
    assert len(press.desk.asked) == 1
    press.desk.open.set()
    await pressing


async def test_what_an_upgrade_gives_during_a_press_is_left_to_that() -> None:
    press = Press()
    await press.remembered()
    await press.remembered(2)
    press.desk.open.clear()
    looking = asyncio.create_task(press.upgrades.look())
    await until(lambda: press.desk.asked)
    pressing = asyncio.create_task(press.by())
    await until(lambda: len(press.desk.asked) == 2)
    press.desk.open.set()
    await asyncio.gather(looking, pressing)
    assert len(press.edits) == 2, "the message once, and the next one, for which nobody pressed"


@pytest.mark.parametrize(("outcome", "is_left"), [((), False), ((EXTRACT,), True)], ids=["better", "no better"])
async def test_what_was_made_again_is_not_updated_on_top(outcome: tuple[Note, ...], is_left: bool) -> None:
    press = Press()
    await press.remembered()
    press.desk.outcomes = [outcome]
    await press.by()
    asked = len(press.desk.asked)
    await press.upgrades.look()
    assert (len(press.desk.asked) > asked) is is_left
