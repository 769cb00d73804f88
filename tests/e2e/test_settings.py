"""/settings: what moderators decide, who may, what comes of it, and where it ends."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import redis

from bot.adapters.redis import keys
from tests.e2e.company import WORDS, Company, a_company, two_modes
from tests.e2e.town import COMMANDS, PATIENCE_S, Town, a_town, answer, fields, servers, store_socket
from tests.simulator.errors import Refused
from tests.simulator.intents import Intent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

OPERATOR = {
    "RATE_PER_HOUR": "10",
    "RATE_BURST": "3",
    "MAX_RATE_PER_HOUR": "60",
    "MAX_RATE_BURST": "20",
    "GUILD_DAILY_TOKENS": "500",
    "TRANSCRIPT_DAYS": "7",
    "AUTO_TRANSCRIBE": "true",
}
NOT_HERE = "*(not set here)*"
MANAGERS = "none: **Manage Server** alone"
ANNOUNCEMENTS = "Announcements' channel (not in use yet)"
VOICES = "Voice messages written down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A town and the bot that is at work there."""

    town: Town
    bot: BotProcess


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("data")
    modes = two_modes(folder / "modes", cost=1)
    async with (
        a_town(folder, privileged=Intent.MESSAGE_CONTENT) as town,
        town.process(MODES_DIR=str(modes), **OPERATOR) as bot,
    ):
        await bot.ready(commands=COMMANDS)
        yield Scene(town=town, bot=bot)


@pytest_asyncio.fixture(loop_scope="session")
async def company(scene: Scene) -> Company:
    return await a_company(scene.town)


ROLE, CHANNEL = "ROLE", "CHANNEL"
"""In the table: what the test's guild has, and its id."""

SETTINGS = [
    ("mode", {"mode": "minutes"}, "default_mode", "Default mode", f"`summarize` {NOT_HERE}", "`minutes`"),
    ("language", {"language": "german"}, "language", "Language", f"found out each time {NOT_HERE}", "German"),
    ("roles", {"moderators": ROLE}, "moderator_role_id", "Moderator role", MANAGERS, f"<@&{ROLE}>"),
    ("channels", {"moderators": CHANNEL}, "moderator_channel_id", "Moderators' channel", "none", f"<#{CHANNEL}>"),
    ("channels", {"announcements": CHANNEL}, "announcement_channel_id", ANNOUNCEMENTS, "none", f"<#{CHANNEL}>"),
    ("limits", {"per_hour": 30.5}, "per_hour", "Tokens an hour", f"10 {NOT_HERE}", "30.5"),
    ("limits", {"burst": 12}, "burst", "Tokens at once", f"3 {NOT_HERE}", "12"),
    ("limits", {"daily": 100}, "daily_budget", "Tokens of the server a day", f"500 {NOT_HERE}", "100"),
    ("tier", {"role": ROLE, "burst": 9}, "tiers", "Tiers", "none", f"<@&{ROLE}>: 10 an hour, 9 at once"),
    ("retention", {"days": 0.5}, "retention_days", "Kept for", f"7 days {NOT_HERE}", "0.5 days"),
    ("voice-messages", {"channel": CHANNEL, "on": True}, "automatic_channels", VOICES, "none", f"<#{CHANNEL}>"),
]


@pytest.mark.parametrize(
    ("command", "options", "field", "label", "before", "after"), SETTINGS, ids=[field for _, _, field, *_ in SETTINGS]
)
async def test_a_setting_is_made_shown_noted_and_undone(  # noqa: PLR0913 - the columns of a table
    company: Company, *, command: str, options: dict[str, Any], field: str, label: str, before: str, after: str
) -> None:
    things: dict[Any, Any] = {ROLE: company.role, CHANNEL: company.channel}
    given = {name: things.get(value, value) for name, value in options.items()}
    after = after.replace(ROLE, str(company.role.id)).replace(CHANNEL, str(company.channel.id))

    async def shown() -> str:
        return fields(await company.set("show"))[label]

    assert await shown() == before
    told = await company.set(command, **given)
    assert told.ephemeral
    assert " → " in told.text
    assert await shown() == after

    undone = await company.set("reset", setting=field)
    assert f"**{label}**\n{after} → " in undone.text
    assert await shown() == before

    newest, oldest = (await company.set("audit")).embeds[0]["description"].replace("\\", "").splitlines()
    noted = after.replace("`", "")
    assert f"<@{company.moderator.id}> **{label}**: {noted} → " in newest
    assert oldest.startswith("<t:")
    assert f"> <@{company.moderator.id}> **" in oldest
    assert noted in oldest.partition(" → ")[2]


