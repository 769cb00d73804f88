"""Being in a guild: roles, permissions, and how the API shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulator import permissions
from tests.simulator.users import Role

if TYPE_CHECKING:
    from datetime import datetime

    from tests.simulator.channels import Channel
    from tests.simulator.guilds import Guild
    from tests.simulator.payloads import Json
    from tests.simulator.users import User
    from tests.simulator.world import World


@dataclass(eq=False, kw_only=True, repr=False)
class Membership:
    """Somebody in a guild."""

    world: World
    guild: Guild
    user: User
    joined_at: datetime
    roles: list[Role] = field(default_factory=list[Role])

    def __repr__(self) -> str:
        return f"<Member {self.user.name} of {self.guild.name}>"

    @property
    def id(self) -> int:
        """The user's id."""
        return self.user.id

    @property
    def mention(self) -> str:
        """What one types to mention them."""
        return self.user.mention

    def permissions_in(self, channel: Channel | None = None) -> int:
        """What they may do in ``channel``, or in the guild as such."""
        base = self.guild.everyone.permissions
        for role in self.roles:
            base |= role.permissions
        held = permissions.effective(
            base,
            channel.overwrites if channel else (),
            guild_id=self.guild.id,
            role_ids={role.id for role in self.roles},
            user_id=self.user.id,
            owner=self.guild.owner_id == self.user.id,
        )
        return held if channel is None or channel.admits(self, held) else 0

    def payload(self) -> Json:
        """As the API shows them."""
        return {**self.payload_without_user(), "user": self.user.payload()}

    def payload_without_user(self) -> Json:
        """As messages and resolved options show them."""
        return {
            "roles": [str(role.id) for role in self.roles],
            "joined_at": self.joined_at.isoformat(),
            "nick": None,
            "avatar": None,
            "banner": None,
            "premium_since": None,
            "communication_disabled_until": None,
            "pending": False,
            "mute": False,
            "deaf": False,
            "flags": 0,
        }
