"""Private threads: channels below a channel, for those who were added to them.

Source: https://discord.com/developers/docs/topics/threads
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulator.channels import Channel
from tests.simulator.permissions import Permission

if TYPE_CHECKING:
    from datetime import datetime

    from tests.simulator.memberships import Membership
    from tests.simulator.payloads import Json

_ARCHIVE_AFTER_MIN = 1440


@dataclass(eq=False, kw_only=True, repr=False)
class Thread(Channel):
    """A private thread. ``joined`` holds its members by their ids; the first of them has made it."""

    parent: Channel
    made_at: datetime
    joined: dict[int, Membership] = field(default_factory=dict[int, "Membership"])

    def admits(self, member: Membership, held: int) -> bool:
        """Whether they see it: its members do, and whoever manages threads."""
        return member.id in self.joined or bool(held & Permission.MANAGE_THREADS)

    def payload(self) -> Json:
        """As the API shows it."""
        assert self.guild is not None
        owner = next(iter(self.joined), self.guild.owner_id)
        return {
            "id": str(self.id),
            "type": int(self.kind),
            "flags": 0,
            "guild_id": str(self.guild.id),
            "parent_id": str(self.parent.id),
            "owner_id": str(owner),
            "name": self.name,
            "last_message_id": str(max(self.messages)) if self.messages else None,
            "rate_limit_per_user": 0,
            "message_count": len(self.messages),
            "member_count": len(self.joined),
            "total_message_sent": len(self.messages),
            "thread_metadata": {
                "archived": False,
                "archive_timestamp": self.made_at.isoformat(),
                "auto_archive_duration": _ARCHIVE_AFTER_MIN,
                "create_timestamp": self.made_at.isoformat(),
                "invitable": False,
                "locked": False,
            },
        }

    def member_payload(self, member: Membership) -> Json:
        """One of its members, as the API shows them."""
        return {
            "id": str(self.id),
            "user_id": str(member.id),
            "join_timestamp": self.made_at.isoformat(),
            "flags": 0,
        }
