"""Guilds: members, roles, channels."""

from __future__ import annotations

from tests.simulator.errors import unknown
from tests.simulator.routing import Answer, Call, Routes

ROUTES = Routes()


@ROUTES.on("GET", "/guilds/{guild_id}/channels")
def list_channels(call: Call) -> Answer:
    """All channels."""
    return Answer(body=[channel.payload() for channel in call.guild().channels.values()])


@ROUTES.on("GET", "/guilds/{guild_id}/roles")
def list_roles(call: Call) -> Answer:
    """All roles."""
    return Answer(body=[role.payload() for role in call.guild().roles.values()])


@ROUTES.on("GET", "/guilds/{guild_id}/members/{user_id}")
def get_member(call: Call) -> Answer:
    """One member."""
    member = call.guild().members.get(call.id("user_id"))
    if member is None:
        raise unknown("member")
    return Answer(body=member.payload())
