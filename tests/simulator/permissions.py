"""Who may do what where.

Source: https://discord.com/developers/docs/topics/permissions#permission-hierarchy
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulator.payloads import Json


class Permission(IntFlag):
    """The permissions that the simulator looks at."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    SEND_VOICE_MESSAGES = 1 << 46
    SET_VOICE_CHANNEL_STATUS = 1 << 48


ALL = (1 << 53) - 1
"""Every permission that there is."""

EVERYBODY = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.CONNECT
    | Permission.SPEAK
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.SEND_VOICE_MESSAGES
)
"""What the simulator's @everyone role may do, as in a new guild."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite:
    """A channel's exception for a role or a member; ``target_id`` is the guild's id for @everyone."""

    target_id: int
    for_member: bool = False
    allow: int = 0
    deny: int = 0

    def payload(self) -> Json:
        """As the API shows it."""
        return {
            "id": str(self.target_id),
            "type": int(self.for_member),
            "allow": str(int(self.allow)),
            "deny": str(int(self.deny)),
        }


def effective(
    base: int, overwrites: Iterable[Overwrite], *, guild_id: int, role_ids: set[int], user_id: int, owner: bool
) -> int:
    """Permissions in a channel: the roles' together, then @everyone's, the roles' and the member's exceptions."""
    if owner or base & Permission.ADMINISTRATOR:
        return ALL
    everyone = [o for o in overwrites if not o.for_member and o.target_id == guild_id]
    roles = [o for o in overwrites if not o.for_member and o.target_id in role_ids - {guild_id}]
    member = [o for o in overwrites if o.for_member and o.target_id == user_id]
    for step in (everyone, roles, member):
        deny = allow = 0
        for overwrite in step:
            deny |= overwrite.deny
            allow |= overwrite.allow
        base = base & ~deny | allow
    return base if base & Permission.VIEW_CHANNEL else 0
