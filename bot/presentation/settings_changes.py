"""What moderators can change, as pure functions from settings to settings. What they leave out stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bot.core.errors import BadInput, NotAllowed, UnknownMode
from bot.core.languages import language_name, parse_language
from bot.core.records import AuditEntry, GuildSettings, TierSetting
from bot.presentation.messages import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.core.fair_use import FairUse
    from bot.core.modes import Mode
    from bot.core.quotas import Limits

MAX_TIERS: Final = 25
MAX_AUTOMATIC_CHANNELS: Final = 100
_MAX_AUDITED: Final = 500
"""Characters of a value in the audit log."""


class NothingGiven(BadInput):
    """A command that changes what is given, with nothing given."""

    key = "error.nothing_given"


class OverCap(BadInput):
    """Values: ``what``, ``cap``, ``variable``. More than the operator lets moderators allow."""

    key = "error.over_cap"


class TooManyTiers(BadInput):
    """Values: ``limit``."""

    key = "error.too_many_tiers"


class TooManyChannels(BadInput):
    """Values: ``limit``."""

    key = "error.too_many_channels"


class NoMore(BadInput):
    """Values: ``per_hour``, ``burst``. A tier that gives less than everybody has, or just that."""

    key = "error.no_more"


class Everybody(BadInput):
    """A role that everybody has, where one for some is meant."""

    key = "error.everybody"


class AutomaticOff(NotAllowed):
    """The operator has not switched automatic transcription on."""

    key = "error.automatic_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator decided, as far as moderators have to know it; ``fair_use`` knows what holds for whom."""

    fair_use: FairUse
    transcript_days: float
    automatic_allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of settings. ``what`` is its key in the audit log, ``describe`` tells the value that it is about.

    ``apply`` gives the new settings, or raises a `BadInput` or `NotAllowed`; it has no other effect.
    """

    what: str
    apply: Callable[[GuildSettings], GuildSettings]
    describe: Callable[[GuildSettings], str]

    def entry(self, before: GuildSettings, after: GuildSettings, *, who: int, at: float) -> AuditEntry:
        """The line of the audit log."""
        return AuditEntry(
            guild_id=before.guild_id,
            at=at,
            who=who,
            what=self.what,
            before=self.describe(before)[:_MAX_AUDITED],
            after=self.describe(after)[:_MAX_AUDITED],
        )


# --- values -------------------------------------------------------------------------------------------------------


def value_text(field: str, settings: GuildSettings) -> str:
    """A setting in a few words; what is not set is said not to be."""
    value = getattr(settings, field)
    if value is None:
        return text("settings.unset")
    if value == ():
        return text("settings.none")
    return _WRITTEN[field](value)


_WRITTEN: Final[Mapping[str, Callable[[Any], str]]] = {
    "default_mode": "`{}`".format,
    "language": language_name,
    "moderator_role_id": "<@&{}>".format,
    "moderator_channel_id": "<#{}>".format,
    "announcement_channel_id": "<#{}>".format,
    "per_hour": "{:g}".format,
    "burst": "{:g}".format,
    "daily_budget": "{:g}".format,
    "tiers": lambda tiers: ", ".join(map(tier_text, tiers)),
    "retention_days": lambda days: text("settings.days", count=f"{days:g}"),
    "automatic_channels": lambda channels: " ".join(map("<#{}>".format, channels)),
}


def tier_text(tier: TierSetting) -> str:
    """A tier in a few words."""
    return text("settings.tier", role=f"<@&{tier.role_id}>", per_hour=f"{tier.per_hour:g}", burst=tier.burst)


# --- changes ------------------------------------------------------------------------------------------------------


def mode_change(wanted: str, modes: Mapping[str, Mode]) -> Change:
    """The mode that answers where none is asked for."""

    def apply(settings: GuildSettings) -> GuildSettings:
        if wanted not in modes:
            raise UnknownMode(mode=wanted[:50], known=", ".join(sorted(modes)) or "none")
        return _with(settings, default_mode=wanted)

    return _change_of("settings.default_mode", ("default_mode",), apply)


def language_change(typed: str) -> Change:
    """The language that is spoken where nobody names another."""
    return _change_of("settings.language", ("language",), lambda s: _with(s, language=parse_language(typed)))


def moderator_role_change(role_id: int) -> Change:
    """The role whose holders manage the bot."""

    def apply(settings: GuildSettings) -> GuildSettings:
        if role_id == settings.guild_id:  # as Discord numbers the role that everybody has
            raise Everybody
        return _with(settings, moderator_role_id=role_id)

    return _change_of("settings.moderator_role_id", ("moderator_role_id",), apply)


def channels_change(moderators: int | None, announcements: int | None) -> Change:
    """The channels in which the bot speaks up by itself."""
    return _given(
        "settings.channels", {"moderator_channel_id": moderators, "announcement_channel_id": announcements}, ()
    )


def limits_change(per_hour: float | None, burst: int | None, daily: int | None, caps: Limits) -> Change:
    """What members may use, and their guild in a day."""
    checks = (
        ("per_hour", per_hour, caps.per_hour, "MAX_RATE_PER_HOUR"),
        ("burst", burst, caps.burst, "MAX_RATE_BURST"),
        ("daily_budget", daily, caps.daily, "GUILD_DAILY_TOKENS"),
    )
    return _given("settings.limits", {"per_hour": per_hour, "burst": burst, "daily_budget": daily}, checks)


def retention_change(days: float, transcript_days: float) -> Change:
    """For how long transcripts and results are kept."""
    checks = (("retention_days", days, transcript_days, "TRANSCRIPT_DAYS"),)
    return _given("settings.retention_days", {"retention_days": days}, checks)


def tier_change(role_id: int, per_hour: float | None, burst: int | None, operator: Operator) -> Change:
    """What the holders of a role may use; without numbers, no more than the others.

    A number that is left out is what they may use so far.
    """
    caps, limits_in = operator.fair_use.caps, operator.fair_use.limits_in
    checks = (
        ("per_hour", per_hour, caps.per_hour, "MAX_RATE_PER_HOUR"),
        ("burst", burst, caps.burst, "MAX_RATE_BURST"),
    )

    def of_role(settings: GuildSettings) -> TierSetting | None:
        return next((tier for tier in settings.tiers if tier.role_id == role_id), None)

    def apply(settings: GuildSettings) -> GuildSettings:
        if role_id == settings.guild_id:
            raise Everybody
        _check(checks)
        others = tuple(tier for tier in settings.tiers if tier.role_id != role_id)
        if per_hour is None and burst is None:
            return _with(settings, tiers=others)
        if len(others) >= MAX_TIERS:
            raise TooManyTiers(limit=MAX_TIERS)
        everybody, so_far = limits_in(settings, frozenset()), limits_in(settings, frozenset({role_id}))
        tier = TierSetting(role_id=role_id, per_hour=per_hour or so_far.per_hour, burst=burst or so_far.burst)
        more = (tier.per_hour - everybody.per_hour, tier.burst - everybody.burst)
        if min(more) < 0 or not any(more):
            raise NoMore(per_hour=f"{everybody.per_hour:g}", burst=everybody.burst)
        return _with(settings, tiers=(*others, tier))

    def describe(settings: GuildSettings) -> str:
        tier = of_role(settings)
        return tier_text(tier) if tier else text("settings.no_tier", role=f"<@&{role_id}>")

    return Change(what="settings.tiers", apply=apply, describe=describe)


def voice_messages_change(channel_id: int, *, on: bool, automatic_allowed: bool) -> Change:
    """Whether voice messages in a channel are written down without being asked for."""

    def apply(settings: GuildSettings) -> GuildSettings:
        others = tuple(channel for channel in settings.automatic_channels if channel != channel_id)
        if not on:
            return _with(settings, automatic_channels=others)
        if not automatic_allowed:
            raise AutomaticOff
        if channel_id in settings.automatic_channels:
            return settings
        if len(others) >= MAX_AUTOMATIC_CHANNELS:
            raise TooManyChannels(limit=MAX_AUTOMATIC_CHANNELS)
        return _with(settings, automatic_channels=(*others, channel_id))

    def describe(settings: GuildSettings) -> str:
        state = "on" if channel_id in settings.automatic_channels else "off"
        return f"<#{channel_id}>: {text(f'settings.{state}')}"

    return Change(what="settings.automatic_channels", apply=apply, describe=describe)


def reset_change(field: str) -> Change:
    """One setting as the operator has it; ``field`` is one of `RESETTABLE`."""

    def apply(settings: GuildSettings) -> GuildSettings:
        if field not in RESETTABLE:
            raise NothingGiven
        return _with(settings, **{field: GuildSettings.model_fields[field].default})

    return _change_of(f"settings.{field}", (field,) if field in RESETTABLE else (), apply)


RESETTABLE: Final = tuple(name for name in GuildSettings.model_fields if name not in {"schema_version", "guild_id"})
"""Every setting there is, by its field."""


# --- how ----------------------------------------------------------------------------------------------------------

_Check = tuple[str, float | None, float | None, str]
"""A setting's name, what is wanted, the most there can be (None: no limit), and the variable that says so."""


