"""The application's commands: global ones and those of each guild.

Source: https://discord.com/developers/docs/interactions/application-commands#registering-a-command
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.simulator.command_rules import CommandKind, command_problems
from tests.simulator.errors import ApiError, FormProblem, invalid_form, unknown
from tests.simulator.payloads import without_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulator.guilds import Guild
    from tests.simulator.payloads import Json
    from tests.simulator.users import Role, User
    from tests.simulator.world import World

GUILD_INSTALL, USER_INSTALL = 0, 1
_GLOBAL_ONLY = ("contexts", "integration_types")
_SETTABLE = (
    "name_localizations",
    "description_localizations",
    "options",
    "default_member_permissions",
    "contexts",
    "integration_types",
)


@dataclass(eq=False, kw_only=True)
class Command:
    """A registered command; ``guild_id`` is None for a global one.

    ``shown_to`` are roles that may use it whatever permissions it asks for, as Server Settings → Integrations has it.
    """

    id: int
    version: int
    application_id: int
    guild_id: int | None
    kind: CommandKind
    name: str
    description: str = ""
    settings: Json = field(default_factory=dict[str, Any])
    shown_to: set[int] = field(default_factory=set[int])

    @property
    def options(self) -> list[Json]:
        """Its options, as they were sent."""
        return self.settings.get("options") or []

    @property
    def default_member_permissions(self) -> int | None:
        """Which permissions a member needs; None where all may use it."""
        bits = self.settings.get("default_member_permissions")
        return None if bits is None else int(bits)

    @property
    def contexts(self) -> list[int]:
        """Where it can be used: 0 guilds, 1 conversation with the bot, 2 other private channels."""
        contexts = self.settings.get("contexts")
        return [0, 1, 2] if contexts is None else contexts

    @property
    def installs(self) -> list[int]:
        """Whose installation brings it along: 0 a guild's, 1 a user's."""
        return self.settings.get("integration_types") or [GUILD_INSTALL]

    def payload(self) -> Json:
        """As the API shows it."""
        bits = self.default_member_permissions
        return {
            **without_none({key: self.settings.get(key) for key in ("options", "integration_types")}),
            **({} if self.guild_id is None else {"guild_id": str(self.guild_id)}),
            "id": str(self.id),
            "application_id": str(self.application_id),
            "version": str(self.version),
            "type": int(self.kind),
            "name": self.name,
            "name_localizations": self.settings.get("name_localizations"),
            "description": self.description,
            "description_localizations": self.settings.get("description_localizations"),
            "default_member_permissions": None if bits is None else str(bits),
            "contexts": self.settings.get("contexts"),
            "nsfw": bool(self.settings.get("nsfw")),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWrite:
    """One write that the bot made. ``at`` is the clock's monotonic time in seconds."""

    at: float
    action: Literal["create", "edit", "delete", "overwrite"]
    guild_id: int | None
    names: tuple[str, ...]


@dataclass(kw_only=True)
class CommandLimits:
    """How many commands of each kind a scope holds, and how many a day can be created there."""

    count: dict[CommandKind, int] = field(
        default_factory=lambda: {CommandKind.CHAT_INPUT: 100, CommandKind.USER: 15, CommandKind.MESSAGE: 15}
    )
    creates_a_day: int = 200


