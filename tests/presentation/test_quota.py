from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.core.errors import StoreUnavailable
from bot.core.fair_use import Quota
from bot.core.modes import LimitsBlock, Mode
from bot.core.quotas import Bucket, BucketId, Budget, Limits, day_of, granted
from bot.core.records import AuditEntry
from bot.presentation.mode_commands import priced_description
from bot.presentation.quota_page import quota_answer
from cogs.quota import Quota as QuotaCog
from tests.fakes import FakeModeSource, a_mode
from tests.presentation.guildhall import (
    ADA,
    BOB,
    GUILD,
    HELPERS,
    LOCALE,
    MANAGERS,
    NOW,
    Counter,
    FakeAuditLog,
    FakeSettingsStore,
    a_manager,
    a_member,
    a_user,
    all_text,
    an_interaction,
    assert_fits,
)

if TYPE_CHECKING:
    from bot.core.models import Asker

LIMITS = Limits(per_hour=10, burst=3)
TOMORROW = 1_800_057_600
"""The midnight (UTC) after `NOW`."""


def a_quota(tokens: float, *, limits: Limits = LIMITS, used_today: int = 0, unlimited: bool = False) -> Quota:
    """What the limiter says of a bucket that holds so many tokens."""
    bucket, budget = Bucket(tokens=tokens, at=NOW), Budget(day=day_of(NOW), used=used_today)
    verdict = granted(0, bucket, budget, limits, now=NOW)
    return Quota(verdict=verdict, limits=limits, unlimited=unlimited)


def priced(cost: int, mode_id: str = "minutes", **more: Any) -> Mode:
    return a_mode(mode_id).model_copy(update={"limits": LimitsBlock(cost=cost), **more})


def shown(quota: Quota, *modes: Mode, **more: Any) -> str:
    answer = quota_answer(quota, modes, locale=LOCALE, **more)
    assert_fits(answer)
    return all_text(answer)


def test_tokens_are_whole_ones_and_their_times_are_never_early() -> None:
    said = shown(a_quota(1.25))
    assert "**1 of 3** tokens left" in said
    next_at, full_at = (int(found) for found in re.findall(r"<t:(\d+):R>", said))
    assert next_at == NOW + 0.75 * 360
    assert full_at == NOW + 1.75 * 360
    assert "10 an hour, 3 at once" in said


async def test_what_was_taken_is_gone() -> None:
    limiter = InProcessRateLimiter(now=lambda: NOW)
    bucket = BucketId(guild_id=GUILD, member_id=ADA)
    for left in (3, 2, 1, 0):
        verdict = await limiter.preview(bucket, 0, LIMITS)
        assert f"**{left} of 3**" in shown(Quota(verdict=verdict, limits=LIMITS, unlimited=False))
        await limiter.reserve(bucket, f"{left}", 1, LIMITS)


def test_an_empty_bucket_says_when_it_can_be_used_again() -> None:
    said = shown(a_quota(0.0))
    assert "**0 of 3**" in said
    assert f"<t:{math.ceil(NOW + 360)}:R>" in said


def test_a_full_bucket_waits_for_nothing() -> None:
    said = shown(a_quota(3.0))
    assert "**3 of 3**" in said
    assert "<t:" not in said


def test_the_servers_budget_is_shown_where_there_is_one() -> None:
    assert "This server, today" not in shown(a_quota(3.0))
    said = shown(a_quota(3.0, limits=replace(LIMITS, daily=500), used_today=488))
    assert "12 of 500 left" in said
    assert f"<t:{TOMORROW}:R>" in said
    assert "out of tokens" not in said


def test_a_budget_that_is_used_up_comes_first_and_says_when_it_is_new() -> None:
    spent = a_quota(3.0, limits=replace(LIMITS, daily=500), used_today=500)
    answer = quota_answer(spent, (), locale=LOCALE)
    assert answer.description.splitlines()[0] == (
        f"**This server is out of tokens for today.** New ones come <t:{TOMORROW}:R>."
    )
    assert "**3 of 3**" in answer.description, "one's own are still there"
    assert "0 of 500 left" in all_text(answer)


def test_outside_servers_the_budget_is_that_of_all_users_there() -> None:
    said = shown(a_quota(3.0, limits=replace(LIMITS, daily=100), used_today=100), outside=True)
    assert "Nobody outside servers has tokens left for today" in said
    assert "All users outside servers, today" in said
    assert "This server" not in said


def test_prices_name_what_is_free_and_what_is_dear() -> None:
    said = shown(a_quota(3.0), priced(1), priced(2, "minutes"))
    assert "2 tokens: Minutes" in said
    assert "1 token: everything else" in said
    assert "Nothing: what is in my cache" in said
    assert "any recording" in shown(a_quota(3.0), priced(1))


def test_a_modes_title_is_shown_as_it_is() -> None:
    assert "[x](" not in shown(a_quota(3.0), priced(2, title="[x](https://evil.example)")).replace("\\[", "")


def test_so_many_dear_modes_fit() -> None:
    assert "tokens" in shown(a_quota(3.0), *(priced(100, f"m{i}", title="*" * 80) for i in range(100)))


