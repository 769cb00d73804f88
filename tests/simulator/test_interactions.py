"""Buttons, menus, modals, autocompletion, message commands, and the deadlines of interactions."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import discord
import pytest
from discord import app_commands

from tests.simulator.changes import NotSeen
from tests.simulator.clients import client_options, connected
from tests.simulator.errors import Refused
from tests.simulator.interactions import CallbackKind
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.simulator.channels import Channel
    from tests.simulator.members import Member
    from tests.simulator.server import DiscordSimulator

    Respond = Callable[["discord.Interaction[Any]"], Coroutine[Any, Any, None]]


class Note(discord.ui.Modal, title="A note"):
    """Asks for text and files."""

    text = discord.ui.Label(
        text="What", component=discord.ui.TextInput[Any](custom_id="text", min_length=2, max_length=10)
    )
    files = discord.ui.Label(
        text="Files", component=discord.ui.FileUpload[Any](custom_id="files", required=False, max_values=2)
    )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        assert isinstance(self.text.component, discord.ui.TextInput)
        assert isinstance(self.files.component, discord.ui.FileUpload)
        names = [file.filename for file in self.files.component.values]
        await interaction.response.send_message(f"noted: {self.text.component.value} {names}", ephemeral=True)


class Panel(discord.ui.View):
    """A button and a menu."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Again", custom_id="again")
    async def again(self, interaction: discord.Interaction[Any], _: discord.ui.Button[Any]) -> None:
        await interaction.response.edit_message(content="once more")

    @discord.ui.button(label="Off", custom_id="off", disabled=True)
    async def off(self, interaction: discord.Interaction[Any], button: discord.ui.Button[Any]) -> None:
        raise AssertionError((interaction, button))

    @discord.ui.select(
        custom_id="file",
        options=[discord.SelectOption(label="Subtitles", value="srt"), discord.SelectOption(label="Text", value="txt")],
    )
    async def file(self, interaction: discord.Interaction[Any], select: discord.ui.Select[Any]) -> None:
        name = f"transcript.{select.values[0]}"
        await interaction.response.defer()
        await interaction.followup.send(file=discord.File(io.BytesIO(b"text"), filename=name), ephemeral=True)


class Bot(discord.Client):
    """One slash command that does what the test says, and a message command."""

    def __init__(self, simulator: DiscordSimulator, respond: Respond) -> None:
        super().__init__(**client_options(simulator))
        self.tree = app_commands.CommandTree(self)
        self.errors: list[Exception] = []
        bot = self

        @self.tree.command(name="go", description="Go")
        async def go(interaction: discord.Interaction[Any]) -> None:  # pyright: ignore[reportUnusedFunction] # registered
            try:
                await respond(interaction)
            except discord.HTTPException as error:
                bot.errors.append(error)
            simulator.world.changes.notify()

        @self.tree.command(name="pick", description="Pick")
        @app_commands.autocomplete(language=_languages)
        async def pick(interaction: discord.Interaction[Any], language: str) -> None:  # pyright: ignore[reportUnusedFunction] # registered
            await interaction.response.send_message(language)

        @self.tree.context_menu(name="Summarise")
        async def summarise(interaction: discord.Interaction[Any], message: discord.Message) -> None:  # pyright: ignore[reportUnusedFunction] # registered
            await interaction.response.send_message(
                f"{message.content} {[(a.filename, a.duration) for a in message.attachments]}"
            )

    async def setup_hook(self) -> None:
        await self.tree.sync()


async def _languages(_: discord.Interaction[Any], typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=n, value=n) for n in ("german", "greek", "french") if n.startswith(typed)]


class Scene:
    """A guild with a channel and a member, and the bot in it."""

    def __init__(self, simulator: DiscordSimulator) -> None:
        self.guild = simulator.add_guild()
        self.channel: Channel = self.guild.add_text_channel("general")
        self.ada: Member = self.guild.add_member("ada")


@pytest.fixture
def scene(simulator: DiscordSimulator) -> Scene:
    return Scene(simulator)


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


async def _panel(interaction: discord.Interaction[Any]) -> None:
    await interaction.response.send_message("here", view=Panel())


async def _modal(interaction: discord.Interaction[Any]) -> None:
    await interaction.response.send_modal(Note())


