from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.redis import keys
from bot.core.errors import UnknownLanguage, UnknownMode
from bot.core.quotas import Limits
from bot.core.records import AuditEntry, GuildSettings, TierSetting
from bot.presentation.settings_changes import (
    MAX_AUTOMATIC_CHANNELS,
    MAX_TIERS,
    RESETTABLE,
    AutomaticOff,
    Change,
    Everybody,
    NoMore,
    NothingGiven,
    OverCap,
    TooManyChannels,
    TooManyTiers,
    channels_change,
    language_change,
    limits_change,
    mode_change,
    moderator_role_change,
    reset_change,
    retention_change,
    tier_change,
    voice_messages_change,
)
from bot.presentation.settings_page import AUDIT_ENTRIES, audit_answer, change_answer, settings_answer
from tests.fakes import a_mode
from tests.presentation.guildhall import ADA, CHANNEL, GUILD, HELPERS, LOCALE, NOW, all_text, an_operator, assert_fits

PLAIN = GuildSettings(guild_id=GUILD)
OPERATOR = an_operator()
CAPS = OPERATOR.fair_use.caps
MODES = {"summarize": a_mode()}
FULLEST = GuildSettings(
    guild_id=GUILD,
    default_mode="x" * 32,
    language="yue",
    moderator_role_id=HELPERS,
    moderator_channel_id=CHANNEL,
    announcement_channel_id=CHANNEL,
    per_hour=9_999.5,
    burst=1_000,
    daily_budget=1_000_000,
    tiers=tuple(TierSetting(role_id=HELPERS + i, per_hour=9_999.5, burst=1_000) for i in range(MAX_TIERS)),
    retention_days=3_650,
    automatic_channels=tuple(CHANNEL + i for i in range(MAX_AUTOMATIC_CHANNELS)),
)


def after(change: Change, settings: GuildSettings = PLAIN) -> GuildSettings:
    """The settings afterwards; what they were before does not change."""
    before = settings.model_copy(deep=True)
    changed = change.apply(settings)
    assert settings == before
    return changed


def test_a_mode_has_to_be_there() -> None:
    assert after(mode_change("summarize", MODES)).default_mode == "summarize"
    with pytest.raises(UnknownMode):
        mode_change("nonsense", MODES).apply(PLAIN)


@pytest.mark.parametrize("typed", ["de", "German", "de-AT"])
def test_a_language_is_kept_by_its_code(typed: str) -> None:
    assert after(language_change(typed)).language == "de"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UnknownLanguage):
        language_change("Klingon").apply(PLAIN)


def test_the_role_of_everybody_cannot_moderate_or_have_a_tier() -> None:
    assert after(moderator_role_change(HELPERS)).moderator_role_id == HELPERS
    for change in (moderator_role_change(GUILD), tier_change(GUILD, 20, 5, OPERATOR)):
        with pytest.raises(Everybody):
            change.apply(PLAIN)


def test_what_is_left_out_stays() -> None:
    both = after(limits_change(20, 5, None, CAPS))
    assert (both.per_hour, both.burst, both.daily_budget) == (20, 5, None)
    assert after(limits_change(None, 4, 100, CAPS), both) == both.model_copy(update={"burst": 4, "daily_budget": 100})
    one = after(channels_change(CHANNEL, None))
    assert after(channels_change(None, CHANNEL + 1), one).moderator_channel_id == CHANNEL


@pytest.mark.parametrize(
    "change",
    [limits_change(None, None, None, CAPS), channels_change(None, None), reset_change("guild_id")],
)
def test_nothing_given_is_said_to_be_nothing(change: Change) -> None:
    with pytest.raises(NothingGiven):
        change.apply(PLAIN)


@pytest.mark.parametrize(
    ("change", "cap", "variable"),
    [
        (limits_change(60.1, None, None, CAPS), "60", "MAX_RATE_PER_HOUR"),
        (limits_change(60, 21, None, CAPS), "20", "MAX_RATE_BURST"),
        (limits_change(None, None, 501, CAPS), "500", "GUILD_DAILY_TOKENS"),
        (tier_change(HELPERS, 61, None, OPERATOR), "60", "MAX_RATE_PER_HOUR"),
        (tier_change(HELPERS, None, 21, OPERATOR), "20", "MAX_RATE_BURST"),
        (retention_change(8, 7), "7", "TRANSCRIPT_DAYS"),
    ],
)
def test_over_the_operators_cap_is_refused_with_its_name(change: Change, cap: str, variable: str) -> None:
    with pytest.raises(OverCap) as refused:
        change.apply(PLAIN)
    assert (refused.value.values["cap"], refused.value.values["variable"]) == (cap, variable)


def test_at_the_cap_is_allowed() -> None:
    assert after(limits_change(60, 20, 500, CAPS)).daily_budget == 500
    assert after(limits_change(None, None, 10**6, Limits(per_hour=1, burst=1))).daily_budget == 10**6
    assert after(retention_change(7, 7)).retention_days == 7


