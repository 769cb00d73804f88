"""Channels that not everybody gets into: voice, stages, private threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest

from tests.simulator.clients import connected, make_client
from tests.simulator.permissions import Overwrite, Permission
from tests.simulator.raw import RawClient
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.server import DiscordSimulator


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


@pytest.mark.parametrize("kind", ["voice", "stage"])
async def test_the_chat_of_a_voice_channel_is_for_those_who_may_connect(
    simulator: DiscordSimulator, raw: RawClient, kind: str
) -> None:
    guild = simulator.add_guild()
    add = guild.add_voice_channel if kind == "voice" else guild.add_stage_channel
    shut = add("shut", overwrites=[Overwrite(target_id=guild.id, deny=Permission.CONNECT)])
    free = add("free")
    ada = guild.add_member("ada")
    for channel, status in ((shut, 403), (free, 200)):
        path = f"/channels/{channel.id}/messages"
        message = channel.post(ada, "psst")
        answers = [
            await raw.request("GET", path),
            await raw.request("GET", f"{path}/{message.id}"),
            await raw.request("POST", path, json={"content": "hello"}),
        ]
        assert [answer.status for answer in answers] == [status] * 3
        assert status == 200 or {answer.body["code"] for answer in answers} == {50001}
        assert (await raw.request("GET", f"/channels/{channel.id}")).status == 200, "it can be seen all the same"


async def test_history_is_a_permission_of_its_own(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    now = guild.add_text_channel(
        "now", overwrites=[Overwrite(target_id=guild.id, deny=Permission.READ_MESSAGE_HISTORY)]
    )
    message = now.post(guild.add_member("ada"), "gone already")
    answer = await raw.request("GET", f"/channels/{now.id}/messages/{message.id}")
    assert (answer.status, answer.body["code"]) == (403, 50013)


async def test_a_private_thread_is_for_its_members(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    channel, ada, bob = guild.add_text_channel("general"), guild.add_member("ada"), guild.add_member("bob")
    before = guild.add_private_thread(channel, "before", members=[bob, guild.me])
    async with connected(make_client(simulator)) as client:
        seen = client.get_channel(before.id)
        assert isinstance(seen, discord.Thread)
        assert seen.is_private()
        assert (await seen.fetch_member(bob.id)).id == bob.id
        with pytest.raises(discord.NotFound) as raised:
            await seen.fetch_member(ada.id)
        assert raised.value.code == 10007
        without = guild.add_private_thread(channel, "without", members=[bob])
        after = guild.add_private_thread(channel, "after", members=[guild.me])
        await until(lambda: client.get_channel(after.id))
        assert client.get_channel(without.id) is None
    message = without.post(bob, "psst")
    for path in ("", f"/messages/{message.id}", f"/thread-members/{bob.id}"):
        assert (await raw.request("GET", f"/channels/{without.id}{path}")).status == 403
    (own,) = guild.me.roles
    own.permissions |= Permission.MANAGE_THREADS
    assert (await raw.request("GET", f"/channels/{without.id}/messages/{message.id}")).status == 200
    assert ada.permissions_in(without) == 0
    assert bob.permissions_in(without) & Permission.VIEW_CHANNEL
    assert (await raw.request("GET", f"/channels/{channel.id}/thread-members/{bob.id}")).status == 400
