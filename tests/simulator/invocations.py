"""What a member puts into a command, in the form in which the bot gets it.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.simulator.cdn import Attachment
from tests.simulator.channels import Channel
from tests.simulator.command_rules import NESTING, CommandKind, OptionKind
from tests.simulator.commands import GUILD_INSTALL, USER_INSTALL
from tests.simulator.errors import Refused
from tests.simulator.payloads import items
from tests.simulator.permissions import ALL, Permission
from tests.simulator.users import Role, User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulator.commands import Command
    from tests.simulator.memberships import Membership
    from tests.simulator.payloads import Json


def find_command(member: Membership, channel: Channel, kind: CommandKind, name: str) -> Command:
    """The command that the member sees under that name.

    Raises:
        Refused: there is none, there are two, or the member may not use it there.
    """
    visible = member.world.commands.visible_to(member.user, channel.guild)
    found = [command for command in visible if command.kind is kind and command.name == name]
    if not found:
        raise Refused(f"no {kind.name} command {name!r}; there are {sorted(c.name for c in visible)}")
    if len(found) > 1:
        raise Refused(f"members see {name!r} twice: it is registered in both scopes")
    command = found[0]
    context = 0 if channel.guild else 1
    if context not in command.contexts:
        raise Refused(f"{name!r} cannot be used there (contexts {command.contexts})")
    _check_permissions(member, channel, command)
    return command


def _check_permissions(member: Membership, channel: Channel, command: Command) -> None:
    if channel.guild is None:
        return
    held = member.permissions_in(channel)
    if not held & Permission.USE_APPLICATION_COMMANDS:
        raise Refused(f"{member.user.name} may not use commands in #{channel.name}")
    if command.shown_to & {role.id for role in member.roles}:
        return
    needed = command.default_member_permissions
    # None in the set (0) means: administrators only.
    if needed is not None and held != ALL and (needed == 0 or held & needed != needed):
        raise Refused(f"{member.user.name} lacks the permissions of {command.name!r}")


def owners(member: Membership, channel: Channel, command: Command) -> Json:
    """On whose behalf a command is there: the guild that installed it, the user who did, or both."""
    guild = channel.guild
    if guild is None:
        return {"0": "0"}
    ids = {GUILD_INSTALL: guild.id, USER_INSTALL: member.id}
    used = member.world.commands.installed(member.user, guild) & set(command.installs)
    return {str(kind): str(ids[kind]) for kind in sorted(used)}


class Resolver:
    """Collects what options and targets refer to: users, members, channels, roles, files, messages."""

    def __init__(self, member: Membership, channel: Channel) -> None:
        self._member = member
        self._channel = channel
        self._found: dict[str, Json] = {}

    @property
    def resolved(self) -> Json:
        """The ``resolved`` object."""
        return self._found

    def add(self, kind: str, key: int, payload: Json) -> str:
        """Note one thing; gives its id as it stands in the option's value."""
        self._found.setdefault(kind, {})[str(key)] = payload
        return str(key)

    def user(self, user: User) -> str:
        """Note a user, and what they are in the guild."""
        guild = self._channel.guild
        if guild is not None and user.id in guild.members:
            member = guild.members[user.id]
            payload = member.payload_without_user() | {"permissions": str(member.permissions_in(self._channel))}
            del payload["mute"], payload["deaf"]
            self.add("members", user.id, payload)
        return self.add("users", user.id, user.payload())

    def channel(self, channel: Channel) -> str:
        """Note a channel."""
        return self.add("channels", channel.id, channel.partial_payload(self._member))

    def value(self, option: Json, given: object) -> Any:
        """The value of an option as the bot gets it.

        Raises:
            Refused: Discord's client would not accept it.
        """
        kind = OptionKind(option["type"])
        if kind in _REFERENCES and isinstance(given, _REFERENCES[kind]):
            if isinstance(given, Channel) and given.kind not in items(option.get("channel_types") or [given.kind]):
                raise Refused(f"option {option['name']!r} takes no {given.kind.name} channel")
            return self._reference(given)
        plain = isinstance(given, _PLAIN.get(kind, ()))
        if not plain or (isinstance(given, bool) and kind is not OptionKind.BOOLEAN):
            raise Refused(f"option {option['name']!r} takes a {kind.name}, not {given!r}")
        return _checked(option, given)

    def _reference(self, given: object) -> str:
        match given:
            case Attachment():
                # What is uploaded into an option belongs to no message: it lies apart, and is gone sooner.
                return self.add("attachments", given.id, replace(given, ephemeral=True).payload())
            case Channel():
                return self.channel(given)
            case Role():
                return self.add("roles", given.id, given.payload())
            case _:
                assert isinstance(given, User)
                return self.user(given)


