from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.core.errors import NotFound, Overloaded, UnknownMode
from bot.core.models import KeptTranscript
from bot.presentation.courier import PartialAnswer
from bot.presentation.upgrades import EVERY_S, LONGEST_WAIT_S, MOST, REMEMBERED_S, Upgrades
from tests.fakes import FakeClock, FakeModeSource
from tests.presentation.guildhall import ADA, GUILD, LOCALE, FakeRequestLog
from tests.presentation.retrying import (
    EXTRACT,
    FAILS,
    GAP,
    KEPT,
    MISSING,
    REFUSES,
    SMALLER_GAP,
    ScriptedDesk,
    a_partial,
    a_record,
)
from tests.waiting import until

if TYPE_CHECKING:
    from bot.core.models import Note

GONE: Any = SimpleNamespace(status=404, reason="gone")
AWAY: Any = SimpleNamespace(status=503, reason="away")


class FakeMessage:
    """A message of the bot's; ``fails`` is raised by an edit."""

    def __init__(self, message_id: int) -> None:
        self.id = message_id
        self.jump_url = f"https://discord.com/channels/1/2/{message_id}"
        self.edits: list[dict[str, Any]] = []
        self.fails: Exception | None = None

    async def edit(self, **given: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.edits.append(given)

    @property
    def shown(self) -> list[str]:
        return [edit["embed"].description for edit in self.edits]


class Memory:
    """Upgrades, and what is around them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.requests = FakeRequestLog()
        self.desk = ScriptedDesk(self.requests)
        ids = (f"{number:016x}" for number in count(1))
        desk: Any = self.desk
        self.upgrades = Upgrades(desk, self.requests, FakeModeSource(), clock=self.clock, new_id=lambda: next(ids))

    async def posted(self, *notes: Note, number: int = 1, detail: str = FAILS) -> FakeMessage:
        """An answer with such notes, an extract where none are named."""
        reply = a_partial(*notes, request_id=f"{0xA000 + number:016x}", detail=detail)
        await self.requests.put(a_record(reply), keep_s=1.0)
        message: Any = FakeMessage(number)
        await self.upgrades.remember(PartialAnswer(reply=reply, message=message, locale=LOCALE, limit=1_000))
        return message

    async def look(self) -> None:
        """A look after the longest wait: everything is due."""
        self.clock.now += LONGEST_WAIT_S
        await self.upgrades.look()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.mark.parametrize("notes", [(EXTRACT,), (MISSING,)], ids=["extract", "missing"])
async def test_an_answer_is_made_anew_in_place_once_a_model_answers(memory: Memory, notes: tuple[Note, ...]) -> None:
    memory.desk.outcomes = [notes, notes, ()]
    message = await memory.posted(*notes)
    await memory.look()
    await memory.look()
    assert message.edits == []
    await memory.look()
    assert message.shown == ["By gpt-4o."]
    (edit,) = message.edits
    assert edit["embed"].footer.text == "Updated with gpt-4o."
    assert not any("retry" in str(getattr(item, "custom_id", "")) for item in edit["view"].children)
    await memory.look()
    assert len(memory.desk.asked) == 3, "what is whole is let be"


async def test_it_is_asked_for_as_its_member_did_and_all_tries_are_one_to_fair_use(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,)]
    await memory.posted()
    await memory.look()
    await memory.look()
    assert len({request.id for request in memory.desk.asked}) == 1
    request = memory.desk.asked[0]
    assert (request.source, request.mode) == (KeptTranscript(id=KEPT), "summarize")
    assert request.asker is not None
    assert (request.asker.guild_id, request.asker.member_id) == (GUILD, ADA)
    assert memory.desk.delivered_at == {request.id: None}, "nobody waits for it, so nothing is said to be missing"


async def test_while_no_model_answers_one_is_tried_at_a_time_and_each_in_its_turn(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,)]
    for number in (1, 2):
        await memory.posted(number=number)
    for tries in (1, 2, 3):
        await memory.look()
        assert len(memory.desk.asked) == tries
    first, second, third = (request.id for request in memory.desk.asked)
    assert first == third != second


async def test_once_a_model_answers_all_are_made_anew(memory: Memory) -> None:
    messages = [await memory.posted(number=number) for number in range(1, 6)]
    await memory.look()
    assert [message.shown for message in messages] == [["By gpt-4o."]] * 5
    urls = {message.jump_url for message in messages}
    assert set(memory.desk.delivered_at.values()) == urls


async def test_what_was_changed_meanwhile_is_not_changed_again(memory: Memory) -> None:
    message = await memory.posted()
    memory.desk.open.clear()
    looking = asyncio.create_task(memory.look())
    await until(lambda: memory.desk.asked)
    await memory.upgrades.shown(message.id, a_partial(GAP))
    memory.desk.open.set()
    await looking
    assert message.edits == []
    assert memory.desk.asked[0].id not in memory.requests.records, "nor is it in /results"


async def test_a_result_that_was_deleted_is_not_made_anew(memory: Memory) -> None:
    message = await memory.posted()
    memory.requests.records.clear()
    await memory.look()
    await memory.look()
    assert (message.edits, memory.desk.asked) == ([], [])


@pytest.mark.parametrize("error", [NotFound(), UnknownMode(mode="x", known="")], ids=lambda error: error.key)
async def test_what_cannot_be_made_any_more_is_let_be(memory: Memory, error: Exception) -> None:
    memory.desk.outcomes = [error, ()]
    message = await memory.posted()
    await memory.look()
    await memory.look()
    assert len(memory.desk.asked) == 1
    assert message.edits == []


@pytest.mark.parametrize("error", [Overloaded(wait_s=1.0)], ids=lambda error: error.key)
async def test_what_cannot_be_made_now_is_tried_again(memory: Memory, error: Exception) -> None:
    memory.desk.outcomes = [error, ()]
    message = await memory.posted()
    await memory.look()
    await memory.look()
    assert message.shown == ["By gpt-4o."]


async def test_a_mistake_keeps_nobody_from_a_try(memory: Memory) -> None:
    memory.desk.outcomes = [ZeroDivisionError("a bug"), (), ZeroDivisionError("a bug"), ()]
    messages = [await memory.posted(number=number) for number in (1, 2)]
    await memory.upgrades.look()
    await memory.upgrades.look()
    assert [message.shown for message in messages] == [[], ["By gpt-4o."]]
    await memory.look()
    assert [message.shown for message in messages] == [["By gpt-4o."]] * 2


async def test_a_message_that_was_deleted_ends_quietly(memory: Memory) -> None:
    message = await memory.posted()
    message.fails = discord.NotFound(GONE, {"code": 10_008, "message": "Unknown Message"})
    other = await memory.posted(number=2)
    await memory.look()
    assert other.shown == ["By gpt-4o."]
    await memory.look()
    assert len(memory.desk.asked) == 2
    assert list(memory.desk.delivered_at.values()) == [None, other.jump_url]


async def test_answers_are_forgotten_after_a_while(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,), ()]
    message = await memory.posted()
    await memory.look()
    tried = memory.desk.asked[0].id
    assert tried in memory.requests.records
    memory.clock.now += REMEMBERED_S
    await memory.look()
    assert message.edits == []
    assert tried not in memory.requests.records, "tries that came to nothing leave nothing in /results"


async def test_the_newest_are_remembered(memory: Memory) -> None:
    messages: list[FakeMessage] = []
    for number in range(MOST + 2):
        messages.append(await memory.posted(number=number))
        memory.clock.now += 0.001
    await memory.look()
    assert [message.id for message in messages if not message.edits] == [0, 1]


async def test_gaps_are_filled_as_soon_as_a_model_answers_for_them(memory: Memory) -> None:
    memory.desk.outcomes = [(GAP,), (SMALLER_GAP,), (SMALLER_GAP,), ()]
    message = await memory.posted(GAP)
    for edits in (0, 1, 1, 2, 2):
        await memory.look()
        assert len(message.edits) == edits
    assert len(memory.desk.asked) == 4, "one at a time, though a model answers; and what is whole is let be"
    first, second, third, fourth = (request.id for request in memory.desk.asked)
    assert first == second != third == fourth
    assert set(memory.requests.records) == {f"{0xA001:016x}", first, fourth}


async def test_what_has_gaps_is_still_better_than_an_extract(memory: Memory) -> None:
    memory.desk.outcomes = [(GAP,)]
    message = await memory.posted()
    await memory.look()
    assert message.shown == ["By gpt-4o."]
    ids = [str(getattr(item, "custom_id", "")) for item in message.edits[0]["view"].children]
    assert f"earshot:retry:{memory.desk.asked[0].id}" in ids, "the button is for what is shown now"


# --- how often ----------------------------------------------------------------------------------------------------


async def test_an_answer_is_tried_less_and_less_often(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,)]
    await memory.posted()
    began, tried_at = memory.clock.now, list[float]()
    while memory.clock.now < began + REMEMBERED_S + 2 * LONGEST_WAIT_S:
        before = len(memory.desk.asked)
        await memory.upgrades.look()
        if len(memory.desk.asked) > before:
            tried_at.append(memory.clock.now - began)
        memory.clock.now += EVERY_S
    assert tried_at == [0, 30, 90, 210, 450, 750, 1_050, 1_350, 1_650]


async def test_when_a_model_answers_nobody_waits_for_their_time(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,), (EXTRACT,), ()]
    messages = [await memory.posted(number=number) for number in (1, 2)]
    for _ in range(3):
        await memory.upgrades.look()
    assert len(memory.desk.asked) == 2, "neither is due any more"
    messages.append(await memory.posted(number=3))
    await memory.upgrades.look()
    assert [message.shown for message in messages] == [["By gpt-4o."]] * 3


async def test_what_every_model_refuses_is_let_be(memory: Memory) -> None:
    memory.desk.outcomes = [(EXTRACT,)]
    memory.desk.detail = REFUSES
    await memory.posted()
    await memory.look()
    await memory.look()
    assert len(memory.desk.asked) == 1
    assert len(memory.requests.records) == 1, "the try has no place in /results"


@pytest.mark.parametrize("detail", [REFUSES, f"{REFUSES}; {FAILS}"], ids=["by all", "by one"])
async def test_what_is_refused_at_once_is_not_tried(memory: Memory, detail: str) -> None:
    await memory.posted(detail=detail)
    await memory.look()
    assert bool(memory.desk.asked) is (detail != REFUSES)


# --- what happens meanwhile ---------------------------------------------------------------------------------------


async def test_what_its_member_deletes_meanwhile_is_not_shown(memory: Memory) -> None:
    message = await memory.posted()
    memory.desk.open.clear()
    looking = asyncio.create_task(memory.look())
    await until(lambda: memory.desk.asked)
    memory.requests.records.clear()
    memory.desk.open.set()
    await looking
    assert message.edits == []
    assert memory.requests.records == {}


@pytest.mark.parametrize(
    "error",
    [discord.DiscordServerError(AWAY, "away"), discord.RateLimited(9.0)],
    ids=lambda error: type(error).__name__,
)
async def test_while_discord_is_away_it_is_tried_again(memory: Memory, error: Exception) -> None:
    message = await memory.posted()
    other = await memory.posted(number=2)
    message.fails = error
    await memory.look()
    message.fails = None
    await memory.look()
    assert (message.shown, other.shown) == (["By gpt-4o."], ["By gpt-4o."])