def test_who_is_not_limited_is_told_so() -> None:
    said = shown(a_quota(3.0, unlimited=True))
    assert "Nothing is limited" in said
    assert "of 3" not in said


@given(st.floats(0, 1), st.floats(0.1, 10_000), st.integers(1, 1_000))
def test_whatever_is_left_fits(share: float, per_hour: float, burst: int) -> None:
    limits = Limits(per_hour=per_hour, burst=burst)
    said = shown(a_quota(share * burst, limits=limits))
    found = re.search(r"\*\*(\d+) of (\d+)\*\*", said)
    assert found is not None
    assert 0 <= int(found[1]) <= burst
    assert all(int(time) >= NOW for time in re.findall(r"<t:(\d+):R>", said))


# --- the command --------------------------------------------------------------------------------------------------


class FakeFairUse:
    """Everybody has one token left, until their bucket is filled."""

    def __init__(self) -> None:
        self.asked: list[Asker] = []
        self.filled: list[Asker] = []

    async def quota(self, asker: Asker) -> Quota:
        self.asked.append(asker)
        return a_quota(3.0 if asker in self.filled else 1.0)

    async def reset(self, asker: Asker) -> None:
        self.filled.append(asker)


class Office:
    def __init__(self) -> None:
        self.counter = Counter()
        self.fair_use = FakeFairUse()
        self.settings = FakeSettingsStore()
        self.audit = FakeAuditLog()
        fair_use: Any = self.fair_use
        self.cog = QuotaCog(
            self.counter.reception, fair_use, FakeModeSource(), settings=self.settings, audit=self.audit
        )

    async def use(self, *, by: Any = None, **options: Any) -> str:
        command: Any = self.cog.quota
        await command.callback(self.cog, an_interaction(by or a_member()), **options)
        return all_text(self.counter.answer)


async def test_everybody_sees_their_own() -> None:
    office = Office()
    office.settings.fails = StoreUnavailable()
    assert "**1 of 3**" in await office.use(by=a_member(ADA, HELPERS)), "nobody has to be a moderator for that"
    (asker,) = office.fair_use.asked
    assert (asker.guild_id, asker.member_id, asker.role_ids) == (GUILD, ADA, {GUILD, HELPERS})


async def test_naming_oneself_is_the_same() -> None:
    assert "Your tokens" in await Office().use(member=a_member())


@pytest.mark.parametrize("options", [{"member": a_manager()}, {"reset": True}, {"member": a_manager(), "reset": True}])
async def test_others_and_resets_are_for_moderators(options: dict[str, Any]) -> None:
    office = Office()
    assert "Only moderators" in await office.use(**options)
    assert (office.fair_use.asked, office.fair_use.filled, office.audit.noted) == ([], [], [])


async def test_a_moderator_looks_into_anothers_bucket() -> None:
    office = Office()
    said = await office.use(by=a_manager(), member=a_member(ADA, HELPERS))
    assert f"<@{ADA}>" in said
    assert "A member's tokens" in said
    assert office.fair_use.asked[0].role_ids == {GUILD, HELPERS}, "with what their roles allow them"
    assert office.audit.noted == []


async def test_a_moderator_fills_a_bucket_and_it_is_noted() -> None:
    office = Office()
    said = await office.use(by=a_manager(), member=a_member(), reset=True)
    assert "were filled up" in said
    assert "**3 of 3**" in said
    assert office.audit.noted == [AuditEntry(guild_id=GUILD, at=NOW, who=BOB, what="quota.reset", after=f"<@{ADA}>")]


async def test_what_cannot_be_noted_is_not_done() -> None:
    office = Office()
    office.audit.fails = StoreUnavailable()
    assert "can't reach my memory" in await office.use(by=a_manager(), reset=True)
    assert office.fair_use.filled == []


async def test_outside_servers_one_sees_ones_own_and_nobody_elses() -> None:
    office = Office()
    assert "Your tokens" in await office.use(by=a_user())
    (asker,) = office.fair_use.asked
    assert (asker.guild_id, asker.member_id) == (None, ADA)
    for options in ({"member": a_user(BOB)}, {"reset": True}):
        assert "only works on a server" in await office.use(by=a_user(), **options)
    assert (len(office.fair_use.asked), office.fair_use.filled) == (1, [])


async def test_somebody_who_has_left_has_a_bucket_too() -> None:
    office = Office()
    await office.use(by=a_member(BOB, MANAGERS), member=a_user())
    assert office.fair_use.asked[0].role_ids == frozenset()


# --- beside commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "description", "beside"),
    [
        (1, "Sum up", "Sum up"),
        (2, "Sum up", "Sum up (2 tokens)"),
        (100, "x" * 100, "x" * 86 + "… (100 tokens)"),
        (2, "x" * 90, "x" * 88 + "… (2 tokens)"),
        (2, "x" * 89, "x" * 89 + " (2 tokens)"),
    ],
)
def test_a_price_over_one_stands_beside_the_command(cost: int, description: str, beside: str) -> None:
    found = priced_description(priced(cost, description=description))
    assert found == beside
    assert len(found) <= 100
