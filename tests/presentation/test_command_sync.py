from __future__ import annotations

import copy
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bot.bootstrap.desk import build_desk, build_fair_use
from bot.bootstrap.gateway import build_bot
from bot.bootstrap.jobs import open_jobs
from bot.bootstrap.services import open_core
from bot.bootstrap.state import in_process_state
from bot.core.health import Health
from bot.core.line import Line
from bot.core.load import ReadOnly
from bot.presentation.client import EXTENSIONS, GATEWAY, EarshotBot
from bot.presentation.command_sync import differ
from bot.settings import Settings
from tests.fakes import FakeClock, FakeFetcher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from syrupy.assertion import SnapshotAssertion


@pytest.fixture
async def bot() -> AsyncIterator[EarshotBot]:
    async with a_bot() as bot:
        yield bot


@asynccontextmanager
async def a_bot(**environment: str) -> AsyncGenerator[EarshotBot]:
    """The bot with all its cogs, not connected to anything."""
    settings, state = Settings.from_env(environment), in_process_state()
    fair_use, health = build_fair_use(settings, state), Health((GATEWAY,), FakeClock())
    fetcher = FakeFetcher()
    async with open_core(settings, state, lambda _spool, _max_bytes: fetcher) as core, AsyncExitStack() as stack:
        read_only = ReadOnly(core.load, enter_s=600)
        desk = build_desk(settings, core, state, fair_use=fair_use, read_only=read_only)
        jobs = await stack.enter_async_context(open_jobs(core, state, desk, Line(state.ledgers, now=FakeClock())))
        bot = build_bot(settings, core, state, desk=desk, jobs=jobs, fair_use=fair_use, health=health)
        await bot.setup_hook()
        yield bot
        await bot.close()


async def test_the_commands_are_these(bot: EarshotBot, snapshot: SnapshotAssertion) -> None:
    assert bot.commands_shown.payloads(in_guilds=True) == snapshot(name="guild")
    assert bot.commands_shown.payloads(in_guilds=False) == snapshot(name="global")


@pytest.mark.parametrize("extension", EXTENSIONS)
async def test_every_extension_reloads(bot: EarshotBot, extension: str) -> None:
    before = sorted(
        command["name"] for scope in (True, False) for command in bot.commands_shown.payloads(in_guilds=scope)
    )
    await bot.reload_extension(extension)
    after = sorted(
        command["name"] for scope in (True, False) for command in bot.commands_shown.payloads(in_guilds=scope)
    )
    assert after == before


async def test_no_name_is_in_both_scopes(bot: EarshotBot) -> None:
    scopes = [{command["name"] for command in bot.commands_shown.payloads(in_guilds=scope)} for scope in (True, False)]
    assert scopes[0].isdisjoint(scopes[1])


async def test_what_users_need_outside_servers_is_global_where_they_may_use_the_bot_there() -> None:
    async with a_bot(ALLOW_USER_INSTALL="true") as bot:
        everywhere = {command["name"]: command for command in bot.commands_shown.payloads(in_guilds=False)}
        in_guilds = {command["name"] for command in bot.commands_shown.payloads(in_guilds=True)}
    assert set(everywhere) == {"Summarise", "Transcribe", "results", "quota", "forget-me", "help"}
    assert in_guilds == {"summarize", "transcribe", "settings"}, "and nothing is in both scopes"
    for command in everywhere.values():
        assert (command["contexts"], command["integration_types"]) == ([0, 1, 2], [0, 1])


def as_discord_shows(command: dict[str, Any]) -> dict[str, Any]:
    """A command as Discord gives it back: with ids, and without what has its default."""
    shown: dict[str, Any] = {
        "id": "1",
        "application_id": "2",
        "version": "3",
        "name_localizations": None,
        "description_localizations": None,
        **copy.deepcopy(command),
    }
    for option in shown.get("options", []):
        for key in ("required", "autocomplete", "choices"):
            if not option.get(key):
                option.pop(key, None)
    if not shown.get("options"):
        shown.pop("options", None)
    shown["contexts"] = list(reversed(shown["contexts"])) if shown.get("contexts") else None
    return shown


async def test_what_discord_gives_back_is_the_same(bot: EarshotBot) -> None:
    for scope in (True, False):
        wanted = bot.commands_shown.payloads(in_guilds=scope)
        there = [as_discord_shows(command) for command in reversed(wanted)]
        assert not differ(wanted, there)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "other"),
        (("description",), "Other"),
        (("default_member_permissions",), "8"),
        (("nsfw",), True),
        (("options", 0, "name"), "other"),
        (("options", 0, "description"), "Other"),
        (("options", 0, "type"), 3),
        (("options", 0, "required"), True),
        (("options", 2, "autocomplete"), False),
        (("options", 1, "choices"), [{"name": "a", "value": "b"}]),
        (("options", 1, "max_length"), 10),
    ],
    ids=str,
)
async def test_every_change_is_seen(bot: EarshotBot, path: tuple[Any, ...], value: object) -> None:
    wanted = bot.commands_shown.payloads(in_guilds=True)
    there = [as_discord_shows(command) for command in wanted]
    changed: Any = next(command for command in there if command["name"] == "summarize")
    *parents, last = path
    for step in parents:
        changed = changed[step]
    changed[last] = value
    assert differ(wanted, there)


async def test_a_missing_and_a_surplus_command_are_seen(bot: EarshotBot) -> None:
    wanted = bot.commands_shown.payloads(in_guilds=True)
    there = [as_discord_shows(command) for command in wanted]
    assert differ(wanted, there[1:])
    assert differ(wanted[1:], there)
    assert differ(wanted, [*there, {**there[0], "name": "more"}])