async def test_buttons_and_menus(simulator: DiscordSimulator, scene: Scene) -> None:
    ada = scene.ada
    async with connected(Bot(simulator, _panel)):
        message = await (await ada.slash(scene.channel, "go")).reply()
        clicked = await ada.click(message, label="Again")
        assert (await clicked.acknowledged()).kind is CallbackKind.UPDATE
        assert message.content == "once more"
        chosen = await ada.choose(message, "file", ["srt"])
        answer = await chosen.reply(lambda m: m is not message)
        assert answer.ephemeral
        assert answer.file(".srt") is not None
        with pytest.raises(Refused, match="disabled"):
            await ada.click(message, custom_id="off")
        with pytest.raises(Refused, match="no such component"):
            await ada.click(message, label="Nowhere")
        with pytest.raises(Refused, match="1 to 1 of"):
            await ada.choose(message, "file", ["doc"])
        bob = scene.guild.add_member("bob")
        with pytest.raises(Refused, match="does not see"):
            await bob.message_command(scene.channel, "Summarise", answer)


async def test_message_command_carries_the_voice_message(simulator: DiscordSimulator, scene: Scene) -> None:
    message = scene.channel.voice_message(scene.ada, b"OggS", duration_secs=3.5)
    async with connected(Bot(simulator, _panel)):
        interaction = await scene.ada.message_command(scene.channel, "Summarise", message)
        assert "('voice-message.ogg', 3.5)" in (await interaction.reply()).content


async def test_autocompletion(simulator: DiscordSimulator, scene: Scene) -> None:
    async with connected(Bot(simulator, _panel)):
        choices = await scene.ada.autocomplete(scene.channel, "pick", focused="language", language="g")
        assert [choice["value"] for choice in choices] == ["german", "greek"]


async def test_modal(simulator: DiscordSimulator, scene: Scene) -> None:
    ada = scene.ada
    async with connected(Bot(simulator, _modal)):
        opened = await ada.slash(scene.channel, "go")
        await opened.acknowledged()
        with pytest.raises(Refused, match="2 to 10 characters"):
            await ada.submit(opened, {"text": "x"})
        with pytest.raises(Refused, match="has to be filled in"):
            await ada.submit(opened, {})
        sent = await ada.submit(opened, {"text": "hello", "files": [simulator.cdn.upload("a.txt", b"1")]})
        assert (await sent.reply()).content == "noted: hello ['a.txt']"
        with pytest.raises(Refused, match="opened no modal"):
            await ada.submit(opened, {"text": "hello"})


async def test_commands_work_in_direct_conversations(simulator: DiscordSimulator, scene: Scene) -> None:
    async with connected(Bot(simulator, _panel)):
        interaction = await scene.ada.slash(scene.ada.direct_channel(), "go")
        assert (await interaction.reply()).content == "here"


async def test_late_acknowledgement_is_refused(simulator: DiscordSimulator, scene: Scene) -> None:
    async def late(interaction: discord.Interaction[Any]) -> None:
        simulator.clock.advance(3.1)
        await interaction.response.defer()

    async with connected(Bot(simulator, late)) as bot:
        interaction = await scene.ada.slash(scene.channel, "go")
        error = await simulator.world.changes.until(
            lambda: bot.errors and bot.errors[0], timeout_s=5, what=lambda: "an error"
        )
    assert isinstance(error, discord.NotFound)
    assert error.code == 10062
    assert interaction.acknowledgement is None
    with pytest.raises(NotSeen, match="an acknowledgement of command 'go' of ada"):
        await interaction.acknowledged(within=0.01)


async def test_second_acknowledgement_is_refused(simulator: DiscordSimulator, scene: Scene, raw: RawClient) -> None:
    async with connected(Bot(simulator, _panel)):
        interaction = await scene.ada.slash(scene.channel, "go")
        await interaction.acknowledged()
    path = f"/interactions/{interaction.id}/{interaction.token}/callback"
    answer = await raw.request("POST", path, json={"type": 5})
    assert (answer.status, answer.body["code"]) == (400, 40060)


