"""Slash commands, from their registration to files in the answer, with the real discord.py."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import discord
import pytest
from discord import app_commands

from tests.simulator.clients import client_options, connected
from tests.simulator.errors import Refused

if TYPE_CHECKING:
    from tests.simulator.server import DiscordSimulator


class TreeClient(discord.Client):
    """A client with the commands that these tests use."""

    def __init__(self, simulator: DiscordSimulator) -> None:
        super().__init__(**client_options(simulator))
        self.tree = app_commands.CommandTree(self)
        self.heard: list[bytes] = []
        self.tree.command(name="summarize", description="Summarise a recording")(self._summarize())

    def _summarize(self):  # noqa: ANN202 - discord.py reads the signature of the inner function
        async def summarize(
            interaction: discord.Interaction, audio: discord.Attachment, private: bool = False, language: str = ""
        ) -> None:
            await interaction.response.defer(ephemeral=private)
            self.heard.append(await audio.read())
            await interaction.edit_original_response(content="working …")
            await interaction.edit_original_response(
                content=None,
                embed=discord.Embed(title="Summary", description=f"{audio.filename} in {language or 'any'} language"),
                attachments=[discord.File(io.BytesIO(b"1\n00:00"), filename="transcript.srt")],
            )
            await interaction.followup.send("and more", ephemeral=private)

        return summarize


async def test_slash_with_attachment(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    clip = simulator.cdn.upload("clip (1).ogg", b"OggS" * 1000, content_type="audio/ogg")
    async with connected(TreeClient(simulator)) as client:
        client.tree.copy_global_to(guild=discord.Object(guild.id))
        await client.tree.sync(guild=discord.Object(guild.id))
        interaction = await ada.slash(channel, "summarize", audio=clip, private=True, language="de")
        await interaction.acknowledged()
        reply = await interaction.reply(lambda m: "Summary" in m.text)
        more = await interaction.reply(lambda m: m.content == "and more")
    assert client.heard == [clip.data]
    assert clip.downloads == 1
    assert interaction.ack_latency is not None
    assert interaction.ack_latency < 1
    assert reply.ephemeral
    assert more.ephemeral
    assert reply.embeds[0]["description"] == "clip (1).ogg in de language"
    assert [version.text for version in reply.versions[:2]] == ["", "working …"]
    srt = reply.file(".srt")
    assert srt is not None
    assert srt.data == b"1\n00:00"
    assert not reply.pinged
    assert [w.action for w in simulator.world.commands.writes] == ["overwrite"]


async def test_members_are_refused_what_discord_would_refuse(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    clip = simulator.cdn.upload("clip.ogg", b"OggS")
    async with connected(TreeClient(simulator)) as client:
        await client.tree.sync()
        with pytest.raises(Refused, match="no CHAT_INPUT command 'summon'"):
            await ada.slash(channel, "summon")
        with pytest.raises(Refused, match="required options are missing"):
            await ada.slash(channel, "summarize")
        with pytest.raises(Refused, match="takes a ATTACHMENT"):
            await ada.slash(channel, "summarize", audio="clip.ogg")
        with pytest.raises(Refused, match="no option"):
            await ada.slash(channel, "summarize", audio=clip, speed=2)
        with pytest.raises(Refused, match="takes a BOOLEAN"):
            await ada.slash(channel, "summarize", audio=clip, private="yes")
    assert simulator.world.interactions == {}
