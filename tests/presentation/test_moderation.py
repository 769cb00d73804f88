from __future__ import annotations

import pytest

from bot.core.errors import StoreUnavailable
from bot.core.records import GuildSettings
from bot.presentation.moderation import (
    AccessPolicy,
    NotModerator,
    NotOutside,
    OnlyOnServers,
    ServerNotAllowed,
    is_moderator,
    member_of,
    require_moderator,
)
from tests.presentation.guildhall import (
    ADA,
    GUILD,
    HELPERS,
    MANAGERS,
    OWNER,
    FakeSettingsStore,
    a_manager,
    a_member,
    a_user,
    an_interaction,
)

PLAIN = GuildSettings(guild_id=GUILD)
WITH_ROLE = GuildSettings(guild_id=GUILD, moderator_role_id=HELPERS)


@pytest.mark.parametrize(
    ("member_id", "roles", "settings", "may"),
    [
        (OWNER, (), PLAIN, True),
        (ADA, (MANAGERS,), PLAIN, True),
        (ADA, (HELPERS,), WITH_ROLE, True),
        (ADA, (HELPERS,), PLAIN, False),
        (ADA, (), WITH_ROLE, False),
    ],
    ids=["owner", "Manage Server", "moderator role", "a role like any other", "nobody"],
)
async def test_who_moderates(member_id: int, roles: tuple[int, ...], settings: GuildSettings, may: bool) -> None:
    store = FakeSettingsStore(kept={GUILD: settings})
    assert await is_moderator(a_member(member_id, *roles), store) is may


async def test_a_moderator_is_let_through_and_nobody_else_is() -> None:
    store, manager = FakeSettingsStore(kept={GUILD: WITH_ROLE}), a_manager()
    assert await require_moderator(an_interaction(manager), store) is manager
    with pytest.raises(NotModerator):
        await require_moderator(an_interaction(a_member()), store)


async def test_while_the_role_cannot_be_looked_up_discords_permissions_count_alone() -> None:
    away, manager = FakeSettingsStore(kept={GUILD: WITH_ROLE}, fails=StoreUnavailable()), a_manager()
    assert await require_moderator(an_interaction(manager), away) is manager
    with pytest.raises(StoreUnavailable):
        await require_moderator(an_interaction(a_member(ADA, HELPERS)), away)


def test_outside_a_guild_nobody_is_a_member() -> None:
    with pytest.raises(OnlyOnServers):
        member_of(an_interaction(a_user()))


@pytest.mark.parametrize(
    ("policy", "guild_id", "may"),
    [
        (AccessPolicy(), GUILD, True),
        (AccessPolicy(allowed_guilds=frozenset({GUILD})), GUILD, True),
        (AccessPolicy(allowed_guilds=frozenset({1})), GUILD, False),
        (AccessPolicy(), None, False),
        (AccessPolicy(allow_user_install=True, allowed_guilds=frozenset({1})), None, True),
    ],
)
def test_where_the_bot_may_be_used(policy: AccessPolicy, guild_id: int | None, may: bool) -> None:
    assert policy.allows(guild_id) is may


def test_what_comes_from_elsewhere_is_refused() -> None:
    inside = an_interaction(a_member())
    brought_along = an_interaction(a_member(), is_guild_integration=lambda: False)
    AccessPolicy().check(inside)
    AccessPolicy(allowed_guilds=frozenset({1}), allow_user_install=True).check(brought_along)
    with pytest.raises(ServerNotAllowed):
        AccessPolicy(allowed_guilds=frozenset({1}), allow_user_install=True).check(inside)
    with pytest.raises(NotOutside):
        AccessPolicy().check(brought_along)
