"""Voice messages that are written down without being asked for: where, for whom, and at whose cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.company import WORDS, Company, a_company, short_speech
from tests.e2e.town import COMMANDS, PATIENCE_S, Town, a_town, answer, fields, menu_id
from tests.simulator.intents import Intent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.simulator.channels import Channel
    from tests.simulator.members import Member
    from tests.simulator.messages import Message

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hearing_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town in which the operator, and Discord, let the bot see messages."""
    settings = {"AUTO_TRANSCRIBE": "true", "RATE_BURST": "2", "RATE_PER_HOUR": "1"}
    async with (
        a_town(tmp_path_factory.mktemp("data"), privileged=Intent.MESSAGE_CONTENT) as town,
        town.process(**settings) as bot,
    ):
        await bot.ready(commands=COMMANDS)
        yield town


@pytest_asyncio.fixture(loop_scope="session")
async def company(hearing_town: Town) -> Company:
    return await a_company(hearing_town)


def speak(channel: Channel, member: Member, title: str = "") -> Message:
    return channel.voice_message(member, short_speech(title), duration_secs=4.0)


async def listening(company: Company, name: str = "voices") -> Channel:
    """A channel in which moderators want voice messages written down."""
    channel = company.guild.add_text_channel(name)
    told = await company.set("voice-messages", channel=channel, on=True)
    assert f"<#{channel.id}>: off → <#{channel.id}>: on" in told.text
    assert "takes a token of whoever speaks" in told.text
    return channel


async def reply_to(company: Company, posted: Message) -> Message:
    def look() -> Message | None:
        return next((m for m in company.heard_by(posted.channel) if m.reference is posted), None)

    return await company.town.simulator.world.changes.until(
        look, timeout_s=PATIENCE_S, what=lambda: f"a reply to {posted}; there is {posted.channel.visible}"
    )


async def test_a_voice_message_is_answered_in_the_channels_that_moderators_chose_alone(company: Company) -> None:
    unheard = speak(company.channel, company.bob, "nobody asked")
    channel = await listening(company)
    posted = speak(channel, company.bob)
    reply = await reply_to(company, posted)
    assert reply.embeds[0]["title"] == "Transcript"
    assert WORDS in reply.text.lower()
    assert not reply.pinged
    assert posted.reactions == {}
    elsewhere = speak(company.channel, company.helper, "elsewhere")
    await reply_to(company, speak(channel, company.helper, "the bot goes on"))
    assert company.heard_by(company.channel) == []
    assert [message.attachments[0].downloads for message in (unheard, elsewhere)] == [0, 0]
    assert len(company.heard_by(channel)) == 2


async def test_it_ends_when_moderators_switch_it_off(company: Company) -> None:
    channel, other = await listening(company), await listening(company, "others")
    await company.set("voice-messages", channel=channel, on=False)
    unheard = speak(channel, company.bob)
    await reply_to(company, speak(other, company.bob))
    assert company.heard_by(channel) == []
    assert unheard.attachments[0].downloads == 0


async def test_a_thread_belongs_to_its_channel(company: Company) -> None:
    channel = await listening(company)
    thread = company.guild.add_private_thread(channel, "aside", members=[company.bob, company.guild.me])
    assert WORDS in (await reply_to(company, speak(thread, company.bob))).text.lower()


async def test_only_voice_messages_of_people_are_written_down(company: Company) -> None:
    channel = await listening(company)
    robot = company.guild.add_member("robot", bot=True)
    spoken = speak(channel, robot, "by a bot")
    file = channel.post(company.bob, "listen to this", attachments=[company.clip("a file")])
    channel.post(company.bob, "only words")
    await reply_to(company, speak(channel, company.bob))
    assert len(company.heard_by(channel)) == 1
    assert [message.attachments[0].downloads for message in (spoken, file)] == [0, 0]


async def test_what_is_written_down_is_a_result_like_any_other(company: Company) -> None:
    await company.set("language", language="german")
    channel = await listening(company)
    reply = await reply_to(company, speak(channel, company.bob))
    assert fields(reply)["Language"] == "German", "the guild's language counts"
    async with asyncio.timeout(PATIENCE_S):  # that it arrived is entered once Discord has said so
        while f"[answer]({reply.url})" not in (await company.ask(company.bob, "results list")).text:
            pass
    redone = await answer(await company.helper.choose(reply, menu_id(reply, "redo"), ["summarize"]))
    assert redone.embeds[0]["title"] == "Summary"


async def test_who_has_no_tokens_left_is_refused_quietly(company: Company) -> None:
    channel = await listening(company)
    for title in ("1", "2"):
        await reply_to(company, speak(channel, company.bob, title))
    assert "**0 of 2**" in (await company.ask(company.bob, "quota")).text, "whoever speaks pays"
    refused = speak(channel, company.bob, "3")
    await company.town.simulator.world.changes.until(
        lambda: refused.reactions, timeout_s=PATIENCE_S, what=lambda: "a reaction"
    )
    assert refused.reactions == {"🛑": [company.town.simulator.world.bot]}
    assert WORDS in (await reply_to(company, speak(channel, company.bob, "1"))).text.lower(), "what is known is free"
    await reply_to(company, speak(channel, company.helper, "3"))
    assert [m for m in company.heard_by(channel) if m.reference is refused] == []


async def test_what_cannot_be_heard_is_passed_over_in_silence(company: Company) -> None:
    channel = await listening(company)
    damaged = channel.voice_message(company.bob, b"not a sound\n" * 50, duration_secs=4.0)
    await reply_to(company, speak(channel, company.bob))
    assert damaged.attachments[0].downloads == 1
    assert (len(company.heard_by(channel)), damaged.reactions) == (1, {})


async def test_without_the_operator_moderators_are_told_what_it_takes(town: Town) -> None:
    company = await a_company(town)
    told = await company.set("voice-messages", channel=company.channel, on=True)
    assert "Message Content Intent" in told.text
    assert "AUTO_TRANSCRIBE" in told.text.replace("\\", "")
    assert "switched off by whoever runs me" in fields(await company.set("show"))["Voice messages written down"]
    speak(company.channel, company.bob)
    assert WORDS in (await company.ask(company.bob, "transcribe", audio=company.clip())).text.lower()
    assert [m for m in company.heard_by(company.channel) if m.reference is not None] == []
    assert {session.intents for session in town.simulator.gateway.live} == {Intent.GUILDS}, "it asks for no messages"


async def test_an_operator_without_the_privilege_is_told_at_the_start(tmp_path: Path) -> None:
    async with a_town(tmp_path) as town, town.process(AUTO_TRANSCRIBE="true") as bot:
        assert await bot.exited() == 2
        assert "Discord refuses the bot's intents" in bot.log
        assert "Traceback" not in bot.log
