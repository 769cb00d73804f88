"""What the bot reads of messages without the privilege of message content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
import pytest

from tests.simulator.clients import connected, make_client
from tests.simulator.errors import Refused
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


def contents(payload: Any) -> tuple[str, int, int, int]:
    return payload["content"], len(payload["attachments"]), len(payload["embeds"]), len(payload["components"])


async def test_content_is_blanked_without_its_intent(raw: RawClient, simulator: DiscordSimulator) -> None:
    simulator.gateway.privileged = Intent.MESSAGE_CONTENT
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    blind = await raw.gateway()
    await blind.identify(simulator.token, intents=Intent.GUILDS | Intent.GUILD_MESSAGES)
    deaf = await raw.gateway()
    await deaf.identify(simulator.token, intents=Intent.GUILDS)
    seeing = await raw.gateway()
    await seeing.identify(simulator.token, intents=Intent.GUILD_MESSAGES | Intent.MESSAGE_CONTENT)
    channel.post(ada, "a secret", attachments=[simulator.cdn.upload("a.ogg", b"")])
    channel.post(ada, f"{simulator.world.bot.mention} not for you alone")
    guild.add_text_channel("the end")
    blanked = (await blind.until(event="MESSAGE_CREATE"))["d"]
    assert (blanked["content"], blanked["attachments"]) == ("", [])
    assert "not for you" in (await blind.until(event="MESSAGE_CREATE"))["d"]["content"]
    assert (await seeing.until(event="MESSAGE_CREATE"))["d"]["content"] == "a secret"
    assert (await deaf.until(event="GUILD_CREATE"))["t"] == "GUILD_CREATE"
    assert (await deaf.receive())["t"] == "CHANNEL_CREATE"


async def test_the_http_api_hides_what_the_gateway_hides(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    channel, ada = guild.add_text_channel("general"), guild.add_member("ada")
    secret = channel.post(ada, "a secret", attachments=[simulator.cdn.upload("a.ogg", b"")])
    forwarded = channel.forward(ada, secret)
    addressed = channel.post(ada, f"{simulator.world.bot.mention} listen", reply_to=secret)
    direct = ada.direct_channel().post(ada, "between us")
    path = f"/channels/{channel.id}/messages"
    own = (await raw.request("POST", path, json={"content": "mine", "message_reference": ref(secret)})).body

    async def read(message: Message) -> Any:
        return (await raw.request("GET", f"/channels/{message.channel.id}/messages/{message.id}")).body

    assert contents(await read(secret)) == ("", 0, 0, 0)
    (shot,) = (await read(forwarded))["message_snapshots"]
    assert contents(shot["message"]) == ("", 0, 0, 0)
    assert "listen" in (await read(addressed))["content"]
    assert contents((await read(addressed))["referenced_message"]) == ("", 0, 0, 0)
    assert (await read(direct))["content"] == "between us"
    assert own["content"] == "mine"
    assert contents(own["referenced_message"]) == ("", 0, 0, 0)
    listed = (await raw.request("GET", path)).body
    assert [message["content"] for message in listed][:1] == ["mine"]
    assert [contents(message) for message in listed[2:]] == [("", 0, 0, 0)] * 2

    simulator.gateway.privileged = Intent.MESSAGE_CONTENT
    assert contents(await read(secret)) == ("a secret", 1, 0, 0)
    (shot,) = (await read(forwarded))["message_snapshots"]
    assert contents(shot["message"]) == ("a secret", 1, 0, 0)
    assert (await read(addressed))["referenced_message"]["content"] == "a secret"


def ref(message: Message) -> dict[str, str]:
    return {"message_id": str(message.id)}


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_applications_flags_tell_of_the_privilege(
    simulator: DiscordSimulator, raw: RawClient, allowed: bool
) -> None:
    if allowed:
        simulator.gateway.privileged = Intent.MESSAGE_CONTENT
    ready = await (await raw.gateway()).identify(simulator.token)
    asked = (await raw.request("GET", "/applications/@me")).body
    assert ready["application"]["flags"] == asked["flags"]
    async with connected(make_client(simulator)) as client:
        flags = client.application_flags
        assert flags.gateway_message_content_limited is allowed
        assert not flags.gateway_message_content
        assert not flags.gateway_guild_members_limited


async def test_the_target_of_a_message_command_is_whole(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel, ada, bob = guild.add_text_channel("general"), guild.add_member("ada"), guild.add_member("bob")
    posted = channel.forward(ada, channel.post(ada, "a secret"))
    client = make_client(simulator)
    tree = discord.app_commands.CommandTree(client)
    seen: list[discord.Message] = []

    @tree.context_menu(name="Look")
    async def look(interaction: discord.Interaction, message: discord.Message) -> None:
        seen.append(message)
        await interaction.response.send_message("ok")

    denied = Overwrite(target_id=bob.id, for_member=True, deny=Permission.VIEW_CHANNEL)
    hidden = guild.add_text_channel("hidden", overwrites=[denied]).post(ada, "not for bob")
    async with connected(client):
        await tree.sync()
        with pytest.raises(Refused, match="does not see"):
            await bob.message_command(channel, "Look", hidden)
        await (await bob.message_command(channel, "Look", posted)).acknowledged()
    (shot,) = seen[0].message_snapshots
    assert shot.content == "a secret"
