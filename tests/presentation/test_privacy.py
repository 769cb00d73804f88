from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import StoreUnavailable
from bot.core.models import Asker
from bot.core.privacy import Kept
from bot.presentation.moderation import AccessPolicy
from bot.presentation.privacy_page import ForgetButton, KeepButton, forgotten_answer, kept_answer
from cogs.privacy import Privacy
from tests.presentation.guildhall import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    LOCALE,
    Counter,
    a_member,
    a_user,
    all_text,
    an_interaction,
    assert_fits,
)

if TYPE_CHECKING:
    from bot.presentation.replies import Answer

SOME = Kept(results=2, transcripts=1, oldest=1_800_000_000.0)


class FakePrivacy:
    """Keeps the same of everybody, until they are forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[int | None, int]] = []
        self.fails: Exception | None = None

    async def kept(self, guild_id: int | None, member_id: int) -> Kept:
        if self.fails is not None:
            raise self.fails
        return Kept() if (guild_id, member_id) in self.forgotten else SOME

    async def forget(self, guild_id: int | None, member_id: int) -> Kept:
        gone = await self.kept(guild_id, member_id)
        self.forgotten.append((guild_id, member_id))
        return gone


class Question:
    """The message that a button stands below: what replaces it, and messages beside it."""

    def __init__(self) -> None:
        self.edits: list[dict[str, Any]] = []
        self.sent: list[str] = []

    async def edit_message(self, **given: Any) -> None:
        self.edits.append(given)

    async def send_message(self, content: str, *, ephemeral: bool) -> None:
        assert ephemeral
        self.sent.append(content)

    @property
    def said(self) -> str:
        """What stands there now."""
        return next(edit["embed"].description for edit in reversed(self.edits) if "embed" in edit)

    @property
    def buttons(self) -> list[str]:
        """What can be pressed there now."""
        view = self.edits[-1]["view"]
        return [] if view is None else [item.item.label for item in view.children]


class Office:
    def __init__(self) -> None:
        self.counter = Counter()
        self.privacy = FakePrivacy()
        privacy: Any = self.privacy
        self.cog = Privacy(self.counter.reception, privacy)
        self.policy = AccessPolicy(allow_user_install=True)

    async def ask(self, *, by: discord.Member | discord.User | None = None) -> Answer:
        command: Any = self.cog.forget_me
        await command.callback(self.cog, an_interaction(by or a_member()))
        return self.counter.answer

    async def press(
        self, button: ForgetButton | KeepButton, *, by: discord.Member | discord.User | None = None
    ) -> Question:
        """Press a button, as after a restart; gives what becomes of the question."""
        question = Question()
        interaction = an_interaction(
            by or a_member(),
            client=SimpleNamespace(services=SimpleNamespace(privacy=self.privacy, policy=self.policy)),
            id=1,
            response=question,
            edit_original_response=question.edit_message,
        )
        found = button.template.fullmatch(button.custom_id)
        assert found is not None
        again = await type(button).from_custom_id(interaction, button.item, found)
        await again.callback(interaction)
        return question


def buttons(answer: Answer) -> tuple[ForgetButton, KeepButton]:
    forget, keep = answer.extra_items
    assert isinstance(forget, ForgetButton)
    assert isinstance(keep, KeepButton)
    return forget, keep


async def test_nothing_is_forgotten_before_it_is_confirmed() -> None:
    office = Office()
    answer = await office.ask()
    assert_fits(answer)
    said = all_text(answer)
    assert "1 transcript, 2 results made of such" in said
    assert "<t:1800000000:f>" in said
    assert "Messages that I posted" in said
    assert "moderators' log" in said
    assert office.privacy.forgotten == []
    assert buttons(answer)[0].item.style is discord.ButtonStyle.danger


async def test_what_is_confirmed_is_forgotten_here_and_told_in_place_of_the_question() -> None:
    office = Office()
    forget, _ = buttons(await office.ask())
    question = await office.press(forget)
    assert office.privacy.forgotten == [(GUILD, ADA)]
    assert "Deleted: 1 transcript, 2 results made of such" in question.said
    assert question.edits[0] == {"view": None}, "before anything is deleted"
    assert question.buttons == []
    assert "I keep nothing" in (await office.press(forget)).said
    assert (await office.ask()).extra_items == ()


async def test_nobody_else_can_press() -> None:
    office = Office()
    for button in buttons(await office.ask()):
        question = await office.press(button, by=a_member(BOB))
        assert question.edits == []
        assert "Only the one who asked" in question.sent[0]
    assert office.privacy.forgotten == []


async def test_nobody_presses_where_the_bot_may_not_be_used_any_more() -> None:
    office = Office()
    forget, _ = buttons(await office.ask())
    office.policy = AccessPolicy(allowed_guilds=frozenset({1}))
    question = await office.press(forget)
    assert (question.edits, office.privacy.forgotten) == ([], [])
    assert "not opened me for this server" in question.sent[0]


async def test_thinking_better_of_it_takes_the_question_away_and_claims_nothing() -> None:
    office = Office()
    forget, keep = buttons(await office.ask())
    question = await office.press(keep)
    assert (question.buttons, office.privacy.forgotten) == ([], [])
    await office.press(forget)
    late = await office.press(keep)
    assert question.said == late.said == "All right: I delete nothing.", "true as well once all is gone"


async def test_outside_servers_it_is_about_what_was_asked_for_there() -> None:
    office = Office()
    user = a_user()
    answer = await office.ask(by=user)
    said = all_text(answer)
    assert_fits(answer)
    assert "What I keep of you outside servers" in said
    assert "What you asked for on servers: use `/forget-me` on each of them" in said
    assert "this server" not in said
    assert "moderator" not in said
    question = await office.press(buttons(answer)[0], by=user)
    assert "Deleted" in question.said
    assert office.privacy.forgotten == [(None, ADA)]


@pytest.mark.parametrize(
    ("error", "said"), [(StoreUnavailable(), "can't reach my memory"), (ValueError(), "went wrong")]
)
async def test_what_cannot_be_forgotten_now_is_said_and_can_be_tried_again(error: Exception, said: str) -> None:
    office = Office()
    forget, _ = buttons(await office.ask())
    office.privacy.fails = error
    question = await office.press(forget)
    assert said in question.said
    assert question.buttons == ["Delete all of it", "Keep it"]
    assert said in (await office.ask()).description
    office.privacy.fails = None
    assert "Deleted" in (await office.press(forget)).said


@pytest.mark.parametrize(
    ("kept", "something"),
    [
        (Kept(), False),
        (SOME, True),
        (Kept(oldest=1.0), True),
        (Kept(transcripts=1), True),
        (Kept(results=1), True),
        (Kept(unread=1), True),
    ],
)
@pytest.mark.parametrize("guild_id", [GUILD, None])
def test_what_is_nothing_is_said_to_be(kept: Kept, something: bool, guild_id: int | None) -> None:
    asker = Asker(guild_id=guild_id, channel_id=CHANNEL, member_id=ADA)
    answer, gone = kept_answer(kept, asker, locale=LOCALE), forgotten_answer(kept, asker, locale=LOCALE)
    assert_fits(answer)
    assert_fits(gone)
    assert bool(answer.extra_items) is something
    assert ("I keep nothing" in answer.description) is not something
    assert ("Deleted" in gone.description) is something


def test_what_cannot_be_read_is_told_with_what_is_left_of_it() -> None:
    asker = Asker(guild_id=GUILD, channel_id=CHANNEL, member_id=ADA)
    for kept in (Kept(unread=3), Kept(results=2, unread=3)):
        for answer in (kept_answer(kept, asker, locale=LOCALE), forgotten_answer(kept, asker, locale=LOCALE)):
            assert "3 of my notes can't be read" in answer.description
            assert "usually within a day" in answer.description
    assert "can't be read" not in kept_answer(SOME, asker, locale=LOCALE).description
