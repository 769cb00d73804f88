"""`BotProcess` with a small real bot: its environment, its life, its log."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.simulator.changes import NotSeen
from tests.simulator.process import BotExited, BotProcess

if TYPE_CHECKING:
    from tests.simulator.server import DiscordSimulator

SAMPLE = (sys.executable, "-m", "tests.simulator.sample_bot")
WITHOUT_ZSTANDARD = (
    sys.executable,
    "-c",
    # None in sys.modules means: cannot be imported. discord.py then falls back to zlib-stream.
    "import sys; sys.modules['zstandard'] = None; from tests.simulator.sample_bot import main; main()",
)


async def test_runs_restarts_and_stops(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    async with BotProcess(simulator, argv=SAMPLE) as bot:
        await bot.ready(commands={"echo"})
        first = bot.pid
        interaction = await ada.slash(channel, "echo", text="hello")
        await interaction.acknowledged()
        assert (await interaction.reply()).content == f"hello {first}"
        await bot.restart()
        await bot.ready()
        assert bot.pid != first
        again = await ada.slash(channel, "echo", text="again")
        assert (await again.reply()).content == f"again {bot.pid}"
        assert await bot.terminate() == 0
        assert bot.lines.count("stopping") == 2


async def test_exit_is_reported_at_once_with_the_log(simulator: DiscordSimulator) -> None:
    async with BotProcess(simulator, argv=SAMPLE, settings={"SAMPLE_MODE": "crash"}) as bot:
        with pytest.raises(BotExited, match=r"ended with 3 (.|\n)*no such thing as a token"):
            await bot.ready(within=30)
        assert await bot.exited() == 3


async def test_kill_and_stubborn_process(simulator: DiscordSimulator) -> None:
    async with BotProcess(simulator, argv=SAMPLE, settings={"SAMPLE_MODE": "stubborn"}) as bot:
        await bot.ready()
        with pytest.raises(NotSeen, match="did not stop"):
            await bot.terminate(within=0.2)
        assert bot.returncode == -signal.SIGKILL


async def test_wrong_token_ends_the_process(simulator: DiscordSimulator) -> None:
    async with BotProcess(simulator, argv=SAMPLE, token="wrong") as bot:
        with pytest.raises(BotExited, match="Improper token"):
            await bot.ready()


async def test_zlib_is_spoken_where_zstandard_is_missing(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    async with BotProcess(simulator, argv=WITHOUT_ZSTANDARD) as bot:
        await bot.ready(commands={"echo"})
        interaction = await ada.slash(channel, "echo", text="small")
        assert "small" in (await interaction.reply()).content
    assert simulator.gateway.compressions == ["zlib-stream"]
