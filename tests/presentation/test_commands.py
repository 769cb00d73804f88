from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from bot.presentation.settings_changes import RESETTABLE
from bot.presentation.settings_editor import SettingsEditor
from cogs.privacy import Privacy
from cogs.quota import Quota
from cogs.results import Results
from cogs.settings import Settings
from tests.fakes import FakeModeSource
from tests.presentation.guildhall import Counter, FakeAuditLog, FakeSettingsStore, an_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[-_a-z0-9]{1,32}")
_NOTHING: Any = None


@pytest.fixture
async def payloads() -> dict[str, Any]:
    """The commands as Discord gets them, by name."""
    reception = Counter().reception
    settings, audit = FakeSettingsStore(), FakeAuditLog()
    bot = commands.Bot(commands.when_mentioned, help_command=None, intents=discord.Intents(guilds=True))
    await bot.add_cog(Settings(SettingsEditor(settings, reception), audit, FakeModeSource(), an_operator()))
    await bot.add_cog(Quota(reception, _NOTHING, FakeModeSource(), settings=settings, audit=audit))
    await bot.add_cog(Results(reception, _NOTHING))
    await bot.add_cog(Privacy(reception, _NOTHING))
    return {command.name: command.to_dict(bot.tree) for command in bot.tree.get_commands()}


def everything(payload: Any) -> Iterator[Any]:
    """A command, its subcommands and their options."""
    yield payload
    for option in payload.get("options", []):
        yield from everything(option)


async def test_the_commands_are_these(payloads: dict[str, Any]) -> None:
    groups = {name: [option["name"] for option in payload["options"]] for name, payload in payloads.items()}
    assert set(groups) == {"settings", "quota", "results", "forget-me"}
    assert set(groups["settings"]) == {
        *("show", "mode", "language", "roles", "channels", "limits"),
        *("tier", "retention", "voice-messages", "audit", "reset"),
    }
    assert set(groups["results"]) == {"list", "get", "delete"}
    assert set(groups["quota"]) == {"member", "reset"}


async def test_every_command_is_within_discords_limits(payloads: dict[str, Any]) -> None:
    for payload in payloads.values():
        total = 0
        for part in everything(payload):
            assert _NAME.fullmatch(part["name"])
            assert 1 <= len(part["description"]) <= 100
            assert part["description"] != "…", "every option says what it is"
            assert len(part.get("options", [])) <= 25
            choices = part.get("choices", [])
            assert len(choices) <= 25
            assert all(1 <= len(choice["name"]) <= 100 for choice in choices)
            total += len(part["name"]) + len(part["description"])
            total += sum(len(choice["name"]) + len(str(choice["value"])) for choice in choices)
        assert total <= 8_000


async def test_settings_are_shown_to_those_who_manage_the_guild(payloads: dict[str, Any]) -> None:
    assert payloads["settings"]["default_member_permissions"] == discord.Permissions(manage_guild=True).value
    assert all(
        payload["default_member_permissions"] is None for name, payload in payloads.items() if name != "settings"
    )


async def test_every_setting_can_be_chosen_to_be_set_back(payloads: dict[str, Any]) -> None:
    reset = next(option for option in payloads["settings"]["options"] if option["name"] == "reset")
    assert [choice["value"] for choice in reset["options"][0]["choices"]] == list(RESETTABLE)


async def test_whatever_has_many_values_is_suggested(payloads: dict[str, Any]) -> None:
    suggested = {
        (payload["name"], part["name"])
        for payload in payloads.values()
        for group in payload["options"]
        for part in group.get("options", [])
        if part.get("autocomplete")
    }
    assert suggested == {("settings", "mode"), ("settings", "language"), ("results", "result")}


def test_a_channel_for_voice_messages_is_one_that_members_write_in() -> None:
    command = next(found for found in Settings.__cog_app_commands__ if found.name == "voice-messages")
    assert isinstance(command, app_commands.Command)
    (channel,) = [parameter for parameter in command.parameters if parameter.name == "channel"]
    assert set(channel.channel_types) == {discord.ChannelType.text, discord.ChannelType.news, discord.ChannelType.voice}