async def test_token_expires(simulator: DiscordSimulator, scene: Scene) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        waiting.set()
        await go_on.wait()
        await interaction.edit_original_response(content="too late")

    async with connected(Bot(simulator, slow)) as bot:
        interaction = await scene.ada.slash(scene.channel, "go")
        await asyncio.wait_for(waiting.wait(), 5)
        simulator.clock.advance(15 * 60)
        go_on.set()
        error = await simulator.world.changes.until(
            lambda: bot.errors and bot.errors[0], timeout_s=5, what=lambda: "an error"
        )
    assert isinstance(error, discord.HTTPException)
    assert (error.status, error.code) == (401, 50027)
    assert interaction.original is not None
    assert interaction.original.loading


async def test_first_followup_takes_the_place_of_the_deferral(simulator: DiscordSimulator, scene: Scene) -> None:
    async def respond(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send(f"first {interaction.user.mention}")
        await interaction.followup.send(f"second {interaction.user.mention}")
        await interaction.delete_original_response()

    async with connected(Bot(simulator, respond)):
        interaction = await scene.ada.slash(scene.channel, "go")
        second = await interaction.reply(lambda m: m.content.startswith("second"))
        await simulator.world.changes.until(
            lambda: interaction.original and interaction.original.deleted, timeout_s=5, what=lambda: "a deletion"
        )
    assert interaction.original is not None
    assert interaction.original.content.startswith("first")
    assert not interaction.original.pinged, "nobody hears of what only one member sees"
    assert second.pinged.users == {scene.ada.id}
    assert interaction.original.ephemeral, "as the deferral said"
    assert not second.ephemeral
    assert interaction.messages == [second]


async def test_nothing_is_posted_before_the_acknowledgement(
    simulator: DiscordSimulator, scene: Scene, raw: RawClient
) -> None:
    async def nothing(_: discord.Interaction[Any]) -> None:
        pass

    async with connected(Bot(simulator, nothing)):
        interaction = await scene.ada.slash(scene.channel, "go")
        path = f"/webhooks/{simulator.world.application_id}/{interaction.token}"
        answer = await raw.request("POST", path, json={"content": "early"})
        assert (answer.status, answer.body["code"]) == (404, 10015)
        wrong = await raw.request(
            "POST", f"/interactions/{interaction.id}/{interaction.token}/callback", json={"type": 7, "data": {}}
        )
        assert (wrong.status, wrong.body["code"]) == (400, 50035)
    assert len(simulator.take_violations()) == 1


async def test_layouts_and_the_limit_of_uploads(simulator: DiscordSimulator, scene: Scene) -> None:
    simulator.world.limits.upload_bytes = 1000

    async def layout(interaction: discord.Interaction[Any]) -> None:
        ui = discord.ui
        view = ui.LayoutView(timeout=None)
        button: discord.ui.Button[Any] = ui.Button(label="Again", custom_id="again")
        section: discord.ui.Section[Any] = ui.Section(ui.TextDisplay("left"), accessory=button)
        gallery: discord.ui.MediaGallery[Any] = ui.MediaGallery(discord.MediaGalleryItem("attachment://a.png"))
        file: discord.ui.File[Any] = ui.File("attachment://a.txt")
        view.add_item(ui.Container(ui.TextDisplay("# Title"), ui.Separator(), section, gallery, file))
        files = [discord.File(io.BytesIO(b"1"), filename=name) for name in ("a.png", "a.txt")]
        await interaction.response.send_message(view=view, files=files)
        await interaction.followup.send(file=discord.File(io.BytesIO(b"x" * 1001), filename="big"))

    async with connected(Bot(simulator, layout)) as bot:
        interaction = await scene.ada.slash(scene.channel, "go")
        error = await simulator.world.changes.until(
            lambda: bot.errors and bot.errors[0], timeout_s=5, what=lambda: "an error"
        )
        reply = await interaction.reply()
        assert reply.text == "# Title\nleft"
        await scene.ada.click(reply, label="Again")
    assert isinstance(error, discord.HTTPException)
    assert (error.status, error.code) == (413, 40005)
    assert interaction.followups == []


async def test_reply_says_what_there_is_instead(simulator: DiscordSimulator, scene: Scene) -> None:
    async with connected(Bot(simulator, _panel)):
        interaction = await scene.ada.slash(scene.channel, "go")
        await interaction.acknowledged()
        with pytest.raises(NotSeen, match=r"message \d+ \(1 versions\): 'here'"):
            await interaction.reply(lambda m: m.content == "there", within=0.05)