async def test_several_things_are_set_at_once_and_nothing_twice(company: Company) -> None:
    await company.set("limits", per_hour=20, burst=5)
    assert "nothing was changed" in (await company.set("limits", per_hour=20, burst=5)).text
    assert "Nothing was given" in (await company.set("limits")).text
    (line,) = (await company.set("audit")).embeds[0]["description"].splitlines()
    assert "Tokens an hour: 20; Tokens at once: 5" in line


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_discord_hides_the_settings_from_plain_members(company: Company) -> None:
    for member in (company.bob, company.helper):
        with pytest.raises(Refused, match="lacks the permissions"):
            await member.slash(company.channel, "settings show")


async def test_whom_discord_lets_through_needs_the_moderator_role(company: Company) -> None:
    company.town.simulator.world.commands.show_to(company.guild.id, "settings", company.role)
    for command, options in (("show", {}), ("audit", {}), ("language", {"language": "french"})):
        refused = await company.ask(company.helper, f"settings {command}", **options)
        assert refused.ephemeral
        assert "Only moderators may do that" in refused.text
    told = await company.set("roles", moderators=company.role)
    assert "Server Settings → Integrations" in told.text, "it says how the role gets to see the command"
    assert "→ French" in (await company.ask(company.helper, "settings language", language="french")).text
    assert f"<@{company.helper.id}> **Language**" in (await company.ask(company.helper, "settings audit")).text


async def test_the_role_that_all_have_is_no_moderator_role(company: Company) -> None:
    told = await company.set("roles", moderators=company.guild.everyone)
    assert "Everybody has that role" in told.text
    assert fields(await company.set("show"))["Moderator role"] == MANAGERS


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options", "what", "cap", "variable"),
    [
        ("limits", {"per_hour": 60.5}, "Tokens an hour", "60", "MAX_RATE_PER_HOUR"),
        ("limits", {"burst": 21, "per_hour": 1}, "Tokens at once", "20", "MAX_RATE_BURST"),
        ("limits", {"daily": 501}, "Tokens of the server a day", "500", "GUILD_DAILY_TOKENS"),
        ("tier", {"role": "ROLE", "burst": 21}, "Tokens at once", "20", "MAX_RATE_BURST"),
        ("retention", {"days": 7.5}, "Kept for", "7", "TRANSCRIPT_DAYS"),
    ],
)
async def test_what_is_over_the_operators_cap_is_refused_with_the_cap(
    company: Company, command: str, options: dict[str, Any], what: str, cap: str, variable: str
) -> None:
    before = fields(await company.set("show"))
    given = {name: company.role if value == "ROLE" else value for name, value in options.items()}
    told = await company.set(command, **given)
    assert f"{what}: the most that I may allow here is {cap}." in told.text.replace("\\", "")
    assert variable in told.text.replace("\\", "")
    assert fields(await company.set("show")) == before
    assert "Nothing was changed yet" in (await company.set("audit")).text


async def test_what_does_not_exist_is_refused(company: Company) -> None:
    assert "no mode called “poetry”" in (await company.set("mode", mode="poetry")).text
    assert "don't know the language “Klingon”" in (await company.set("language", language="Klingon")).text
    assert "Nothing was changed yet" in (await company.set("audit")).text


async def test_modes_and_languages_complete(company: Company) -> None:
    moderator, channel = company.moderator, company.channel
    (mode,) = await moderator.autocomplete(channel, "settings mode", focused="mode", mode="min")
    assert (mode["name"], mode["value"]) == ("Minutes", "minutes")
    languages = await moderator.autocomplete(channel, "settings language", focused="language", language="ger")
    assert languages[0]["value"] == "de"


# --- what comes of it -------------------------------------------------------------------------------------------------


async def test_the_default_language_counts_where_nobody_names_another(company: Company) -> None:
    clip = company.clip()
    await company.set("language", language="german")
    assert fields(await company.ask(company.bob, "transcribe", audio=clip))["Language"] == "German"
    named = await company.ask(company.bob, "transcribe", audio=clip, language="english")
    assert fields(named)["Language"] == "English"
    assert WORDS in named.text.lower()
    await company.set("reset", setting="language")
    assert (
        fields(await company.ask(company.bob, "transcribe", audio=company.clip("found out")))["Language"] == "English"
    )


async def test_the_default_mode_answers_where_none_is_asked_for(company: Company) -> None:
    posted = company.channel.post(company.bob, attachments=[company.clip()])

    async def mode() -> str:
        message = await answer(await company.bob.message_command(company.channel, "Summarise", posted))
        return fields(message)["Mode"]

    assert await mode() == "Summary"
    await company.set("mode", mode="minutes")
    assert await mode() == "Minutes"
    assert fields(await company.ask(company.bob, "summarize", audio=company.clip()))["Mode"] == "Summary"


