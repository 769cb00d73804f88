from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import discord
import pytest

from tests.simulator.clients import connected, make_client
from tests.simulator.intents import Intent
from tests.simulator.permissions import Overwrite, Permission
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.messages import Message
    from tests.simulator.server import DiscordSimulator


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


def path(message: Message, emoji: str) -> str:
    return f"/channels/{message.channel.id}/messages/{message.id}/reactions/{quote(emoji)}/@me"


async def test_the_bot_reacts_once_and_who_asked_to_know_is_told(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    message = guild.add_text_channel("general").post(guild.add_member("ada"), "hello")
    listener = await raw.gateway()
    await listener.identify(simulator.token, intents=Intent.GUILDS | Intent.GUILD_MESSAGE_REACTIONS)
    for _ in range(2):
        assert (await raw.request("PUT", path(message, "⏳"))).status == 204
    assert message.reactions == {"⏳": [simulator.world.bot]}
    told = (await listener.until(event="MESSAGE_REACTION_ADD"))["d"]
    assert (told["message_id"], told["emoji"]["name"]) == (str(message.id), "⏳")
    read = (await raw.request("GET", f"/channels/{message.channel.id}/messages/{message.id}")).body
    assert [(found["emoji"]["name"], found["count"], found["me"]) for found in read["reactions"]] == [("⏳", 1, True)]


async def test_reactions_need_an_emoji_a_message_and_to_be_the_first_a_permission(
    simulator: DiscordSimulator, raw: RawClient
) -> None:
    guild = simulator.add_guild()
    deny = Overwrite(target_id=simulator.world.bot.id, for_member=True, deny=Permission.ADD_REACTIONS)
    channel, ada = guild.add_text_channel("calm", overwrites=[deny]), guild.add_member("ada")
    message = channel.post(ada, "hello")
    first = await raw.request("PUT", path(message, "⏳"))
    assert (first.status, first.body["code"]) == (403, 50013)
    simulator.world.react(message, ada.user, "⏳")
    assert (await raw.request("PUT", path(message, "⏳"))).status == 204
    assert message.reactions == {"⏳": [ada.user, simulator.world.bot]}
    unknown = await raw.request("PUT", path(message, "hourglass"))
    assert (unknown.status, unknown.body["code"]) == (400, 10014)
    simulator.world.delete(message)
    assert (await raw.request("PUT", path(message, "⏳"))).body["code"] == 10008


async def test_discord_py_reacts(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    message = channel.post(guild.add_member("ada"), "hello")
    async with connected(make_client(simulator)) as client:
        found = client.get_channel(channel.id)
        assert isinstance(found, discord.TextChannel)
        await found.get_partial_message(message.id).add_reaction("⏳")
    assert message.reactions == {"⏳": [simulator.world.bot]}
