from __future__ import annotations

import re
from typing import Any

import discord
import pytest
from discord.ext import commands

from bot.presentation.client import Limits
from bot.presentation.command_sync import CommandSync
from bot.presentation.mode_commands import mode_command
from cogs.help import Help
from cogs.privacy import Privacy
from cogs.quota import Quota
from cogs.results import Results
from tests.fakes import FakeModeSource, a_mode
from tests.presentation.guildhall import (
    Counter,
    FakeAuditLog,
    FakeSettingsStore,
    a_member,
    a_user,
    an_interaction,
    assert_fits,
)
from tests.presentation.guildhall import all_text as read

_NOTHING: Any = None


async def helped(*, by: discord.Member | discord.User, modes: int = 1) -> str:
    """What somebody reads where there are so many modes."""
    counter = Counter()
    bot = commands.Bot(commands.when_mentioned, help_command=None, intents=discord.Intents(guilds=True))
    limits = Limits(max_audio_mb=100, max_audio_minutes=240, transcript_days=7)
    cog = Help(counter.reception, bot.tree, shown=CommandSync(bot), limits=limits)
    await bot.add_cog(cog)
    await bot.add_cog(
        Quota(counter.reception, _NOTHING, FakeModeSource(), settings=FakeSettingsStore(), audit=FakeAuditLog())
    )
    await bot.add_cog(Results(counter.reception, _NOTHING))
    await bot.add_cog(Privacy(counter.reception, _NOTHING))
    for number in range(modes):
        mode = a_mode(f"mode-{number}").model_copy(update={"description": f"{number:03} " + "x" * 90})
        bot.tree.add_command(mode_command(mode, counter.reception))
    command: Any = cog.help
    await command.callback(cog, an_interaction(by))
    assert_fits(counter.answer)
    return read(counter.answer)


@pytest.mark.parametrize("modes", [1, 9, 10, 25])
async def test_every_command_is_named_whole(modes: int) -> None:
    said = await helped(by=a_member(), modes=modes)
    for name in ("help", "quota", "results …", "forget-me", *(f"mode-{number}" for number in range(modes))):
        assert f"`/{name}`: " in said
    assert said.count("x" * 90) == modes
    assert "more: type" not in said
    assert "Files up to 100 MB and 240 minutes" in said
    assert "within 7 days" in said


async def test_more_commands_than_fit_are_counted() -> None:
    said = await helped(by=a_member(), modes=95)
    shown = said.count("x" * 90)
    assert 30 < shown < 95
    (more,) = re.findall(r"… and (\d+) more: type `/` to see all", said)
    assert shown + int(more) == 95


async def test_outside_servers_only_what_is_there_is_named() -> None:
    said = await helped(by=a_user())
    assert all(f"`/{name}`" in said for name in ("help", "quota", "results …", "forget-me"))
    assert "mode-0" not in said
