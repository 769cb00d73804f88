"""/quota and its refusals: what members may use, until when they have to wait, and what is free all the same."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.company import WORDS, Company, a_company, moments, two_modes
from tests.e2e.town import COMMANDS, Town, a_town, answer, fields, menu_id
from tests.simulator.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

DAY_S = 86_400
TOKEN_S = 6 * 60
"""Ten tokens an hour."""
NEXT_S = TOKEN_S + 2
"""A moment is rounded up, and the bot's clock is read a little later than the test's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A town and the bot that is at work there; Ada of the town is in admin mode."""

    town: Town
    bot: BotProcess


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("data")
    modes = two_modes(folder / "modes", cost=2)
    async with a_town(folder) as town:
        settings = {"RATE_PER_HOUR": "10", "RATE_BURST": "3", "ADMIN_MODE": "true", "ADMIN_IDS": str(town.ada.id)}
        async with town.process(MODES_DIR=str(modes), **settings) as bot:
            await bot.ready(commands=COMMANDS)
            yield Scene(town=town, bot=bot)


@pytest_asyncio.fixture(loop_scope="session")
async def company(scene: Scene) -> Company:
    return await a_company(scene.town)


def now() -> float:
    """The time that the bot's stamps are compared with."""
    return time.time()  # noqa: TID251 - the process under test has no other clock


async def left(company: Company, member: Member) -> str:
    """The line about tokens in ``/quota``."""
    return (await company.ask(member, "quota")).embeds[0]["description"]


async def use_up(company: Company, member: Member, *, clips: int = 3) -> list[Message]:
    return [await company.ask(member, "transcribe", audio=company.clip(str(number))) for number in range(clips)]


def is_refused(message: Message) -> bool:
    return "You are out of tokens for now" in message.text


async def test_the_fourth_recording_is_refused_until_when_is_said(company: Company) -> None:
    bob, began = company.bob, now()
    for message in await use_up(company, bob):
        assert WORDS in message.text.lower()
    unheard = company.clip("the fourth")
    refused = await company.ask(bob, "transcribe", audio=unheard)
    assert is_refused(refused)
    assert "This takes 1 token, and you have 0 tokens left" in refused.text
    free, full = moments(refused)
    assert began + TOKEN_S - 1 <= free <= now() + NEXT_S
    assert began + 3 * TOKEN_S - 1 <= full <= now() + 3 * NEXT_S
    assert full > free
    free_of_charge = fields(refused)["What costs nothing"]
    for what in ("cache", "Redo as", "/results", "/help", "/quota"):
        assert what in free_of_charge
    assert refused.components == ()
    assert WORDS not in refused.text.lower()
    listed = await company.ask(bob, "results list")
    assert len(listed.embeds[0]["description"].splitlines()) == 3, "a refusal is no result"


async def test_what_is_finished_already_is_served_with_nothing_left(company: Company) -> None:
    bob = company.bob
    first, *_ = await use_up(company, bob)
    assert is_refused(await company.ask(bob, "transcribe", audio=company.clip("another")))
    again = await company.ask(bob, "transcribe", audio=company.clip("0"))
    assert "from the cache: costs nothing" in fields(again)["Took"]
    assert again.embeds[0]["description"] == first.embeds[0]["description"]
    redone = await answer(await bob.choose(first, menu_id(first, "redo"), ["summarize"]))
    assert redone.embeds[0]["title"] == "Summary"
    assert "from the kept transcript: costs nothing" in fields(redone)["Took"]
    assert "**0 of 3**" in await left(company, bob)


async def test_a_cached_result_takes_no_token_from_a_full_bucket_either(company: Company) -> None:
    await use_up(company, company.helper, clips=1)
    again = await company.ask(company.bob, "transcribe", audio=company.clip("0"))
    assert "costs nothing" in fields(again)["Took"]
    assert "**3 of 3**" in await left(company, company.bob)


async def test_what_fails_takes_no_token(company: Company) -> None:
    damaged = company.town.simulator.cdn.upload("noise.ogg", b"not a sound\n" * 50, content_type="audio/ogg")
    assert "can't read that file" in (await company.ask(company.bob, "transcribe", audio=damaged)).text
    gone = company.clip("gone")
    gone.delivery.status = 404
    assert "no longer there" in (await company.ask(company.bob, "transcribe", audio=gone)).text
    assert "**3 of 3**" in await left(company, company.bob)


async def test_quota_tells_what_is_left_and_when_there_is_more(company: Company) -> None:
    told = await company.ask(company.bob, "quota")
    assert told.ephemeral
    assert "**3 of 3** tokens left\nThat is all there can be." in told.text
    assert fields(told)["Limits"] == "10 an hour, 3 at once"
    assert "2 tokens: Minutes" in fields(told)["Prices"]
    began = now()
    await use_up(company, company.bob, clips=2)
    told = await company.ask(company.bob, "quota")
    assert "**1 of 3** tokens left" in told.text
    following, full = moments(told)
    assert began + TOKEN_S - 1 <= following <= now() + NEXT_S
    assert began + 2 * TOKEN_S - 1 <= full <= now() + 2 * NEXT_S


async def test_a_bucket_is_of_one_member_in_one_guild(scene: Scene, company: Company) -> None:
    await use_up(company, company.bob)
    assert "**3 of 3**" in await left(company, company.helper)
    other = await a_company(scene.town, "Others")
    assert "**3 of 3**" in await left(other, other.guild.join(company.bob.user))


