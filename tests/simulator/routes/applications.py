"""The application and its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.errors import missing_access
from tests.simulator.intents import application_flags
from tests.simulator.routing import NOTHING, Answer, Call, Routes

if TYPE_CHECKING:
    from tests.simulator.payloads import Json

ROUTES = Routes()

_GLOBAL = "/applications/{application_id}/commands"
_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"


@ROUTES.on("GET", "/applications/@me")
@ROUTES.on("GET", "/oauth2/applications/@me")
def get_application(call: Call) -> Answer:
    """The application that the bot belongs to."""
    world = call.world
    flags = application_flags(world.gateway.privileged)
    return Answer(
        body={
            "id": str(world.application_id),
            "name": world.bot.name,
            "icon": None,
            "description": "",
            "type": None,
            "bot": world.bot.payload(),
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": flags,
            "flags_new": str(flags),
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "owner": world.owner.payload(),
            "approximate_guild_count": len(world.guilds),
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": ["bot", "applications.commands"],
        }
    )


def _scope(call: Call) -> int | None:
    """The guild in the path, None for the global commands.

    Raises:
        ApiError: another application's commands, or a guild that the bot is not in.
    """
    if call.id("application_id") != call.world.application_id:
        raise missing_access()
    if "guild_id" not in call.params:
        return None
    guild_id = call.id("guild_id")
    if guild_id not in call.world.guilds:
        raise missing_access()
    return guild_id


@ROUTES.on("GET", _GLOBAL)
@ROUTES.on("GET", _GUILD)
def list_commands(call: Call) -> Answer:
    """All commands of a scope."""
    call.world.commands.reads += 1
    return Answer(body=[command.payload() for command in call.world.commands.registered(_scope(call))])


@ROUTES.on("POST", _GLOBAL)
@ROUTES.on("POST", _GUILD)
def create_command(call: Call) -> Answer:
    """Register a command, or replace its namesake."""
    command, new = call.world.commands.create(_scope(call), call.json)
    return Answer(status=201 if new else 200, body=command.payload())


@ROUTES.on("PUT", _GLOBAL)
@ROUTES.on("PUT", _GUILD)
def overwrite_commands(call: Call) -> Answer:
    """Replace all commands of a scope."""
    bodies: list[Json] = call.body or []
    return Answer(body=[command.payload() for command in call.world.commands.overwrite(_scope(call), bodies)])


@ROUTES.on("GET", f"{_GLOBAL}/{{command_id}}")
@ROUTES.on("GET", f"{_GUILD}/{{command_id}}")
def get_command(call: Call) -> Answer:
    """One command."""
    return Answer(body=call.world.commands.get(_scope(call), call.id("command_id")).payload())


@ROUTES.on("PATCH", f"{_GLOBAL}/{{command_id}}")
@ROUTES.on("PATCH", f"{_GUILD}/{{command_id}}")
def edit_command(call: Call) -> Answer:
    """Change a command."""
    return Answer(body=call.world.commands.edit(_scope(call), call.id("command_id"), call.json).payload())


@ROUTES.on("DELETE", f"{_GLOBAL}/{{command_id}}")
@ROUTES.on("DELETE", f"{_GUILD}/{{command_id}}")
def delete_command(call: Call) -> Answer:
    """Remove a command."""
    call.world.commands.delete(_scope(call), call.id("command_id"))
    return NOTHING
