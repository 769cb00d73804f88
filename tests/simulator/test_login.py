"""The real discord.py logs in and is told of its guilds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.clients import connected, make_client

if TYPE_CHECKING:
    from tests.simulator.server import DiscordSimulator


async def test_client_logs_in_and_sees_guilds(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild("Testers")
    channel = guild.add_text_channel("general")
    async with connected(make_client(simulator)) as client:
        seen = client.get_guild(guild.id)
        assert seen is not None
        assert seen.name == "Testers"
        assert [c.id for c in seen.text_channels] == [channel.id]
        assert client.user is not None
        assert client.user.id == simulator.world.bot.id
    assert simulator.proxy.connections[0] == "discord.com"
    assert "gateway.discord.gg" in simulator.proxy.connections
