from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import webvtt

from tests import audio
from tests.e2e.town import Town, answer, fields, menu_id
from tests.simulator.messages import MessageFlag

if TYPE_CHECKING:
    from tests.simulator.cdn import Attachment
    from tests.simulator.messages import Message

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

WORDS = "ask not what your country can do for you"


def voice_message(town: Town) -> Message:
    attachment = town.simulator.cdn.upload(
        "voice-message.ogg",
        audio.encoded("voice-message"),
        content_type="audio/ogg",
        duration_secs=11.0,
        waveform="AAAA",
    )
    return town.channel.post(town.ada, attachments=[attachment], flags=MessageFlag.IS_VOICE_MESSAGE)


def clip(town: Town, name: str = "clip.ogg", data: bytes | None = None) -> Attachment:
    content = audio.encoded("ogg") if data is None else data
    return town.simulator.cdn.upload(name, content, content_type="audio/ogg")


@pytest.mark.parametrize("kind", ["ogg", "mp3", "m4a", "wav", "flac", "webm", "mp4"])
async def test_summarize_takes_every_format(town: Town, kind: str) -> None:
    attachment = town.simulator.cdn.upload(f"clip.{kind}", audio.encoded(kind))
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=attachment))
    assert message.embeds[0]["title"] == "Summary"
    assert WORDS in message.text.lower()
    facts = fields(message)
    assert (facts["Mode"], facts["Language"], facts["Length"]) == ("Summary", "English", "0:11")
    assert facts["Model"] == "none (extract)"
    assert "Speakers are not told apart." in message.text
    assert not message.pinged


async def test_summarise_on_a_voice_message(town: Town) -> None:
    message = await answer(await town.ada.message_command(town.channel, "Summarise", voice_message(town)))
    assert message.embeds[0]["title"] == "Summary"
    assert WORDS in message.text.lower()


async def test_transcribe_on_a_voice_message(town: Town) -> None:
    message = await answer(await town.ada.message_command(town.channel, "Transcribe", voice_message(town)))
    assert message.embeds[0]["title"] == "Transcript"
    assert WORDS in message.text.lower()
    assert "`0:00`" in message.text


async def test_transcribe_as_a_command(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "transcribe", audio=clip(town), language="english"))
    assert WORDS in message.text.lower()


async def test_a_private_answer_is_for_the_member_alone(town: Town) -> None:
    interaction = await town.ada.slash(town.channel, "summarize", audio=clip(town), private=True)
    message = await answer(interaction)
    assert (interaction.ephemeral, message.ephemeral) == (True, True)
    again = await town.ada.choose(message, menu_id(message, "redo"), ["-"])
    assert (await answer(again)).ephemeral, "what is made of a private answer is private"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.ogg", b"", "is empty"),
        ("words.mp3", b"These are words, not music.\n" * 50, "can't read that file as audio"),
        ("silent.mp4", None, "has no sound"),
        ("locked.m4p", None, "copy-protected"),
    ],
)
async def test_what_cannot_be_heard_gets_one_clear_sentence(
    town: Town, name: str, data: bytes | None, said: str
) -> None:
    made = {"silent.mp4": audio.video_only, "locked.m4p": audio.protected_m4p}
    content = made[name]() if data is None else data
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip(town, name, content)))
    assert said in message.text
    assert "Reference" not in message.text, "whoever asked can cure it"
    assert message.components == ()
    await the_bot_goes_on(town)


async def test_a_truncated_file_is_heard_and_said_to_be_truncated(town: Town) -> None:
    attachment = town.simulator.cdn.upload(
        "voice-message.ogg", audio.truncated("voice-message", 0.6), content_type="audio/ogg", duration_secs=11.0
    )
    posted = town.channel.post(town.ada, attachments=[attachment], flags=MessageFlag.IS_VOICE_MESSAGE)
    message = await answer(await town.ada.message_command(town.channel, "Transcribe", posted))
    assert "The file ends early" in message.text
    assert "fellow americans" in message.text.lower()


async def test_an_expired_link_is_said_to_be_one(town: Town) -> None:
    attachment = clip(town)
    town.simulator.cdn.link_life_s = -1.0
    try:
        message = await answer(await town.ada.slash(town.channel, "summarize", audio=attachment))
    finally:
        town.simulator.cdn.link_life_s = 86_400.0
    assert "its link expired" in message.text
    await the_bot_goes_on(town)


