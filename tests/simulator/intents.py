"""Gateway intents.

Source: https://discord.com/developers/docs/events/gateway#list-of-intents
"""

from __future__ import annotations

from enum import IntFlag


class Intent(IntFlag):
    """What a bot may ask to be told of; the ones that this simulator has events for, and the privileged ones."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT
"""Refused (4014) unless they were switched on for the application."""

_APPLICATION_FLAGS = {
    Intent.GUILD_PRESENCES: 1 << 13,
    Intent.GUILD_MEMBERS: 1 << 15,
    Intent.MESSAGE_CONTENT: 1 << 19,
}


def application_flags(privileged: Intent) -> int:
    """The application's flags for the privileged intents that are switched on for it.

    They are the "limited" ones, of an application in fewer than a hundred guilds that nobody had to approve.
    Source: https://discord.com/developers/docs/resources/application#application-object-application-flags
    """
    return sum(flag for intent, flag in _APPLICATION_FLAGS.items() if privileged & intent)


KNOWN_BITS = (1 << 26) - 1
"""Anything above is refused as invalid (4013)."""