class Commands:
    """The registry. ``writes`` holds every write, so that a test can say that there was none.

    A scope is a guild's id, or None for the global commands.
    """

    def __init__(self, world: World) -> None:
        self.limits = CommandLimits()
        self.writes: list[CommandWrite] = []
        self.reads = 0
        self.creates: Counter[int | None] = Counter()
        self._world = world
        self._scopes: dict[int | None, dict[int, Command]] = {}

    def registered(self, guild_id: int | None) -> list[Command]:
        """The commands of one scope."""
        return list(self._scopes.get(guild_id, {}).values())

    def visible(self, guild_id: int | None) -> list[Command]:
        """What members of a guild see: its own commands and the global ones."""
        return [*self.registered(None), *(self.registered(guild_id) if guild_id is not None else [])]

    def visible_to(self, user: User, guild: Guild | None) -> list[Command]:
        """What somebody sees there: by the guild's installation, by their own, or by both."""
        if guild is None:
            return self.visible(None)
        found = self.visible(guild.id) if guild.has_bot else self.registered(None)
        return [command for command in found if self.installed(user, guild) & set(command.installs)]

    def installed(self, user: User, guild: Guild) -> set[int]:
        """Which installations there are for somebody in a guild."""
        by_user = {USER_INSTALL} if user in self._world.installers else set[int]()
        return by_user | ({GUILD_INSTALL} if guild.has_bot else set[int]())

    def show_to(self, guild_id: int, name: str, role: Role) -> None:
        """An admin shows a guild's command to a role, whatever permissions it asks for."""
        for command in self.registered(guild_id):
            if command.name == name:
                command.shown_to.add(role.id)

    def names(self, guild_id: int | None) -> set[str]:
        """The names of what members of a guild see."""
        return {command.name for command in self.visible(guild_id)}

    def get(self, guild_id: int | None, command_id: int) -> Command:
        """One command.

        Raises:
            ApiError: there is none of that id.
        """
        try:
            return self._scopes[guild_id][command_id]
        except KeyError:
            raise unknown("application command") from None

    def create(self, guild_id: int | None, body: Json) -> tuple[Command, bool]:
        """Register a command, or replace the one of the same name and kind. Tells whether it is new.

        Raises:
            ApiError: Discord would refuse it.
        """
        self._check([body])
        command, new = self._put(guild_id, body)
        self._log("create" if new else "edit", guild_id, (command.name,))
        return command, new

    def edit(self, guild_id: int | None, command_id: int, body: Json) -> Command:
        """Change what ``body`` names.

        Raises:
            ApiError: Discord would refuse it.
        """
        command = self.get(guild_id, command_id)
        merged = {**command.settings, "type": command.kind, "name": command.name, "description": command.description}
        merged |= body
        self._check([merged])
        namesake = self._namesake(guild_id, merged)
        if namesake is not None and namesake is not command:
            raise ApiError(400, 50035, "Application command names must be unique", [_duplicate(())])
        self._fill(command, merged)
        self._log("edit", guild_id, (command.name,))
        return command

    def delete(self, guild_id: int | None, command_id: int) -> None:
        """Remove a command.

        Raises:
            ApiError: there is none of that id.
        """
        command = self.get(guild_id, command_id)
        del self._scopes[guild_id][command_id]
        self._log("delete", guild_id, (command.name,))

    def overwrite(self, guild_id: int | None, bodies: Sequence[Json]) -> list[Command]:
        """Replace a whole scope; commands of the same name and kind keep their ids.

        Raises:
            ApiError: Discord would refuse one of them.
        """
        self._check(bodies)
        keys = [_key(body) for body in bodies]
        duplicates = [index for index, key in enumerate(keys) if key in keys[:index]]
        if duplicates:
            raise invalid_form([_duplicate((index, "name")) for index in duplicates])
        for command in self.registered(guild_id):
            if (command.kind, command.name) not in keys:
                del self._scopes[guild_id][command.id]
        commands = [self._put(guild_id, body)[0] for body in bodies]
        self._log("overwrite", guild_id, tuple(command.name for command in commands))
        return commands

    def _check(self, bodies: Sequence[Json]) -> None:
        """All of ``bodies``; with several, problems are named by their place in the list."""
        several = len(bodies) > 1
        problems = [
            FormProblem(path=(index, *p.path) if several else p.path, code=p.code, message=p.message)
            for index, body in enumerate(bodies)
            for p in command_problems(body)
        ]
        if problems:
            raise invalid_form(problems)

    def _put(self, guild_id: int | None, body: Json) -> tuple[Command, bool]:
        existing = self._namesake(guild_id, body)
        if existing is not None:
            self._fill(existing, body)
            return existing, False
        kind = CommandKind(body.get("type") or CommandKind.CHAT_INPUT)
        present = sum(command.kind is kind for command in self.registered(guild_id))
        if present >= self.limits.count[kind]:
            limit = self.limits.count[kind]
            raise ApiError(400, 30032, f"Maximum number of application commands reached ({limit}).")
        if self.creates[guild_id] >= self.limits.creates_a_day:
            limit = self.limits.creates_a_day
            raise ApiError(400, 30034, f"Max number of daily application command creates has been reached ({limit})")
        self.creates[guild_id] += 1
        command = Command(
            id=self._world.ids.next(),
            version=0,
            application_id=self._world.application_id,
            guild_id=guild_id,
            kind=kind,
            name=body["name"],
        )
        self._fill(command, body)
        self._scopes.setdefault(guild_id, {})[command.id] = command
        return command, True

    def _namesake(self, guild_id: int | None, body: Json) -> Command | None:
        key = _key(body)
        return next((c for c in self.registered(guild_id) if (c.kind, c.name) == key), None)

    def _fill(self, command: Command, body: Json) -> None:
        settings = {key: body[key] for key in (*_SETTABLE, "nsfw") if body.get(key) is not None}
        if command.guild_id is not None:
            for key in _GLOBAL_ONLY:
                settings.pop(key, None)
        changed = (command.name, command.description, command.settings) != (
            body["name"],
            body.get("description") or "",
            settings,
        )
        command.name, command.description, command.settings = body["name"], body.get("description") or "", settings
        if changed or not command.version:
            command.version = self._world.ids.next()

    def _log(
        self, action: Literal["create", "edit", "delete", "overwrite"], guild_id: int | None, names: tuple[str, ...]
    ) -> None:
        at = self._world.clock.monotonic()
        self.writes.append(CommandWrite(at=at, action=action, guild_id=guild_id, names=names))
        self._world.changes.notify()


def _key(body: Json) -> tuple[CommandKind, str]:
    return CommandKind(body.get("type") or CommandKind.CHAT_INPUT), body["name"]


def _duplicate(path: tuple[str | int, ...]) -> FormProblem:
    return FormProblem(
        path=path,
        code="APPLICATION_COMMANDS_DUPLICATE_NAME",
        message="Application command names must be unique",
    )