def test_a_tier_is_set_changed_and_removed() -> None:
    set_up = after(tier_change(HELPERS, 30, 6, OPERATOR))
    assert set_up.tiers == (TierSetting(role_id=HELPERS, per_hour=30, burst=6),)
    changed = after(tier_change(HELPERS, None, 8, OPERATOR), set_up)
    assert changed.tiers == (TierSetting(role_id=HELPERS, per_hour=30, burst=8),)
    assert after(tier_change(HELPERS, None, None, OPERATOR), changed) == PLAIN


def test_what_a_new_tier_leaves_out_is_everybodys() -> None:
    assert after(tier_change(HELPERS, 30, None, OPERATOR)).tiers[0].burst == 3
    own = PLAIN.model_copy(update={"per_hour": 20.0})
    assert after(tier_change(HELPERS, None, 8, OPERATOR), own).tiers[0].per_hour == 20


@pytest.mark.parametrize("tiers", [(), (TierSetting(role_id=HELPERS, per_hour=500, burst=4),)])
def test_what_a_tier_leaves_out_is_not_over_the_cap(tiers: tuple[TierSetting, ...]) -> None:
    raised_once = PLAIN.model_copy(update={"per_hour": 500.0, "tiers": tiers})
    assert after(tier_change(HELPERS, None, 8, OPERATOR), raised_once).tiers[0].per_hour == 60


def test_what_a_tier_leaves_out_is_not_below_everybodys() -> None:
    below = PLAIN.model_copy(update={"per_hour": 30.0, "tiers": (TierSetting(role_id=HELPERS, per_hour=20, burst=4),)})
    assert after(tier_change(HELPERS, None, 8, OPERATOR), below).tiers[0].per_hour == 30


@pytest.mark.parametrize(("per_hour", "burst"), [(5, None), (None, 2), (10, 3), (60, 2), (9.9, 20)])
def test_a_tier_that_gives_no_more_than_everybody_has_is_refused(per_hour: float | None, burst: int | None) -> None:
    with pytest.raises(NoMore) as refused:
        tier_change(HELPERS, per_hour, burst, OPERATOR).apply(PLAIN)
    assert refused.value.values == {"per_hour": "10", "burst": 3}


def test_there_are_so_many_tiers_and_channels_and_no_more() -> None:
    with pytest.raises(TooManyTiers):
        tier_change(HELPERS + 1_000, 20, 5, OPERATOR).apply(FULLEST)
    room = FULLEST.model_copy(update={"per_hour": None, "burst": None})
    assert len(after(tier_change(HELPERS, 20, 5, OPERATOR), room).tiers) == MAX_TIERS
    with pytest.raises(TooManyChannels):
        voice_messages_change(CHANNEL + 1_000, on=True, automatic_allowed=True).apply(FULLEST)
    assert after(voice_messages_change(CHANNEL, on=True, automatic_allowed=True), FULLEST) == FULLEST


def test_voice_messages_are_switched_on_and_off() -> None:
    on = after(voice_messages_change(CHANNEL, on=True, automatic_allowed=True))
    assert on.automatic_channels == (CHANNEL,)
    assert after(voice_messages_change(CHANNEL, on=False, automatic_allowed=False), on) == PLAIN
    with pytest.raises(AutomaticOff):
        voice_messages_change(CHANNEL, on=True, automatic_allowed=False).apply(PLAIN)


@pytest.mark.parametrize("field", RESETTABLE)
def test_every_setting_can_be_set_back(field: str) -> None:
    changed = after(reset_change(field), FULLEST)
    assert getattr(changed, field) == getattr(PLAIN, field)
    kept = FULLEST.model_copy(update={field: getattr(PLAIN, field)})
    assert changed == kept, "and nothing else is"


# --- the log ------------------------------------------------------------------------------------------------------


def test_a_change_is_noted_with_what_it_was_before() -> None:
    change = limits_change(20, None, 100, CAPS)
    entry = change.entry(PLAIN, after(change), who=ADA, at=NOW)
    assert (entry.guild_id, entry.at, entry.who, entry.what) == (GUILD, NOW, ADA, "settings.limits")
    assert entry.before == "Tokens an hour: not set here; Tokens of the server a day: not set here"
    assert entry.after == "Tokens an hour: 20; Tokens of the server a day: 100"


@pytest.mark.parametrize("field", RESETTABLE)
def test_whatever_was_set_can_be_noted(field: str) -> None:
    change = reset_change(field)
    entry = change.entry(FULLEST, after(change, FULLEST), who=ADA, at=NOW)
    assert entry.before
    assert entry.before != entry.after


def test_an_answer_tells_the_change() -> None:
    change = tier_change(HELPERS, 30, 6, OPERATOR)
    answer = change_answer(change, PLAIN, after(change), notes=["Mind this."])
    assert answer.description == (
        f"**Tiers**\n<@&{HELPERS}>: like everybody → <@&{HELPERS}>: 30 an hour, 6 at once\nMind this."
    )
    assert "nothing was changed" in change_answer(change, PLAIN, PLAIN).description


