from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest
import redis

from tests import audio
from tests.e2e.town import (
    COMMANDS,
    PATIENCE_S,
    ROOT,
    Town,
    answer,
    fields,
    is_final,
    menu_id,
    modes_with_timeout,
    store_socket,
)
from tests.llm_server import Fails, Hangs, Streams, scripted_llm
from tests.waiting import until

if TYPE_CHECKING:
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

WHISPER_CHILD = "bot.adapters.whisper.child"
EDIT = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"


# A minute of talk, in three windows of Whisper's; and a phrase of its beginning, its middle and its end.
MINUTE = (ROOT / "benchmarks" / "corpus" / "minute.ogg").read_bytes()
PHRASES = ("keep this short", "is anything blocking the release", "nothing gets lost")


def whisper_processes(bot: BotProcess) -> list[psutil.Process]:
    children = psutil.Process(bot.pid).children(recursive=True)
    return [child for child in children if any(WHISPER_CHILD in word for word in child.cmdline())]


def busiest(processes: list[psutil.Process]) -> psutil.Process:
    return max(processes, key=lambda process: sum(process.cpu_times()[:2]))


def heard_so_far(message: Message | None) -> bool:
    return message is not None and PHRASES[0] in message.text


async def test_a_killed_whisper_process_costs_the_member_nothing(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = town.simulator.cdn.upload("minute.ogg", MINUTE, content_type="audio/ogg")
        interaction = await town.ada.slash(town.channel, "transcribe", audio=clip)
        await until(lambda: heard_so_far(interaction.original), within=PATIENCE_S)
        assert interaction.original is not None
        assert not is_final(interaction.original), "the kill has to come in the middle of the work"
        busiest(whisper_processes(bot)).kill()
        message = await answer(interaction)
        assert [message.text.lower().count(phrase) for phrase in PHRASES] == [1, 1, 1]
        assert bot.returncode is None


async def test_menus_work_after_a_restart_and_commands_are_not_written_again(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
        message = await answer(await town.ada.slash(town.channel, "transcribe", audio=clip))
        written = len(town.simulator.world.commands.writes)
        await bot.restart()
        await bot.ready(commands=COMMANDS)
        await bot.logged("ready:")
        again = await answer(await town.ada.choose(message, menu_id(message, "redo"), ["summarize"]))
        assert "ask not what your country" in again.text.lower()
        (file,) = (await answer(await town.ada.choose(message, menu_id(message, "files"), ["srt"]))).attachments
        assert b"-->" in file.data
        assert len(town.simulator.world.commands.writes) == written


async def test_a_transcript_that_is_gone_is_said_to_be_gone(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
        message = await answer(await town.ada.slash(town.channel, "transcribe", audio=clip))
        with redis.Redis(unix_socket_path=store_socket(town.data_dir)) as store:
            (kept,) = store.keys("earshot:transcript:*")  # pyright: ignore[reportUnknownMemberType]
            store.delete(kept)
        for kind, value in (("redo", "summarize"), ("files", "txt")):
            gone = await answer(await town.ada.choose(message, menu_id(message, kind), [value]))
            assert "no longer kept" in gone.text


async def test_nothing_is_left_behind_but_the_store(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
        await answer(await town.ada.slash(town.channel, "transcribe", audio=clip))
        children = whisper_processes(bot)
        assert children
        assert await bot.terminate() == 0
        await until(lambda: not any(child.is_running() for child in children))
    left = {path.relative_to(town.data_dir).parts[0] for path in town.data_dir.rglob("*") if path.is_file()}
    assert left == {"redis"}


async def test_whisper_gets_no_secrets(own_town: Town) -> None:
    town = own_town
    async with town.process(OPENAI_API_KEY="sk-very-secret", OPENAI_BASE_URL="http://127.0.0.1:9/v1") as bot:
        await bot.ready(commands=COMMANDS)
        await until(lambda: whisper_processes(bot), within=30)
        for child in whisper_processes(bot):
            environment = " ".join(child.environ().values())
            assert "sk-very-secret" not in environment
            assert town.simulator.token not in environment
        assert town.simulator.token not in bot.log
        assert "sk-very-secret" not in bot.log


async def test_a_file_over_the_limit_is_refused(own_town: Town) -> None:
    town = own_town
    async with town.process(MAX_AUDIO_MB="0.1", MAX_AUDIO_MINUTES="0.1") as bot:
        await bot.ready(commands=COMMANDS)
        large = town.simulator.cdn.upload("large.wav", audio.encoded("wav"), content_type="audio/wav")
        assert (
            "too large: the limit here is 0.1 MB"
            in (await answer(await town.ada.slash(town.channel, "summarize", audio=large))).text
        )
        assert large.downloads == 0, "Discord says how large it is: nothing needs to be fetched"
        long = town.simulator.cdn.upload("long.ogg", audio.encoded("voice-message"), content_type="audio/ogg")
        assert (
            "too long: the limit here is 0.1 minutes"
            in (await answer(await town.ada.slash(town.channel, "summarize", audio=long))).text
        )


async def test_a_long_and_hostile_result_is_shown_whole_and_pings_nobody(own_town: Town) -> None:
    town = own_town
    words = (
        f"@everyone {town.ada.user.mention} [prize](https://evil.example/) " + "A very long line of a summary. " * 400
    )
    async with scripted_llm() as llm:
        llm.answers = (Streams(pieces=[words[at : at + 200] for at in range(0, len(words), 200)]),)
        async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="local,template") as bot:
            await bot.ready(commands=COMMANDS)
            clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
            message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip))
    assert not message.pinged
    assert "the rest is in the attached file" in message.text
    (file,) = message.attachments
    assert (file.filename, file.data.decode().strip()) == ("summarize.md", words.strip())
    assert "[prize](" not in message.text
    assert fields(message)["Model"] == "local"
    assert "ask not what your country can do for you" in llm.requests[0]["messages"][1]["content"].lower()


async def test_words_arrive_while_a_model_writes_and_a_restart_loses_nothing(own_town: Town) -> None:
    town = own_town
    async with scripted_llm() as llm:
        llm.answers = (
            Fails(status=404, code="model_not_found"),
            Hangs(pieces=["The beginning", " of a summary."]),
            Streams(pieces=["The whole", " summary."]),
        )
        llm_settings = {"OPENAI_BASE_URL": llm.url, "LLM_CHAIN": "gone,slow,template"}
        async with town.process(**llm_settings) as bot:
            await bot.ready(commands=COMMANDS)
            clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
            interaction = await town.ada.slash(town.channel, "summarize", audio=clip)
            await interaction.reply(lambda m: "The beginning of a summary." in m.text, within=PATIENCE_S)
            assert await bot.terminate() == 0
            message = await interaction.reply(lambda m: "Nothing is lost" in m.text)
            assert not is_final(message)
        async with town.process(**llm_settings):
            message = await answer(interaction)
    assert "The whole summary." in message.text
    assert len(town.channel.messages) == 1
    # What was found out of the first model is known after the restart, too.
    assert [request["model"] for request in llm.requests] == ["gone", "slow", "slow"]


async def test_a_request_can_be_cancelled_by_whoever_asked(own_town: Town) -> None:
    town = own_town
    async with scripted_llm() as llm:
        llm.answers = (Hangs(pieces=["The beginning"]),)
        async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="slow,template") as bot:
            await bot.ready(commands=COMMANDS)
            clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
            interaction = await town.ada.slash(town.channel, "summarize", audio=clip)
            message = await interaction.reply(lambda m: "The beginning" in m.text, within=PATIENCE_S)
            somebody = town.guild.add_member("somebody")
            pressed = await somebody.click(message, label="Cancel")
            refusal = await pressed.reply(lambda shown: shown is not message)
            assert "can cancel it" in refusal.text
            assert not is_final(message)
            await town.ada.click(message, label="Cancel")
            message = await answer(interaction)
    assert message.text == "Cancelled."
    assert not message.components


