"""Links to messages: what the bot may read, and what the member may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import audio
from tests.e2e.town import Town, answer
from tests.simulator.messages import MessageFlag
from tests.simulator.permissions import Overwrite, Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.channels import Channel
    from tests.simulator.members import Member
    from tests.simulator.messages import Message

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

WORDS = "ask not what your country can do for you"


def voice_message(town: Town, channel: Channel, author: Member, text: str = "") -> Message:
    data = audio.encoded("voice-message")
    if text:
        clip = town.simulator.cdn.upload("clip.ogg", data, content_type="audio/ogg")
        return channel.post(author, text, attachments=[clip])
    return channel.voice_message(author, data, duration_secs=11.0)


def bob_of(town: Town) -> Member:
    for member in town.guild.members.values():
        if member.user.name == "bob":
            return member
    return town.guild.add_member("bob")


async def follow(town: Town, link: str) -> Message:
    return await answer(await town.ada.slash(town.channel, "summarize", link=link))


async def test_a_link_leads_to_anothers_voice_message(open_town: Town) -> None:
    posted = voice_message(open_town, open_town.channel, bob_of(open_town))
    assert posted.flags & MessageFlag.IS_VOICE_MESSAGE
    assert WORDS in (await follow(open_town, posted.url)).text.lower()


async def test_a_link_leads_to_a_forwarded_voice_message(open_town: Town) -> None:
    bob = bob_of(open_town)
    posted = voice_message(open_town, open_town.guild.add_text_channel("elsewhere"), bob)
    forwarded = open_town.channel.forward(bob, posted)
    assert WORDS in (await follow(open_town, forwarded.url)).text.lower()


@pytest.mark.parametrize("forwarded", [False, True], ids=["posted", "forwarded"])
async def test_without_the_privilege_a_link_gives_the_way_that_works(town: Town, forwarded: bool) -> None:
    bob = bob_of(town)
    posted = voice_message(town, town.channel, bob)
    if forwarded:
        posted = town.channel.forward(bob, posted)
    refused = await follow(town, posted.url)
    assert WORDS not in refused.text.lower()
    assert "may not read" in refused.text
    assert "Apps → Summarise" in refused.text
    message = await answer(await town.ada.message_command(town.channel, "Summarise", posted))
    assert WORDS in message.text.lower()


async def test_without_the_privilege_a_message_that_mentions_the_bot_can_be_linked(town: Town) -> None:
    posted = voice_message(town, town.channel, bob_of(town), text=f"{town.simulator.world.bot.mention} please")
    assert WORDS in (await follow(town, posted.url)).text.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message lies, and the guild that its link names."""

    channel: Channel
    guild_id: int


def kept_from_ada(town: Town, permission: Permission) -> list[Overwrite]:
    """Everybody is denied it, but the bot."""
    return [
        Overwrite(target_id=town.guild.id, deny=permission),
        Overwrite(target_id=town.simulator.world.bot.id, for_member=True, allow=permission),
    ]


def kept_from_the_bot(town: Town, permission: Permission) -> list[Overwrite]:
    return [Overwrite(target_id=town.simulator.world.bot.id, for_member=True, deny=permission)]


def hidden(town: Town) -> Place:
    overwrites = kept_from_ada(town, Permission.VIEW_CHANNEL)
    return Place(channel=town.guild.add_text_channel("hidden", overwrites=overwrites), guild_id=town.guild.id)


def without_history(town: Town) -> Place:
    overwrites = kept_from_ada(town, Permission.READ_MESSAGE_HISTORY)
    return Place(channel=town.guild.add_text_channel("fleeting", overwrites=overwrites), guild_id=town.guild.id)


def voice_without_connect(town: Town) -> Place:
    overwrites = kept_from_ada(town, Permission.CONNECT)
    return Place(channel=town.guild.add_voice_channel("locked", overwrites=overwrites), guild_id=town.guild.id)


def stage_without_connect(town: Town) -> Place:
    overwrites = kept_from_ada(town, Permission.CONNECT)
    return Place(channel=town.guild.add_stage_channel("stage", overwrites=overwrites), guild_id=town.guild.id)


def hidden_from_the_bot(town: Town) -> Place:
    overwrites = kept_from_the_bot(town, Permission.VIEW_CHANNEL)
    return Place(channel=town.guild.add_text_channel("no bots", overwrites=overwrites), guild_id=town.guild.id)


def voice_closed_to_the_bot(town: Town) -> Place:
    overwrites = kept_from_the_bot(town, Permission.CONNECT)
    return Place(channel=town.guild.add_voice_channel("no bots", overwrites=overwrites), guild_id=town.guild.id)


def of_another_guild(town: Town) -> Place:
    """A link that names this guild and the channel of another one, in which both are."""
    other = town.simulator.add_guild("Others")
    other.join(town.ada.user)
    other.join(bob_of(town).user)
    return Place(channel=other.add_text_channel("general"), guild_id=town.guild.id)


def thread_of_others(town: Town) -> Place:
    thread = town.guild.add_private_thread(town.channel, "others", members=[bob_of(town), town.guild.me])
    return Place(channel=thread, guild_id=town.guild.id)


def thread_below_a_hidden_channel(town: Town) -> Place:
    thread = town.guild.add_private_thread(hidden(town).channel, "deep", members=[town.ada, town.guild.me])
    return Place(channel=thread, guild_id=town.guild.id)


@pytest.mark.parametrize(
    "place",
    [
        hidden,
        without_history,
        voice_without_connect,
        stage_without_connect,
        hidden_from_the_bot,
        voice_closed_to_the_bot,
        of_another_guild,
        thread_of_others,
        thread_below_a_hidden_channel,
    ],
)
async def test_what_the_member_or_the_bot_may_not_read_is_not_opened(
    open_town: Town, place: Callable[[Town], Place]
) -> None:
    found = place(open_town)
    posted = voice_message(open_town, found.channel, bob_of(open_town))
    link = f"https://discord.com/channels/{found.guild_id}/{found.channel.id}/{posted.id}"
    message = await follow(open_town, link)
    assert "can't open that message" in message.text
    assert WORDS not in message.text.lower()
    assert posted.attachments[0].downloads == 0


async def test_a_link_into_another_guild_is_refused_by_its_guild(open_town: Town) -> None:
    found = of_another_guild(open_town)
    posted = voice_message(open_town, found.channel, bob_of(open_town))
    message = await follow(open_town, posted.url)
    assert "on another server" in message.text
    assert posted.attachments[0].downloads == 0


def voice(town: Town) -> Channel:
    return town.guild.add_voice_channel("talk")


def own_thread(town: Town) -> Channel:
    return town.guild.add_private_thread(town.channel, "ours", members=[town.ada, bob_of(town), town.guild.me])


@pytest.mark.parametrize("channel", [voice, own_thread])
async def test_what_both_may_read_is_opened(open_town: Town, channel: Callable[[Town], Channel]) -> None:
    posted = voice_message(open_town, channel(open_town), bob_of(open_town))
    assert WORDS in (await follow(open_town, posted.url)).text.lower()