async def test_silence_gets_a_friendly_answer(town: Town) -> None:
    silence = audio.encode(audio.silence(8.0), audio.Recipe(container="ogg", codec="libopus"))
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip(town, "quiet.ogg", silence)))
    assert "heard no speech" in message.text
    assert message.components == ()


async def test_the_transcript_comes_in_five_formats(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "transcribe", audio=clip(town)))
    files: dict[str, str] = {}
    for kind in ("txt", "md", "srt", "vtt", "json"):
        interaction = await town.ada.choose(message, menu_id(message, "files"), [kind])
        (file,) = (await answer(interaction)).attachments
        assert interaction.ephemeral
        assert file.filename == f"transcript.{kind}"
        files[kind] = file.data.decode()
    heard = json.loads(files["json"])
    assert heard["language"] == "en"
    assert heard["duration_s"] == pytest.approx(11.0, abs=0.1)
    assert WORDS in heard["text"].lower()
    assert {segment["speaker"] for segment in heard["segments"]} == {None}
    assert cue_texts(files["vtt"]) == [segment["text"] for segment in heard["segments"]]
    assert files["srt"].count(" --> ") == len(heard["segments"])
    assert "Speakers are not told apart." in files["txt"]
    assert "Speakers are not told apart." in files["md"]


async def test_redo_uses_the_transcript_again(town: Town) -> None:
    attachment = clip(town)
    first = await answer(await town.ada.slash(town.channel, "transcribe", audio=attachment))
    second = await answer(await town.ada.choose(first, menu_id(first, "redo"), ["summarize"]))
    assert second.embeds[0]["title"] == "Summary"
    assert "from the kept transcript" in fields(second)["Took"]
    assert attachment.downloads == 1
    third = await answer(await town.ada.choose(second, menu_id(second, "redo"), ["-"]))
    assert third.embeds[0]["description"] == first.embeds[0]["description"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Attach a file"),
        ({"link": "https://example.com/clip.mp3"}, "no link to a message"),
        ({"link": "https://discord.com/channels/100000000000000000/100000000000000000/100000000000000000"}, "another"),
        ({"link": "HERE/100000000000000000"}, "can't open that message"),
    ],
    ids=["nothing", "elsewhere", "other server", "no such message"],
)
async def test_input_that_leads_nowhere_is_explained(town: Town, options: dict[str, str], said: str) -> None:
    here = f"https://discord.com/channels/{town.guild.id}/{town.channel.id}"
    given = {name: value.replace("HERE", here) for name, value in options.items()}
    message = await answer(await town.ada.slash(town.channel, "summarize", **given))
    assert said in message.text


async def test_a_file_and_a_link_are_one_too_many(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip(town), link="x"))
    assert "not both" in message.text


async def test_an_unknown_language_is_refused(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip(town), language="Klingon"))
    assert "don't know the language “Klingon”" in message.text


async def test_a_message_without_sound_is_said_to_have_none(town: Town) -> None:
    posted = town.channel.post(town.ada, content="only words")
    message = await answer(await town.ada.message_command(town.channel, "Summarise", posted))
    assert "no audio, video or voice message" in message.text


async def test_languages_complete(town: Town) -> None:
    choices = await town.ada.autocomplete(town.channel, "summarize", focused="language", language="ger")
    assert (choices[0]["name"], choices[0]["value"]) == ("German", "de")


async def test_help_names_every_command(town: Town) -> None:
    interaction = await town.ada.slash(town.channel, "help")
    message = await interaction.reply()
    assert interaction.ephemeral
    for name in ("transcribe", "summarize", "help"):
        assert f"</{name}:" in message.text


def cue_texts(vtt: str) -> list[str]:
    captions: list[Any] = webvtt.from_string(vtt).captions  # pyright: ignore[reportUnknownMemberType] - without types
    return [caption.text for caption in captions]


async def the_bot_goes_on(town: Town) -> None:
    interaction = await town.ada.slash(town.channel, "help")
    assert "I listen" in (await interaction.reply()).text