_REFERENCES: dict[OptionKind, type | tuple[type, ...]] = {
    OptionKind.ATTACHMENT: Attachment,
    OptionKind.CHANNEL: Channel,
    OptionKind.ROLE: Role,
    OptionKind.USER: User,
    OptionKind.MENTIONABLE: (User, Role),
}
_PLAIN: dict[OptionKind, type | tuple[type, ...]] = {
    OptionKind.STRING: str,
    OptionKind.INTEGER: int,
    OptionKind.NUMBER: (int, float),
    OptionKind.BOOLEAN: bool,
}


def _checked(option: Json, given: Any) -> Any:
    if isinstance(given, str):
        return _checked_text(option, given)
    return given if isinstance(given, bool) else _checked_number(option, given)


def _checked_text(option: Json, given: str) -> str:
    low, high = option.get("min_length") or 0, option.get("max_length") or 6_000
    if not low <= len(given) <= high:
        raise Refused(f"option {option['name']!r} takes {low} to {high} characters, not {len(given)}")
    return _checked_choice(option, given)


def _checked_number(option: Json, given: float) -> float:
    low, high = option.get("min_value"), option.get("max_value")
    if (low is not None and given < low) or (high is not None and given > high):
        raise Refused(f"option {option['name']!r} takes {low} to {high}, not {given}")
    return _checked_choice(option, given)


def _checked_choice(option: Json, given: Any) -> Any:
    values = [choice["value"] for choice in items(option.get("choices"))]
    if values and given not in values:
        raise Refused(f"option {option['name']!r} takes one of {values}, not {given!r}")
    return given


def slash_options(
    command: Command,
    path: Sequence[str],
    given: Mapping[str, object],
    resolver: Resolver,
    *,
    focused: str | None = None,
) -> list[Json]:
    """The ``options`` of a slash command's data.

    Args:
        command: the command.
        path: names of the sub-command group and the sub-command, where there are.
        given: values by option name.
        resolver: notes what the values refer to.
        focused: the option that the member is typing into (autocompletion): it and the missing ones are not checked.

    Raises:
        Refused: a required option is missing, one is unknown, or a value does not fit.
    """
    return _level(command.options, list(path), dict(given), resolver, focused)


def _level(
    options: Sequence[Json], path: list[str], given: dict[str, object], resolver: Resolver, focused: str | None
) -> list[Json]:
    by_name: dict[str, Json] = {option["name"]: option for option in options}
    if path:
        option = by_name.get(path[0])
        if option is None or option["type"] not in NESTING:
            raise Refused(f"no sub-command {path[0]!r}; there are {sorted(by_name)}")
        inner = _level(items(option.get("options")), path[1:], given, resolver, focused)
        return [{"type": option["type"], "name": option["name"], "options": inner}]
    if any(option["type"] in NESTING for option in options):
        raise Refused(f"one of the sub-commands {sorted(by_name)} has to be named")
    if unknown := sorted(given.keys() - by_name.keys()):
        raise Refused(f"no option {unknown}; there are {sorted(by_name)}")
    missing = [name for name, option in by_name.items() if option.get("required") and name not in given]
    if missing and focused is None:
        raise Refused(f"required options are missing: {missing}")
    return [_option(by_name[name], value, resolver, name == focused) for name, value in given.items()]


def _option(option: Json, given: object, resolver: Resolver, focused: bool) -> Json:
    common = {"type": option["type"], "name": option["name"]}
    if not focused:
        return common | {"value": resolver.value(option, given)}
    if not option.get("autocomplete"):
        raise Refused(f"option {option['name']!r} does not complete")
    # While it is being typed, a value is text whatever the option's type.
    return common | {"value": str(given), "focused": True}
