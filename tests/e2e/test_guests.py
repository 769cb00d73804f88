"""Where the operator lets the bot be used: guilds that are not on the list, and users who bring it along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.e2e.company import WORDS, Company, a_company, short_speech
from tests.e2e.town import COMMANDS, Town, a_town, answer, fields, menu_id
from tests.simulator.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.channels import Channel
    from tests.simulator.guilds import Guild
    from tests.simulator.members import Member
    from tests.simulator.messages import Message

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

COMMANDS_OF_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guest_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town whose bot is for its guild, and for whoever installs it."""
    async with a_town(tmp_path_factory.mktemp("data")) as town:
        settings = {"ALLOWED_GUILDS": str(town.guild.id), "ALLOW_USER_INSTALL": "true", "RATE_BURST": "2"}
        async with town.process(RATE_PER_HOUR="1", **settings) as bot:
            await bot.ready(commands=COMMANDS)
            yield town


def posted(channel: Channel, author: Member, title: str = "") -> Message:
    clip = channel.world.cdn.upload("clip.ogg", short_speech(title), content_type="audio/ogg")
    return channel.post(author, attachments=[clip])


async def use(member: Member, message: Message, command: str = "Summarise") -> Message:
    return await answer(await member.message_command(message.channel, command, message))


async def ask(member: Member, channel: Channel, command: str, /, **options: Any) -> Message:
    return await answer(await member.slash(channel, command, **options))


async def joined(town: Town, guild: Guild) -> None:
    """Wait until the bot has seen to the commands of a guild that it joined."""
    log = town.simulator.rest.log

    def look() -> bool:
        requests = log.matching("GET", COMMANDS_OF_GUILD)
        return any(r.params["guild_id"] == str(guild.id) and r.answered_at is not None for r in requests)

    await town.simulator.world.changes.until(look, timeout_s=10, what=lambda: "the bot asking for the guild's commands")


async def test_a_guild_that_is_not_on_the_list_has_no_commands_and_is_told_so(guest_town: Town) -> None:
    town = guest_town
    guild = town.simulator.add_guild("Strangers")
    channel, eve = guild.add_text_channel("general"), guild.add_member("eve")
    await joined(town, guild)
    assert town.simulator.world.commands.registered(guild.id) == []
    for command in ("summarize", "settings show"):
        with pytest.raises(Refused, match="no CHAT_INPUT command"):
            await eve.slash(channel, command)
    for command in ("help", "quota", "results list", "forget-me"):  # which are global, for those who bring it along
        assert "has not opened me for this server" in (await ask(eve, channel, command)).text
    message = posted(channel, eve)
    for command in ("Summarise", "Transcribe"):
        refused = await use(eve, message, command)
        assert "Whoever runs me has not opened me for this server" in refused.text
        assert refused.components == ()
    assert message.attachments[0].downloads == 0
    eve.install()
    assert "has not opened me for this server" in (await use(eve, message)).text, "bringing it along is no way in"


async def test_a_guild_on_the_list_is_served(guest_town: Town) -> None:
    town = guest_town
    bob = town.guild.add_member("bob")
    assert WORDS in (await use(bob, posted(town.channel, bob))).text.lower()
    assert "Your results here" in (await ask(bob, town.channel, "results list")).text
    assert "on this server" in (await ask(bob, town.channel, "forget-me")).text


async def test_a_user_brings_the_bot_along_into_a_guild_without_it(guest_town: Town) -> None:
    elsewhere = guest_town.simulator.add_guild_without_bot()
    channel, carol, dan = (
        elsewhere.add_text_channel("general"),
        elsewhere.add_member("carol"),
        elsewhere.add_member("d"),
    )
    message = posted(channel, dan)
    carol.install()
    summed = await use(carol, message)
    assert summed.embeds[0]["title"] == "Summary"
    assert WORDS in summed.text.lower()
    assert not summed.pinged
    redone = await answer(await carol.choose(summed, menu_id(summed, "redo"), ["-"]))
    assert redone.embeds[0]["title"] == "Transcript"
    (file,) = (await answer(await carol.choose(redone, menu_id(redone, "files"), ["txt"]))).attachments
    assert WORDS in file.data.decode().lower()
    with pytest.raises(Refused, match="no MESSAGE command"):
        await use(dan, message)
    with pytest.raises(Refused, match="no CHAT_INPUT command"):
        await carol.slash(channel, "summarize")


