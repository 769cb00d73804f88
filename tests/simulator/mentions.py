"""Who is pinged by a message.

Source: https://discord.com/developers/docs/resources/message#allowed-mentions-object
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.payloads import items

if TYPE_CHECKING:
    from tests.simulator.payloads import Json

_CODE = re.compile(r"```.*?```|``.*?``|`[^`\n]*`", re.DOTALL)
_USER = re.compile(r"<@!?(\d{1,20})>")
_ROLE = re.compile(r"<@&(\d{1,20})>")
_EVERYONE = re.compile(r"@(?:everyone|here)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """Who hears of a message by its mentions. Users and roles are ids."""

    users: frozenset[int] = frozenset()
    roles: frozenset[int] = frozenset()
    everyone: bool = False

    def __bool__(self) -> bool:
        return bool(self.users or self.roles or self.everyone)

    def __or__(self, other: Pings) -> Pings:
        return Pings(
            users=self.users | other.users, roles=self.roles | other.roles, everyone=self.everyone or other.everyone
        )


def mentioned(text: str) -> Pings:
    """Everybody whom ``text`` names outside of code."""
    prose = _CODE.sub("", text)
    return Pings(
        users=frozenset(int(found) for found in _USER.findall(prose)),
        roles=frozenset(int(found) for found in _ROLE.findall(prose)),
        everyone=_EVERYONE.search(prose) is not None,
    )


def allowed(named: Pings, rules: Json | None, *, replied_to: int | None, everyone_permitted: bool) -> Pings:
    """Those of ``named`` who are pinged under ``rules``, the message's ``allowed_mentions``.

    Without rules all are, and so is the author of the message that is replied to. @everyone needs a permission besides.
    """
    if rules is None:
        users, roles, everyone, replied = named.users, named.roles, named.everyone, True
    else:
        parse = items(rules.get("parse"))
        listed_users = {int(user) for user in items(rules.get("users"))}
        listed_roles = {int(role) for role in items(rules.get("roles"))}
        users = frozenset(user for user in named.users if "users" in parse or user in listed_users)
        roles = frozenset(role for role in named.roles if "roles" in parse or role in listed_roles)
        everyone = named.everyone and "everyone" in parse
        replied = bool(rules.get("replied_user"))
    if replied and replied_to is not None:
        users |= {replied_to}
    return Pings(users=users, roles=roles, everyone=everyone and everyone_permitted)