def _check(checks: tuple[_Check, ...]) -> None:
    for name, wanted, cap, variable in checks:
        if wanted is not None and cap is not None and wanted > cap:
            raise OverCap(what=text(f"setting.{name}"), cap=f"{cap:g}", variable=variable)


def _given(what: str, values: Mapping[str, float | None], checks: tuple[_Check, ...]) -> Change:
    """Set those of ``values`` that are given."""
    given = {name: value for name, value in values.items() if value is not None}

    def apply(settings: GuildSettings) -> GuildSettings:
        if not given:
            raise NothingGiven
        _check(checks)
        return _with(settings, **given)

    return _change_of(what, tuple(given), apply)


def _change_of(what: str, fields: tuple[str, ...], apply: Callable[[GuildSettings], GuildSettings]) -> Change:
    """A change of whole settings, which describes them: by name, where they are several."""

    def describe(settings: GuildSettings) -> str:
        if len(fields) == 1 and what == f"settings.{fields[0]}":
            return value_text(fields[0], settings)
        return "; ".join(f"{text(f'setting.{field}')}: {value_text(field, settings)}" for field in fields)

    return Change(what=what, apply=apply, describe=describe)


def _with(settings: GuildSettings, **values: object) -> GuildSettings:
    """``settings`` with other values, checked as if they were read."""
    return GuildSettings.model_validate({**dict(settings), **values})