async def test_what_users_may_use_outside_is_limited_wherever_they_are(guest_town: Town) -> None:
    places = [guest_town.simulator.add_guild_without_bot(f"Elsewhere {number}") for number in range(3)]
    first, *others = [place.add_text_channel("general") for place in places]
    erin = places[0].add_member("erin")
    erin.install()
    there = [erin, *(place.join(erin.user) for place in places[1:])]
    known = posted(first, erin, "0")
    assert WORDS in (await use(erin, known)).text.lower()
    assert WORDS in (await use(there[1], posted(others[0], there[1], "1"))).text.lower()
    refused = await use(there[2], posted(others[1], there[2], "2"))
    assert "You are out of tokens for now" in refused.text
    assert "costs nothing" in fields(await use(erin, known))["Took"]


async def test_what_is_kept_outside_is_found_and_forgotten_wherever_one_is_outside(guest_town: Town) -> None:
    town = guest_town
    elsewhere = town.simulator.add_guild_without_bot("Far away")
    channel, ivy = elsewhere.add_text_channel("general"), elsewhere.add_member("ivy")
    ivy.install()
    at_home = town.guild.join(ivy.user)
    assert WORDS in (await use(at_home, posted(town.channel, at_home, "at home"))).text.lower()
    summed = await use(ivy, posted(channel, ivy, "far away"))
    direct = at_home.direct_channel()
    for place, member in ((channel, ivy), (direct, at_home)):
        listed = await ask(member, place, "results list")
        assert listed.ephemeral
        assert listed.embeds[0]["description"].count("clip.ogg") == 1, "not what was asked for on a server"
        quota = await ask(member, place, "quota")
        assert "**1 of 2**" in quota.text
        assert "All users outside servers, today" in quota.text
        assert "`/quota" in (helped := (await ask(member, place, "help")).text) or "</quota:" in helped
        assert "/summarize" not in helped
    (found,) = await ivy.autocomplete(channel, "results get", focused="result", result="clip")
    opened = await ask(at_home, direct, "results get", result=found["value"])
    assert opened.embeds[0]["description"] == summed.embeds[0]["description"]

    asked = await ask(at_home, direct, "forget-me")
    assert "What I keep of you outside servers" in asked.text
    assert "1 transcript, 1 result" in asked.text
    assert "What you asked for on servers: use `/forget-me` on each of them" in asked.text
    pressed = await at_home.click(asked, label="Delete all of it")
    await pressed.reply(lambda shown: "Deleted: 1 transcript, 1 result" in shown.text)
    assert "none outside servers yet" in (await ask(ivy, channel, "results list")).text
    assert "clip.ogg" in (await ask(at_home, town.channel, "results list")).text, "each server is apart"


async def test_the_bot_is_used_in_the_conversation_with_it(guest_town: Town) -> None:
    fay = guest_town.guild.add_member("fay")
    assert WORDS in (await use(fay, posted(fay.direct_channel(), fay))).text.lower()


async def test_without_leave_nobody_brings_it_along(town: Town) -> None:
    elsewhere = town.simulator.add_guild_without_bot()
    channel, gus = elsewhere.add_text_channel("general"), elsewhere.add_member("gus")
    gus.install()
    with pytest.raises(Refused, match="no MESSAGE command"):
        await use(gus, posted(channel, gus))
    with pytest.raises(Refused, match="cannot be used there"):
        await use(gus, posted(gus.direct_channel(), gus))
    company: Company = await a_company(town)
    assert WORDS in (await use(company.bob, posted(company.channel, company.bob))).text.lower()
