"""What moderators read of their guild's settings, and of who changed them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bot.core.records import TierSetting
from bot.core.rendering import escape_markdown, spoken_line
from bot.core.routing import DEFAULT_MODE
from bot.presentation.listing import field_of_lines, fitting
from bot.presentation.messages import keys, text
from bot.presentation.replies import Answer, Field, TextFile
from bot.presentation.settings_changes import tier_text, value_text
from bot.presentation.times import calendar_time, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.core.records import AuditEntry, GuildSettings
    from bot.presentation.settings_changes import Change, Operator

AUDIT_ENTRIES: Final = 500
"""How many changes are shown: all that are kept."""

_SHOWN: Final = 3_800
_CHANNELS_IN_LINE: Final = 10
_MENTION: Final = re.compile(r"\\<(#|@&|@)(\d{15,20})\\>")
_SINGLE: Final = (
    *("default_mode", "language", "retention_days"),
    *("moderator_role_id", "moderator_channel_id", "announcement_channel_id"),
    *("per_hour", "burst", "daily_budget"),
)


def settings_answer(settings: GuildSettings, operator: Operator, *, locale: str) -> Answer:
    """All settings as they hold, and what was set where that is something else."""
    values = {name: value_text(name, settings) for name in _SINGLE if getattr(settings, name) is not None}
    shown = _inherited(operator, locale) | values | _capped(settings, operator, locale)
    fields = [Field(name=text(f"setting.{name}", locale), value=shown[name]) for name in _SINGLE]
    tiers = [_tier_line(tier, settings, operator, locale) for tier in settings.tiers] or [text("settings.none", locale)]
    return Answer(
        title=text("settings.title", locale),
        description=text("settings.intro", locale),
        fields=(
            *fields,
            *field_of_lines(text("setting.tiers", locale), tiers),
            *field_of_lines(text("setting.automatic_channels", locale), _channel_lines(settings, operator, locale)),
        ),
    )


def _inherited(operator: Operator, locale: str) -> dict[str, str]:
    """What holds where nothing is set."""
    default = operator.fair_use.default
    values = {
        "default_mode": f"`{DEFAULT_MODE}`",
        "language": text("settings.found_out", locale),
        "retention_days": text("settings.days", locale, count=f"{operator.transcript_days:g}"),
        "per_hour": f"{default.per_hour:g}",
        "burst": f"{default.burst:g}",
        "daily_budget": text("settings.no_limit", locale) if default.daily is None else f"{default.daily:g}",
    }
    by_operator = {name: text("settings.inherited", locale, value=value) for name, value in values.items()}
    return by_operator | {
        "moderator_role_id": text("settings.managers_only", locale),
        "moderator_channel_id": text("settings.none", locale),
        "announcement_channel_id": text("settings.none", locale),
    }


def _capped(settings: GuildSettings, operator: Operator, locale: str) -> dict[str, str]:
    """What holds instead of what is set, where the operator allows less by now."""
    limits = operator.fair_use.limits_in(settings, frozenset())
    most = {"per_hour": limits.per_hour, "burst": limits.burst, "daily_budget": limits.daily}
    most["retention_days"] = operator.transcript_days
    less = {name: most for name, most in most.items() if most is not None and (getattr(settings, name) or 0) > most}
    held = settings.model_copy(update=less)
    return {
        name: text("settings.capped", locale, value=value_text(name, held), set=value_text(name, settings))
        for name in less
    }


def _tier_line(tier: TierSetting, settings: GuildSettings, operator: Operator, locale: str) -> str:
    """What the holders of a role may use, and what was set where that is something else by now."""
    limits = operator.fair_use.limits_in(settings, frozenset({tier.role_id}))
    held = TierSetting(role_id=tier.role_id, per_hour=limits.per_hour, burst=limits.burst)
    if held == tier:
        return tier_text(tier)
    return text("settings.tier.was", locale, tier=tier_text(held), per_hour=f"{tier.per_hour:g}", burst=tier.burst)


def _channel_lines(settings: GuildSettings, operator: Operator, locale: str) -> list[str]:
    """Channels, several in a line; and that nothing happens in them where the operator does not allow it."""
    channels = [f"<#{channel}>" for channel in settings.automatic_channels]
    rows = [" ".join(channels[at : at + _CHANNELS_IN_LINE]) for at in range(0, len(channels), _CHANNELS_IN_LINE)]
    if not operator.automatic_allowed:
        return [text("settings.automatic_off", locale), *rows]
    return rows or [text("settings.none", locale)]


def change_answer(change: Change, before: GuildSettings, after: GuildSettings, *, notes: Sequence[str] = ()) -> Answer:
    """What was changed from what; ``notes`` are sentences below."""
    lines = [f"**{what_text(change.what)}**"]
    if before == after:
        lines.append(text("settings.unchanged", value=change.describe(after)))
    else:
        lines.append(f"{change.describe(before)} → {change.describe(after)}")
    return Answer(description="\n".join((*lines, *notes)))


def audit_answer(entries: Sequence[AuditEntry], *, locale: str) -> Answer:
    """The last changes, the newest first; in a file too, where there are many."""
    title = text("audit.title", locale)
    if not entries:
        return Answer(title=title, description=text("audit.empty", locale))
    lines = [audit_line(entry) for entry in entries]
    shown = fitting(lines, _SHOWN)
    files: tuple[TextFile, ...] = ()
    if shown < len(lines):
        whole = "\n".join(_plain_line(entry) for entry in entries) + "\n"
        files = (TextFile(name="audit.txt", content=whole.encode()),)
    more = [text("audit.more", locale, shown=shown, count=len(lines))] if files else []
    return Answer(title=title, description="\n".join((*lines[:shown], *more)), files=files)


def audit_line(entry: AuditEntry) -> str:
    """A change in a line: when, who, what, from what, to what."""
    before, after = shown_value(entry.before), shown_value(entry.after)
    values = f"{before} → {after}" if before else after
    return f"{moment(entry.at)} <@{entry.who}> **{what_text(entry.what)}**" + (f": {values}" if values else "")


def what_text(what: str) -> str:
    """What a change was about: by its key, or the key itself where it is not known here."""
    for key in (f"audit.{what}", f"setting.{what.removeprefix('settings.')}"):
        if key in keys():
            return text(key)
    return escape_markdown(what)


def shown_value(value: str) -> str:
    """A value of the log as it was written, in one line; of what Discord can show, mentions alone are let through."""
    return _MENTION.sub(r"<\1\2>", escape_markdown(spoken_line(value).replace("`", "")))


def _plain_line(entry: AuditEntry) -> str:
    values = " -> ".join(spoken_line(value) for value in (entry.before, entry.after) if value)
    return f"{calendar_time(entry.at)}  user {entry.who}  {entry.what}  {values}"
