"""Users and roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.payloads import Json


@dataclass(eq=False, kw_only=True, repr=False)
class User:
    """An account; ``locale`` is the language of its client."""

    id: int
    name: str
    bot: bool = False
    locale: str = "en-US"

    def __repr__(self) -> str:
        return f"<User {self.name}>"

    @property
    def mention(self) -> str:
        """What one types to mention the user."""
        return f"<@{self.id}>"

    def payload(self) -> Json:
        """As others see the user."""
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": None if self.bot else self.name.title(),
            "discriminator": "0000" if self.bot else "0",
            "avatar": None,
            "public_flags": 0,
            "flags": 0,
            "bot": self.bot,
            "primary_guild": None,
        }

    def own_payload(self) -> Json:
        """As the user sees itself."""
        return {**self.payload(), "mfa_enabled": True, "locale": self.locale, "verified": True, "email": None}


@dataclass(eq=False, kw_only=True, repr=False)
class Role:
    """A role; the one with the guild's id is @everyone."""

    id: int
    name: str
    permissions: int
    position: int
    mentionable: bool = False
    managed: bool = False

    def __repr__(self) -> str:
        return f"<Role {self.name}>"

    @property
    def mention(self) -> str:
        """What one types to mention the role."""
        return f"<@&{self.id}>"

    def payload(self) -> Json:
        """As the API shows it."""
        return {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": self.position,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": self.managed,
            "mentionable": self.mentionable,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
