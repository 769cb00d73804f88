"""The rule of fair use, on plain numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.quotas import (
    DAY_S,
    Bucket,
    Budget,
    Limits,
    Tier,
    day_of,
    granted,
    known_by,
    limits_for,
    payable,
    price_in,
    refused,
)

TEN = Limits(per_hour=10, burst=3)
NOON = 20_000 * DAY_S + DAY_S / 2


@pytest.mark.parametrize(
    ("per_hour", "burst", "daily"),
    [(0, 3, None), (-1, 3, None), (math.nan, 3, None), (math.inf, 3, None), (10, 0, None), (10, 3, -1)],
)
def test_limits_that_are_none_are_refused(per_hour: float, burst: int, daily: int | None) -> None:
    with pytest.raises(ValueError, match=r"no limits|no budget"):
        Limits(per_hour=per_hour, burst=burst, daily=daily)


def test_a_bucket_fills_at_its_rate_and_no_further() -> None:
    empty = Bucket(tokens=0, at=NOON)
    assert empty.refilled(TEN, NOON + 360).tokens == pytest.approx(1)
    assert empty.refilled(TEN, NOON + 1e6).tokens == 3
    assert empty.seconds_until(2, TEN) == pytest.approx(720)


def test_a_bucket_never_goes_back_in_time() -> None:
    bucket = Bucket(tokens=1, at=NOON)
    assert bucket.refilled(TEN, NOON - 1e6) == bucket


def test_a_lower_burst_holds_at_once() -> None:
    assert Bucket(tokens=3, at=NOON).refilled(Limits(per_hour=10, burst=1), NOON).tokens == 1


def test_a_budget_is_new_on_a_new_day_and_never_on_an_old_one() -> None:
    budget = Budget(day=day_of(NOON), used=7)
    assert budget.on_day_of(NOON + DAY_S) == Budget(day=day_of(NOON) + 1)
    assert budget.on_day_of(NOON - DAY_S) == budget
    assert budget.taken(-10).used == 0
    assert budget.left(5) == 0
    assert budget.seconds_left(NOON) == DAY_S / 2


def test_a_price_over_the_burst_is_all_of_the_bucket() -> None:
    assert [price_in(TEN, cost) for cost in (0, 1, 3, 4, 10**40)] == [0, 1, 3, 3, 3]
    with pytest.raises(ValueError, match="no price"):
        price_in(TEN, -1)


def test_a_request_without_an_id_is_none() -> None:
    assert known_by("a") == "a"
    with pytest.raises(ValueError, match="without an id"):
        known_by("")


def test_what_was_granted_says_when_the_bucket_is_full_again() -> None:
    verdict = granted(2, Bucket(tokens=1, at=NOON), Budget(day=day_of(NOON), used=4), TEN, now=NOON)
    assert (verdict.allowed, verdict.cost, verdict.remaining, verdict.free_at) == (True, 2, 1, NOON)
    assert verdict.full_at == pytest.approx(NOON + 720)
    assert verdict.budget_left is None, "there is no budget"


@pytest.mark.parametrize(
    ("tokens", "used", "retry_after_s", "by"),
    [
        (0.5, 0, 180, "bucket"),
        (3, 10, DAY_S / 2, "budget"),
        (0, 10, DAY_S / 2, "budget"),  # both: the later one
    ],
)
def test_a_refusal_says_until_when_and_why(tokens: float, used: int, retry_after_s: float, by: str) -> None:
    limits = Limits(per_hour=10, burst=3, daily=10)
    verdict = refused(1, Bucket(tokens=tokens, at=NOON), Budget(day=day_of(NOON), used=used), limits, now=NOON)
    assert not verdict.allowed
    assert verdict.retry_after_s == pytest.approx(retry_after_s)
    assert verdict.refused_by == by
    assert verdict.budget_left == 10 - used


def test_the_bucket_refuses_where_its_wait_is_the_longer_one() -> None:
    late = 20_000 * DAY_S + DAY_S - 10
    limits = Limits(per_hour=10, burst=3, daily=0)
    verdict = refused(1, Bucket(tokens=0, at=late), Budget(day=day_of(late)), limits, now=late)
    assert (verdict.refused_by, verdict.retry_after_s) == ("bucket", pytest.approx(360))


def test_a_refusal_counts_the_wait_for_a_clock_that_went_back() -> None:
    verdict = refused(1, Bucket(tokens=0, at=NOON + 100), Budget(day=0), TEN, now=NOON)
    assert verdict.retry_after_s == pytest.approx(460)


@given(
    per_hour=st.floats(min_value=0.01, max_value=1e5),
    burst=st.integers(min_value=1, max_value=1_000),
    steps=st.lists(
        st.tuples(st.floats(min_value=-1e5, max_value=1e5), st.integers(min_value=0, max_value=1_500)), max_size=60
    ),
)
def test_never_more_than_the_burst_and_the_rate(per_hour: float, burst: int, steps: list[tuple[float, int]]) -> None:
    limits = Limits(per_hour=per_hour, burst=burst)
    now = latest = NOON
    bucket, budget, taken = Bucket.full(limits, now), Budget(day=day_of(now)), 0
    for passed, cost in steps:
        now += passed
        latest = max(latest, now)
        bucket, price = bucket.refilled(limits, now), price_in(limits, cost)
        if payable(price, bucket, budget, limits):
            bucket, taken = bucket.taken(price), taken + price
        else:
            wait = refused(price, bucket, budget, limits, now=now).retry_after_s
            assert bucket.refilled(limits, now + wait + 1e-3).tokens >= price, "it may go on when it was told so"
        assert 0 <= bucket.tokens <= burst
        assert taken <= burst + (latest - NOON) * limits.per_second + 1e-6


def test_a_member_has_the_best_of_their_roles() -> None:
    default = Limits(per_hour=10, burst=3)
    tiers = {1: Tier(per_hour=60, burst=2), 2: Tier(per_hour=5, burst=9)}
    chosen = limits_for(default=default, guild=None, tiers=tiers, role_ids=[1, 2, 3], daily=None)
    assert (chosen.per_hour, chosen.burst, chosen.daily) == (60, 9, None)


def test_a_guild_may_set_less_than_the_operator_but_no_larger_budget() -> None:
    default = Limits(per_hour=10, burst=3, daily=100)
    less = Tier(per_hour=1, burst=1)
    chosen = limits_for(default=default, guild=less, tiers={}, role_ids=[], daily=500)
    assert (chosen.per_hour, chosen.burst, chosen.daily) == (1, 1, 100)
    assert limits_for(default=default, guild=less, tiers={}, role_ids=[], daily=5).daily == 5
