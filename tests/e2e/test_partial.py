"""Where the language model fails there is an extract, which is made anew when it is back: at a press, or by itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.company import Company, a_company
from tests.e2e.town import COMMANDS, PATIENCE_S, Town, fields
from tests.llm_server import Fails, Streams, scripted_llm
from tests.simulator.messages import nested

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.llm_server import ScriptedLLM
    from tests.simulator.interactions import Interaction
    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

LABEL = "Retry: Summary"


@asynccontextmanager
async def outage(town: Town) -> AsyncGenerator[tuple[BotProcess, ScriptedLLM, Company]]:
    """The bot, and its one model, which fails."""
    async with scripted_llm() as llm:
        llm.answers = (Fails(status=500),)
        async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="local,template", LLM_TRIES="1") as bot:
            await bot.ready(commands=COMMANDS)
            yield bot, llm, await a_company(town)


def buttons(message: Message) -> list[str]:
    """The labels of what can be pressed."""
    return [part["label"] for part in nested(message.components) if ":retry:" in part.get("custom_id", "")]


def assert_is_extract(message: Message) -> None:
    assert fields(message)["Model"] == "none (extract)"
    assert "Summary: an extract" in message.embeds[0]["footer"]["text"]
    assert buttons(message) == [LABEL]


async def word(press: Interaction) -> str:
    """What whoever pressed is told, alone."""
    await press.acknowledged()
    world = press.world
    told = await world.changes.until(
        lambda: next((m for m in press.followups if not m.deleted and "On it" not in m.text), None),
        timeout_s=PATIENCE_S,
        what=lambda: "a word to whoever pressed",
    )
    assert told.ephemeral
    return told.text


async def updated(message: Message, world: Any) -> None:
    """Wait until the message has the model's words; then there is nothing to press."""
    await world.changes.until(
        lambda: "By the model." in message.text, timeout_s=PATIENCE_S, what=lambda: "an answer by the model"
    )
    assert (fields(message)["Model"], buttons(message)) == ("local", [])
    assert "Updated with local." in message.embeds[0]["footer"]["text"]


async def press_until_better(member: Member, message: Message) -> None:
    """Press as a member does who is told to wait a little: the model is not asked for some seconds after it failed."""
    press = await member.click(message, label=LABEL)
    await press.acknowledged()
    world = press.world
    await world.changes.until(
        lambda: "By the model." in message.text or any("Still no" in told.text for told in press.followups),
        timeout_s=PATIENCE_S,
        what=lambda: "what comes of a press",
    )
    if "By the model." not in message.text:
        await press_until_better(member, message)


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_a_press_makes_it_anew_in_place(own_town: Town, private: bool) -> None:
    async with outage(own_town) as (bot, llm, company):
        message = await company.ask(company.bob, "summarize", audio=company.clip(), private=private)
        assert_is_extract(message)
        assert "**Retry** below costs nothing." in message.text
        before = message.text
        assert "Still no language model answers" in await word(await company.bob.click(message, label=LABEL))
        if not private:
            assert "Only whoever asked" in await word(await company.helper.click(message, label=LABEL))
        assert message.text == before
        assert_is_extract(message)

        llm.answers = (Streams(pieces=["By ", "the ", "model."]),)
        await bot.restart()
        await bot.ready(commands=COMMANDS)
        await press_until_better(company.bob, message)
        await updated(message, own_town.simulator.world)
        assert message.ephemeral is private
        assert "Still no" not in "".join(m.text for m in company.heard_by(company.channel))
        listed = (await company.ask(company.bob, "results list")).embeds[0]["description"].splitlines()
        assert len(listed) == 2, "the extract, and what took its place: what came to nothing is not there"
        assert "did not reach" not in "".join(listed)


async def test_an_answer_is_made_anew_by_itself(own_town: Town) -> None:
    async with outage(own_town) as (_, llm, company):
        public = await company.ask(company.bob, "summarize", audio=company.clip())
        private = await company.ask(company.bob, "summarize", audio=company.clip(), private=True)
        deleted = await company.ask(company.bob, "summarize", audio=company.clip("another"))
        own_town.simulator.world.delete(deleted)
        llm.answers = (Streams(pieces=["By ", "the ", "model."]),)
        await updated(public, own_town.simulator.world)
        assert_is_extract(private)
        assert "By the model." not in deleted.text
