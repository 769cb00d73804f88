"""Apps that users bring along, commands that admins show to a role, and channels that an option takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
import pytest
from discord import app_commands

from tests.simulator.clients import client_options, connected
from tests.simulator.errors import Refused
from tests.simulator.permissions import Permission
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from tests.simulator.server import DiscordSimulator


class Portable(discord.Client):
    """A message command that users can bring along, and one that they cannot."""

    def __init__(self, simulator: DiscordSimulator) -> None:
        super().__init__(**client_options(simulator))
        self.tree = app_commands.CommandTree(self)
        self.heard: list[tuple[bool, bool, int]] = []

        @self.tree.context_menu(name="Along")
        @app_commands.allowed_installs(guilds=True, users=True)
        async def along(interaction: discord.Interaction[Any], message: discord.Message) -> None:  # pyright: ignore[reportUnusedFunction] - registered
            self.heard.append(
                (interaction.is_guild_integration(), interaction.is_user_integration(), len(message.attachments))
            )
            button = discord.ui.Button[Any](label="Again", custom_id="again")
            await interaction.response.send_message("heard", view=discord.ui.View(timeout=None).add_item(button))

        @self.tree.context_menu(name="Here")
        async def here(interaction: discord.Interaction[Any], message: discord.Message) -> None:  # pyright: ignore[reportUnusedFunction] - registered
            raise AssertionError((interaction, message))

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        if interaction.type is discord.InteractionType.component:
            await interaction.response.send_message(f"guild: {interaction.is_guild_integration()}")


async def test_a_user_brings_the_app_along(simulator: DiscordSimulator) -> None:
    home, elsewhere = simulator.add_guild(), simulator.add_guild_without_bot()
    channel = elsewhere.add_text_channel("general")
    ada, bob = elsewhere.add_member("ada"), elsewhere.add_member("bob")
    ada.install()
    posted = channel.post(bob, "listen", attachments=[simulator.cdn.upload("clip.ogg", b"OggS")])
    async with connected(Portable(simulator)) as client, RawClient(simulator) as raw:
        answer = await (await ada.message_command(channel, "Along", posted)).reply()
        again = await (await ada.click(answer, label="Again")).reply()
        with pytest.raises(Refused, match="no MESSAGE command 'Here'"):
            await ada.message_command(channel, "Here", posted)
        with pytest.raises(Refused, match="no MESSAGE command 'Along'"):
            await bob.message_command(channel, "Along", posted)
        at_home = home.add_text_channel("general")
        own = home.join(ada.user)
        await (await own.message_command(at_home, "Along", at_home.post(own, "here"))).reply()
        barred = await raw.request("POST", f"/channels/{channel.id}/messages", json={"content": "hello"})
    assert client.heard == [(False, True, 1), (True, True, 0)]
    assert again.content == "guild: False"
    assert (barred.status, barred.body["code"]) == (403, 50001), "an interaction is answered, and nothing else"


async def test_an_admin_shows_a_command_to_a_role(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel, role = guild.add_text_channel("general"), guild.add_role("helpers")
    ada, bob = guild.add_member("ada", roles=[role]), guild.add_member("bob")
    command = {"name": "go", "description": "Go", "default_member_permissions": int(Permission.MANAGE_GUILD)}
    path = f"/applications/{simulator.world.application_id}/guilds/{guild.id}/commands"
    async with RawClient(simulator) as raw:
        await raw.request("PUT", path, json=[command])
        with pytest.raises(Refused, match="lacks the permissions"):
            await ada.slash(channel, "go")
        simulator.world.commands.show_to(guild.id, "go", role)
        await raw.request("PUT", path, json=[command | {"description": "Go on"}])
        await ada.slash(channel, "go")
        with pytest.raises(Refused, match="lacks the permissions"):
            await bob.slash(channel, "go")


async def test_an_option_takes_the_kinds_of_channels_that_it_names(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    text, voice, ada = guild.add_text_channel("text"), guild.add_voice_channel("voice"), guild.add_member("ada")
    option = {"type": 7, "name": "where", "description": "Where", "channel_types": [0]}
    path = f"/applications/{simulator.world.application_id}/guilds/{guild.id}/commands"
    async with RawClient(simulator) as raw:
        await raw.request("PUT", path, json=[{"name": "go", "description": "Go", "options": [option]}])
    await ada.slash(text, "go", where=text)
    with pytest.raises(Refused, match="takes no VOICE channel"):
        await ada.slash(text, "go", where=voice)