async def test_a_moderator_fills_a_bucket_and_it_is_noted(company: Company) -> None:
    bob, moderator = company.bob, company.moderator
    await use_up(company, bob)
    for options in ({"reset": True}, {"member": company.helper.user}, {"member": company.helper.user, "reset": True}):
        refused = await company.ask(bob, "quota", **options)
        assert "Only moderators may do that" in refused.text
    assert "**0 of 3**" in await left(company, bob)
    looked = await company.ask(moderator, "quota", member=bob.user)
    assert (looked.embeds[0]["title"], "**0 of 3**" in looked.text) == ("A member's tokens", True)
    assert f"<@{bob.id}>" in looked.text
    filled = await company.ask(moderator, "quota", member=bob.user, reset=True)
    assert "All tokens were filled up" in filled.text
    assert filled.ephemeral
    assert "**3 of 3**" in await left(company, bob)
    (line,) = (await company.set("audit")).embeds[0]["description"].splitlines()
    assert f"<@{moderator.id}> **Tokens filled up**: <@{bob.id}>" in line
    assert WORDS in (await company.ask(bob, "transcribe", audio=company.clip("again"))).text.lower()


async def test_who_has_the_moderator_role_may_fill_buckets_too(company: Company) -> None:
    await company.set("roles", moderators=company.role)
    assert "filled up" in (await company.ask(company.helper, "quota", member=company.bob.user, reset=True)).text


async def test_a_dear_mode_says_its_price_and_takes_it(company: Company) -> None:
    commands = {command.name: command for command in company.town.simulator.world.commands.visible(company.guild.id)}
    assert commands["minutes"].description == "Take the minutes (2 tokens)"
    assert commands["summarize"].description.endswith("message"), "one token is no news"
    assert WORDS in (await company.ask(company.bob, "minutes", audio=company.clip("1"))).text.lower()
    assert "**1 of 3**" in await left(company, company.bob)
    refused = await company.ask(company.bob, "minutes", audio=company.clip("2"))
    assert is_refused(refused)
    assert "This takes 2 tokens, and you have 1 token left" in refused.text
    assert WORDS in (await company.ask(company.bob, "summarize", audio=company.clip("2"))).text.lower()
    assert "**0 of 3**" in await left(company, company.bob)


async def test_a_roles_tier_counts_for_its_holders_alone(company: Company) -> None:
    await company.set("tier", role=company.role, per_hour=20, burst=4)
    assert "**4 of 4**" in await left(company, company.helper)
    assert "**3 of 3**" in await left(company, company.bob)
    assert not any(map(is_refused, await use_up(company, company.helper, clips=4)))
    refused = await company.ask(company.helper, "transcribe", audio=company.clip("another"))
    assert is_refused(refused)
    assert moments(refused)[0] <= now() + TOKEN_S / 2 + 2, "twenty an hour come twice as fast"
    looked = await company.ask(company.moderator, "quota", member=company.helper.user)
    assert "**0 of 4**" in looked.text, "a moderator sees the member's own limits"


async def test_the_guilds_limits_count_for_all_who_have_no_better(company: Company) -> None:
    await company.set("limits", per_hour=1, burst=1)
    assert fields(await company.ask(company.bob, "quota"))["Limits"] == "1 an hour, 1 at once"
    await company.set("tier", role=company.role, burst=2)
    assert fields(await company.ask(company.helper, "quota"))["Limits"] == "1 an hour, 2 at once"


async def test_the_guilds_daily_budget_is_used_by_all_together(company: Company) -> None:
    await company.set("limits", daily=2)
    await use_up(company, company.bob, clips=2)
    refused = await company.ask(company.helper, "transcribe", audio=company.clip("another"))
    assert "Today's shared tokens are used up" in refused.text
    assert "Left of what all may use together in a day: 0 tokens" in refused.text
    assert "You have 3 tokens of your own left" in refused.text
    (again,) = set(moments(refused))
    assert again % DAY_S == 0, "at midnight, UTC"
    assert 0 < again - now() <= DAY_S
    quota = await company.ask(company.helper, "quota")
    assert "**3 of 3**" in quota.text
    assert "This server is out of tokens for today" in quota.embeds[0]["description"].splitlines()[0]
    assert fields(quota)["This server, today"] == f"0 of 2 left, all there again <t:{again}:R>"
    served = await company.ask(company.helper, "transcribe", audio=company.clip("0"))
    assert "costs nothing" in fields(served)["Took"]


async def test_admin_mode_lets_those_whom_it_names_free(scene: Scene, company: Company) -> None:
    ada = company.guild.join(scene.town.ada.user)
    await company.set("limits", burst=1, daily=1)
    assert not any(map(is_refused, await use_up(company, ada)))
    assert "Nothing is limited here, by ADMIN_MODE" in await left(company, ada)
    assert "**1 of 1**" in await left(company, company.bob)
    assert fields(await company.ask(company.bob, "quota"))["This server, today"].startswith("1 of 1 left")
    with pytest.raises(Refused, match="lacks the permissions"):
        await ada.slash(company.channel, "settings show")


async def test_a_bucket_survives_a_restart(scene: Scene, company: Company) -> None:
    await use_up(company, company.bob)
    await scene.bot.restart()
    await scene.bot.ready(commands=COMMANDS)
    assert "**0 of 3**" in await left(company, company.bob)
    assert is_refused(await company.ask(company.bob, "transcribe", audio=company.clip("another")))


async def test_a_crash_gives_nobody_new_tokens(scene: Scene, company: Company) -> None:
    await use_up(company, company.bob)
    await scene.bot.kill()
    await scene.bot.start()
    await scene.bot.ready(commands=COMMANDS)
    assert is_refused(await company.ask(company.bob, "transcribe", audio=company.clip("another")))