async def test_transcripts_and_results_are_kept_for_as_long_as_moderators_say(scene: Scene, company: Company) -> None:
    await company.set("retention", days=0.5)
    with redis.Redis(unix_socket_path=store_socket(scene.town.data_dir)) as store:
        before: set[Any] = set(store.keys("earshot:*"))
        await company.ask(company.bob, "transcribe", audio=company.clip())
        made: list[Any] = sorted(set(store.keys("earshot:*")) - before)
        # A reservation and the guild's budget are another matter: they count tokens.
        kept = [key for key in made if key.startswith((b"earshot:request:", b"earshot:transcript:"))]
        kept.append(f"earshot:{{g{company.guild.id}}}:member:{company.bob.id}".encode())
        lives: list[Any] = [store.ttl(key) for key in kept]
    assert len(kept) == 3
    assert all(0.49 * 86_400 < life <= 0.5 * 86_400 for life in lives), list(zip(kept, lives, strict=True))


async def test_changes_are_posted_where_the_moderators_read_and_ping_nobody(company: Company) -> None:
    first, second = company.guild.add_text_channel("mods"), company.guild.add_text_channel("more mods")
    await company.set("channels", moderators=first)
    await company.set("roles", moderators=company.role)
    await company.set("channels", moderators=second)
    await company.set("language", language="german")

    async def posts(channel: Any, count: int) -> list[str]:
        found = await company.town.simulator.world.changes.until(
            lambda: said if len(said := company.heard_by(channel)) >= count else None,
            timeout_s=10,
            what=lambda: f"{count} posts",
        )
        assert not any(message.pinged for message in found)
        return [message.text for message in found]

    moved, role, away = await posts(first, 3)
    assert f"<@{company.moderator.id}> **Channels**" in moved
    assert f"**Moderator role**: not set here → <@&{company.role.id}>" in role
    assert f"<#{first.id}> → Moderators' channel: <#{second.id}>" in away, "nobody gets rid of the others' eyes unseen"
    here, language = await posts(second, 2)
    assert here == away
    assert "**Language**: not set here → German" in language
    assert len(company.heard_by(first)) == 3


async def test_another_guild_is_left_as_it_was(scene: Scene, company: Company) -> None:
    other = await a_company(scene.town, "Others")
    before = fields(await other.set("show"))
    await company.set("language", language="german")
    await company.set("mode", mode="minutes")
    await company.set("limits", per_hour=1, burst=1, daily=1)
    assert fields(await other.set("show")) == before
    assert "Nothing was changed yet" in (await other.set("audit")).text
    heard = fields(await other.ask(other.bob, "transcribe", audio=other.clip()))
    assert heard["Language"] == "English"
    assert "1 an hour" not in (await other.ask(other.bob, "quota")).text


async def test_a_store_that_is_silent_is_not_taken_for_one_without_settings(scene: Scene, company: Company) -> None:
    await company.set("language", language="german")
    (store,) = (process for process in servers(scene.town.data_dir) if Path(process.cwd()).name == "store")
    store.suspend()
    try:
        for command, options in (("show", {}), ("reset", {"setting": "language"})):
            assert "can't reach my memory" in (await company.set(command, **options)).text
    finally:
        store.resume()
    async with asyncio.timeout(PATIENCE_S):
        while fields(shown := await company.set("show")) == {}:
            assert "can't reach my memory" in shown.text
    assert fields(shown)["Language"] == "German"


async def test_settings_and_their_log_survive_a_restart_which_lets_them_last(scene: Scene, company: Company) -> None:
    await company.set("language", language="german")
    await company.set("tier", role=company.role, burst=9)
    before, log = await company.set("show"), await company.set("audit")
    key, kept_s = keys.settings(company.guild.id), keys.SETTINGS_S
    with redis.Redis(unix_socket_path=store_socket(scene.town.data_dir)) as store:
        assert kept_s - 1_000 < int(store.ttl(key)) <= kept_s  # pyright: ignore[reportArgumentType] - it waits for none
        store.expire(key, 1_000)
    await scene.bot.restart()
    await scene.bot.ready(commands=COMMANDS)
    assert fields(await company.set("show")) == fields(before)
    assert (await company.set("audit")).text == log.text
    with redis.Redis(unix_socket_path=store_socket(scene.town.data_dir)) as store:
        assert kept_s - 1_000 < int(store.ttl(key)) <= kept_s  # pyright: ignore[reportArgumentType] - as above
