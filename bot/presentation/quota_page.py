"""What somebody may use now, and what costs how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.core.quotas import DAY_S, day_of
from bot.core.rendering import escape_markdown, spoken_line
from bot.presentation.listing import fitting
from bot.presentation.messages import text
from bot.presentation.replies import MAX_FIELD, Answer, Field
from bot.presentation.times import counted, moment, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bot.core.fair_use import Quota
    from bot.core.modes import Mode
    from bot.core.quotas import Verdict

_WIDTH = 10
"""Of the bar that shows how full the bucket is."""


def quota_answer(
    quota: Quota,
    modes: Iterable[Mode],
    *,
    locale: str,
    outside: bool = False,
    of_member: int | None = None,
    was_reset: bool = False,
) -> Answer:
    """Tokens that are left, when there are more, and the limits behind them.

    Args:
        quota: what the limiter says.
        modes: for the prices of those that cost more than one token.
        locale: the reader's.
        outside: whether it is outside all guilds, where all users share a budget.
        of_member: whose quota it is, where they are not the reader.
        was_reset: whether a moderator has just filled the bucket.
    """
    place = ".outside" if outside else ""
    title = text("quota.title.of", locale) if of_member else text("quota.title", locale)
    lines = [f"<@{of_member}>"] if of_member else []
    if was_reset:
        lines.append(text("quota.was_reset", locale))
    if quota.unlimited:
        return Answer(title=title, description="\n".join((*lines, text("quota.unlimited", locale))))
    return Answer(
        title=title,
        description="\n".join((*lines, *_spent(quota, place, locale), *_tokens(quota, locale))),
        fields=(*_limits(quota, place, locale), *_prices(modes, locale)),
    )


def _tokens(quota: Quota, locale: str) -> list[str]:
    """What is in the bucket, and when there is more."""
    verdict, limits = quota.verdict, quota.limits
    left = whole(verdict.remaining)
    filled = min(_WIDTH, left * _WIDTH // limits.burst)
    bar = f"`{'█' * filled}{'░' * (_WIDTH - filled)}`"
    lines = [f"{bar} {text('quota.left', locale, left=left, burst=limits.burst)}"]
    if left >= limits.burst:
        return [*lines, text("quota.full", locale)]
    next_at = verdict.now + (left + 1 - verdict.remaining) / limits.per_second
    return [*lines, text("quota.refills", locale, next=moment(next_at), full=moment(verdict.full_at))]


def _spent(quota: Quota, place: str, locale: str) -> list[str]:
    """That nobody has anything until tomorrow, which is what counts then."""
    verdict = quota.verdict
    return [text(f"quota.budget.spent{place}", locale, new=_tomorrow(verdict))] if verdict.budget_left == 0 else []


def _tomorrow(verdict: Verdict) -> str:
    """When a budget is new: a day of it is one of UTC."""
    return moment((day_of(verdict.now) + 1) * DAY_S)


def _limits(quota: Quota, place: str, locale: str) -> list[Field]:
    verdict, limits = quota.verdict, quota.limits
    rate = text("quota.rate", locale, per_hour=f"{limits.per_hour:g}", burst=limits.burst)
    fields = [Field(name=text("quota.limits", locale), value=rate)]
    if verdict.budget_left is not None and limits.daily is not None:
        values = {"left": verdict.budget_left, "daily": limits.daily, "new": _tomorrow(verdict)}
        fields.append(
            Field(name=text(f"quota.budget{place}", locale), value=text("quota.budget.left", locale, **values))
        )
    return fields


def _prices(modes: Iterable[Mode], locale: str) -> list[Field]:
    """What is free, what is dearer than the rest, and what everything else costs."""
    dear = [
        text(
            "quota.price",
            locale,
            mode=escape_markdown(spoken_line(mode.title)),
            price=counted("tokens", mode.limits.cost, locale),
        )
        for mode in modes
        if mode.limits.cost > 1
    ]
    lines = [text("quota.free", locale), *dear, text("quota.price.other" if dear else "quota.price.all", locale)]
    shown = lines[: fitting(lines, MAX_FIELD)]
    return [Field(name=text("quota.prices", locale), value="\n".join(shown), inline=False)]