async def test_progress_keeps_its_distance_and_does_not_go_back(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = town.simulator.cdn.upload("minute.ogg", MINUTE, content_type="audio/ogg")
        interaction = await town.ada.slash(town.channel, "transcribe", audio=clip)
        message = await answer(interaction)
    edits = town.simulator.rest.log.matching("PATCH", EDIT)
    assert len(edits) >= 3
    assert min(town.simulator.rest.log.gaps(edits)) >= 1.0
    shares = [
        int(found[1]) for version in message.versions if (found := re.search(r"Listening\*\* … (\d+)%", version.text))
    ]
    assert shares == sorted(shares)
    assert is_final(message)


async def test_an_answer_after_the_tokens_end_is_a_new_message(own_town: Town) -> None:
    town = own_town
    async with scripted_llm() as llm:
        llm.answers = (Hangs(pieces=["Thinking"]),)
        # The mode's own time limit ends the wait, long after the token has.
        modes = modes_with_timeout(town.data_dir / "modes", seconds=6)
        async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="slow,template", MODES_DIR=str(modes)) as bot:
            await bot.ready(commands=COMMANDS)
            clip = town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
            interaction = await town.ada.slash(town.channel, "summarize", audio=clip)
            await interaction.reply(lambda m: "Thinking" in m.text, within=PATIENCE_S)
            town.simulator.clock.advance(16 * 60)
            message = await town.simulator.world.changes.until(
                lambda: next(
                    (m for m in town.channel.messages.values() if m is not interaction.original and is_final(m)), None
                ),
                timeout_s=PATIENCE_S,
                what=lambda: "a message of its own",
            )
            assert "ask not what your country" in message.text.lower()
            assert message.reference is interaction.original
            assert message.pinged.users == {town.ada.user.id}


async def test_health_tells_when_it_is_ready(own_town: Town) -> None:
    town = own_town
    async with town.process() as bot, aiohttp.ClientSession() as session:
        line = await bot.logged("health is served on", within=30)
        base = f"http://127.0.0.1:{line.rpartition(':')[2]}"
        async with session.get(f"{base}/healthz") as response:
            assert response.status == 200
        await bot.ready(commands=COMMANDS)

        async with asyncio.timeout(60):
            while True:
                async with session.get(f"{base}/readyz") as response:
                    told = await response.json()
                assert set(told["parts"]) == {"gateway", "model", "store", "cache", "load", "stages"}
                assert (response.status == 200) is told["ready"]
                if told["ready"]:
                    break


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DISCORD_TOKEN": ""}, "DISCORD_TOKEN is not set"),
        ({"DISCORD_TOKEN": "wrong.token.here"}, "Discord refuses DISCORD_TOKEN"),
        ({"HTTP_PORT": "lots"}, "HTTP_PORT: "),
        ({"DISCORD_PROXY": "nonsense"}, "DISCORD_PROXY: "),
    ],
    ids=["no token", "wrong token", "bad port", "bad proxy"],
)
async def test_a_start_that_cannot_work_says_why_and_exits_with_2(
    own_town: Town, settings: dict[str, str], said: str
) -> None:
    async with own_town.process(**settings) as bot:
        assert await bot.exited() == 2
        assert said in bot.log
        assert "Traceback" not in bot.log
        assert "wrong.token.here" not in bot.log