# --- pages --------------------------------------------------------------------------------------------------------


def test_the_page_tells_what_holds_where_nothing_is_set() -> None:
    answer = settings_answer(PLAIN, OPERATOR, locale=LOCALE)
    assert_fits(answer)
    shown = {field.name: field.value for field in answer.fields}
    assert shown["Tokens an hour"] == "10 *(not set here)*"
    assert shown["Tokens of the server a day"] == "500 *(not set here)*"
    assert shown["Default mode"].startswith("`summarize`")
    assert shown["Kept for"].startswith("7 days")


def test_the_page_tells_what_is_set() -> None:
    settings = GuildSettings(guild_id=GUILD, language="de", per_hour=20, moderator_channel_id=CHANNEL)
    shown = {field.name: field.value for field in settings_answer(settings, OPERATOR, locale=LOCALE).fields}
    assert (shown["Language"], shown["Tokens an hour"], shown["Moderators' channel"]) == (
        "German",
        "20",
        f"<#{CHANNEL}>",
    )


def test_the_page_tells_what_holds_where_the_operator_allows_less_by_now() -> None:
    tiers = (TierSetting(role_id=HELPERS, per_hour=100, burst=9), TierSetting(role_id=ADA, per_hour=40, burst=9))
    more = GuildSettings(guild_id=GUILD, per_hour=80, burst=5, daily_budget=900, retention_days=30, tiers=tiers)
    shown = {field.name: field.value for field in settings_answer(more, OPERATOR, locale=LOCALE).fields}
    note = "*(the most that whoever runs me allows; set: {})*"
    assert shown["Tokens an hour"] == f"60 {note.format(80)}"
    assert shown["Tokens at once"] == "5"
    assert shown["Tokens of the server a day"] == f"500 {note.format(900)}"
    assert shown["Kept for"] == f"7 days {note.format('30 days')}"
    assert shown["Tiers"].splitlines() == [
        f"<@&{HELPERS}>: 60 an hour, 9 at once *(set: 100, 9)*",
        f"<@&{ADA}>: 60 an hour, 9 at once *(set: 40, 9)*",
    ], "the second has as much as everybody by now"


def test_the_fullest_settings_are_shown_whole() -> None:
    answer = settings_answer(FULLEST, OPERATOR, locale=LOCALE)
    assert_fits(answer)
    words = all_text(answer)
    assert all(f"<@&{tier.role_id}>" in words for tier in FULLEST.tiers)
    assert all(f"<#{channel}>" in words for channel in FULLEST.automatic_channels)


def test_the_page_says_who_has_to_switch_automatic_transcription_on() -> None:
    answer = settings_answer(PLAIN, an_operator(automatic_allowed=False), locale=LOCALE)
    assert "AUTO_TRANSCRIBE" in all_text(answer)


def an_entry(what: str = "settings.language", before: str = "", after: str = "German", at: float = NOW) -> AuditEntry:
    return AuditEntry(guild_id=GUILD, at=at, who=ADA, what=what, before=before, after=after)


def test_the_log_tells_who_changed_what_and_when() -> None:
    answer = audit_answer([an_entry(before="not set here")], locale=LOCALE)
    assert answer.description == f"<t:1800000000:R> <@{ADA}> **Language**: not set here → German"
    assert answer.files == ()
    assert "Nothing" in audit_answer([], locale=LOCALE).description


def test_what_is_noted_by_others_is_shown_as_it_is() -> None:
    hostile = an_entry(what="mode.*reload*", after=f"[x](https://evil.example) @everyone <@{ADA}> **b**")
    line = audit_answer([hostile], locale=LOCALE).description
    assert "@everyone" not in line
    assert "[x](" not in line.replace("\\[", "")
    assert f"<@{ADA}>" in line.partition("**:")[2], "mentions are let through: they ping nobody in an embed"
    assert "mode.\\*reload\\*" in line


def test_a_long_log_is_in_a_file_whole() -> None:
    assert AUDIT_ENTRIES >= keys.AUDIT_ENTRIES, "no entry that is kept is left out"
    entries = [an_entry(after=f"{number} " + "x" * 400) for number in range(AUDIT_ENTRIES)]
    answer = audit_answer(entries, locale=LOCALE)
    assert_fits(answer)
    (file,) = answer.files
    assert len(file.content.decode().splitlines()) == AUDIT_ENTRIES
    assert f"of {AUDIT_ENTRIES} changes" in answer.description


@given(st.lists(st.builds(an_entry, what=st.text(max_size=64), before=st.text(max_size=500)), max_size=100))
def test_whatever_was_noted_fits(entries: list[AuditEntry]) -> None:
    assert_fits(audit_answer(entries, locale=LOCALE))
