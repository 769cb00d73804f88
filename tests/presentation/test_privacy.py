from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import StoreUnavailable
from bot.core.privacy import Kept
from bot.presentation.privacy_page import ForgetButton, KeepButton, forgotten_answer, kept_answer
from cogs.privacy import Privacy
from tests.presentation.guildhall import (
    ADA,
    BOB,
    GUILD,
    LOCALE,
    Counter,
    a_member,
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


class Edits:
    """Takes what replaces the message that a button stands below, and messages beside it."""

    def __init__(self) -> None:
        self.edits: list[dict[str, Any]] = []
        self.sent: list[str] = []

    async def edit_message(self, **given: Any) -> None:
        self.edits.append(given)

    async def send_message(self, content: str, *, ephemeral: bool) -> None:
        assert ephemeral
        self.sent.append(content)


class Office:
    def __init__(self) -> None:
        self.counter = Counter()
        self.privacy = FakePrivacy()
        privacy: Any = self.privacy
        self.cog = Privacy(self.counter.reception, privacy)
        self._client = SimpleNamespace(services=SimpleNamespace(reception=self.counter.reception, privacy=self.privacy))

    async def ask(self) -> Answer:
        command: Any = self.cog.forget_me
        await command.callback(self.cog, an_interaction(a_member()))
        return self.counter.answer

    async def press(self, button: ForgetButton | KeepButton, *, by: discord.Member, **more: Any) -> None:
        """Press a button, as after a restart."""
        interaction = an_interaction(by, client=self._client, **more)
        found = button.template.fullmatch(button.custom_id)
        assert found is not None
        again = await type(button).from_custom_id(interaction, button.item, found)
        await again.callback(interaction)


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


async def test_what_is_confirmed_is_forgotten_here_and_told() -> None:
    office = Office()
    forget, _ = buttons(await office.ask())
    await office.press(forget, by=a_member())
    assert office.privacy.forgotten == [(GUILD, ADA)]
    assert "Deleted: 1 transcript, 2 results made of such" in all_text(office.counter.answer)
    await office.press(forget, by=a_member())
    assert "I keep nothing" in all_text(office.counter.answer)
    assert (await office.ask()).extra_items == ()


async def test_nobody_else_can_press() -> None:
    office = Office()
    forget, keep = buttons(await office.ask())
    bob = a_member(BOB)
    await office.press(forget, by=bob)
    assert "Only the one who asked" in all_text(office.counter.answer)
    edits = Edits()
    await office.press(keep, by=bob, response=edits)
    assert edits.edits == []
    assert "Only the one who asked" in edits.sent[0]
    assert office.privacy.forgotten == []


async def test_thinking_better_of_it_takes_the_question_away() -> None:
    office = Office()
    _, keep = buttons(await office.ask())
    edits = Edits()
    await office.press(keep, by=a_member(), response=edits)
    (edit,) = edits.edits
    assert edit["view"] is None
    assert edit["embed"].description == "Nothing was deleted."
    assert office.privacy.forgotten == []


async def test_a_store_that_is_away_is_said_to_be() -> None:
    office = Office()
    office.privacy.fails = StoreUnavailable()
    assert "can't reach my memory" in (await office.ask()).description
    await office.press(ForgetButton(ADA, LOCALE), by=a_member())
    assert "can't reach my memory" in office.counter.answer.description


@pytest.mark.parametrize(
    ("kept", "something"),
    [(Kept(), False), (SOME, True), (Kept(oldest=1.0), True), (Kept(transcripts=1), True), (Kept(results=1), True)],
)
def test_what_is_nothing_is_said_to_be(kept: Kept, something: bool) -> None:
    answer, gone = kept_answer(kept, ADA, locale=LOCALE), forgotten_answer(kept, locale=LOCALE)
    assert_fits(gone)
    assert bool(answer.extra_items) is something
    assert ("I keep nothing" in answer.description) is not something
    assert ("Deleted" in gone.description) is something
