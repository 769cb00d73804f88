"""The registry of commands: what it takes, what it refuses, what it notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.command_rules import CommandKind, command_problems, valid_name
from tests.simulator.errors import Refused
from tests.simulator.permissions import Permission
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.guilds import Guild
    from tests.simulator.server import DiscordSimulator


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


@pytest.fixture
def guild(simulator: DiscordSimulator) -> Guild:
    return simulator.add_guild()


def _scope(simulator: DiscordSimulator, guild: Guild | None = None) -> str:
    middle = f"/guilds/{guild.id}" if guild else ""
    return f"/applications/{simulator.world.application_id}{middle}/commands"


def slash(name: str = "go", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "Go", **more}


def option(name: str = "text", kind: int = 3, **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "description": "An option", **more}


async def test_create_edit_read_delete(simulator: DiscordSimulator, guild: Guild, raw: RawClient) -> None:
    path = _scope(simulator, guild)
    created = await raw.request("POST", path, json=slash(options=[option()], contexts=[0]))
    assert (created.status, created.body["contexts"], created.body["guild_id"]) == (201, None, str(guild.id))
    again = await raw.request("POST", path, json=slash(options=[option()]))
    assert (again.status, again.body["id"], again.body["version"]) == (
        200,
        created.body["id"],
        created.body["version"],
    )
    one = f"{path}/{created.body['id']}"
    edited = await raw.request("PATCH", one, json={"description": "Better"})
    assert (edited.body["description"], edited.body["name"]) == ("Better", "go")
    assert edited.body["version"] != created.body["version"]
    assert (await raw.request("GET", one)).body == edited.body
    assert (await raw.request("GET", path)).body == [edited.body]
    assert (await raw.request("DELETE", one)).status == 204
    assert (await raw.request("DELETE", one)).body["code"] == 10063
    assert [(w.action, w.names) for w in simulator.world.commands.writes] == [
        ("create", ("go",)),
        ("edit", ("go",)),
        ("edit", ("go",)),
        ("delete", ("go",)),
    ]
    assert simulator.world.commands.creates[guild.id] == 1


async def test_overwrite_keeps_ids(simulator: DiscordSimulator, raw: RawClient) -> None:
    path = _scope(simulator)
    first = await raw.request("PUT", path, json=[slash("one"), slash("two"), {"name": "A menu", "type": 3}])
    second = await raw.request("PUT", path, json=[slash("two"), slash("three")])
    assert first.body[1]["id"] == second.body[0]["id"]
    assert simulator.world.commands.names(None) == {"two", "three"}
    assert simulator.world.commands.creates[None] == 4


async def test_limits(simulator: DiscordSimulator, guild: Guild, raw: RawClient) -> None:
    limits = simulator.world.commands.limits
    limits.count[CommandKind.CHAT_INPUT] = 2
    limits.creates_a_day = 3
    path = _scope(simulator, guild)
    for name in ("a", "b"):
        assert (await raw.request("POST", path, json=slash(name))).status == 201
    assert (await raw.request("POST", path, json=slash("c"))).body["code"] == 30032
    await raw.request("PUT", path, json=[])
    assert (await raw.request("POST", path, json=slash("d"))).status == 201
    assert (await raw.request("POST", path, json=slash("e"))).body["code"] == 30034
    assert (await raw.request("GET", _scope(simulator).replace("/commands", "/guilds/17/commands"))).status == 403


@pytest.mark.parametrize(
    "command",
    [
        slash("With Space"),
        slash("UPPER"),
        slash("x" * 33),
        slash(description=""),
        slash(options=[option("a"), option("a")]),
        slash(options=[option("a"), option("b", required=True)]),
        slash(options=[option("Bad Name")]),
        slash(options=[option(f"o{n}") for n in range(26)]),
        slash(options=[option(choices=[{"name": "x", "value": "1"}, {"name": "x", "value": "2"}])]),
        slash(options=[option(choices=[{"name": "x", "value": "1"}], autocomplete=True)]),
        slash(options=[option("sub", 1), option("text")]),
        slash(options=[option("group", 2, options=[option("group", 2)])]),
        slash(options=[option("clip", 11, min_length=3)]),
        slash(
            options=[
                option(f"o{n}", choices=[{"name": str(c) * 40, "value": "v" * 90} for c in range(9)]) for n in range(8)
            ]
        ),
        {"name": "A menu", "type": 3, "description": "not here"},
    ],
)
async def test_malformed_commands_are_refused(
    simulator: DiscordSimulator, guild: Guild, raw: RawClient, command: dict[str, Any]
) -> None:
    assert list(command_problems(command))
    answer = await raw.request("POST", _scope(simulator, guild), json=command)
    assert (answer.status, answer.body["code"]) == (400, 50035)
    answer = await raw.request("PUT", _scope(simulator, guild), json=[slash("fine"), command])
    assert answer.status == 400
    assert len(simulator.take_violations()) == 2
    assert simulator.world.commands.writes == []


def test_names() -> None:
    assert all(valid_name(name) for name in ("go", "résumé", "要約", "mode-reload", "it's", "हिन्दी", "x" * 32))
    assert not any(valid_name(name) for name in ("", "Go", "a b", "a/b", "😀", "x" * 33))


async def test_members_see_what_they_may_use(simulator: DiscordSimulator, guild: Guild, raw: RawClient) -> None:
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    moderator = guild.add_member("mo", roles=[guild.add_role("mod", permissions=Permission.MANAGE_GUILD)])
    admin = guild.add_member("al", roles=[guild.add_role("admin", permissions=Permission.ADMINISTRATOR)])
    path = _scope(simulator, guild)
    await raw.request("POST", path, json=slash("mod", default_member_permissions=int(Permission.MANAGE_GUILD)))
    await raw.request("POST", path, json=slash("admin", default_member_permissions=0))
    await raw.request("POST", path, json=slash("mode", options=[option("reload", 1, options=[option("name")])]))
    await raw.request("POST", _scope(simulator), json=slash("far", contexts=[1]))
    for name in ("mod", "admin"):
        with pytest.raises(Refused, match="lacks the permissions"):
            await ada.slash(channel, name)
    await moderator.slash(channel, "mod")
    with pytest.raises(Refused, match="lacks the permissions"):
        await moderator.slash(channel, "admin")
    await admin.slash(channel, "admin")
    with pytest.raises(Refused, match="sub-commands"):
        await ada.slash(channel, "mode")
    nested = await ada.slash(channel, "mode reload", name="x")
    assert nested.payload["data"]["options"][0]["options"] == [{"type": 3, "name": "name", "value": "x"}]
    with pytest.raises(Refused, match="cannot be used there"):
        await ada.slash(channel, "far")
    await raw.request("POST", _scope(simulator), json=slash("mod"))
    with pytest.raises(Refused, match="twice"):
        await moderator.slash(channel, "mod")


async def test_options_of_every_kind(simulator: DiscordSimulator, guild: Guild, raw: RawClient) -> None:
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    role = guild.add_role("crew")
    file = simulator.cdn.upload("a.ogg", b"1")
    options = [
        option("word", 3, choices=[{"name": "One", "value": "one"}]),
        option("count", 4, min_value=1, max_value=5),
        option("flag", 5),
        option("who", 6),
        option("where", 7),
        option("role", 8),
        option("any", 9),
        option("ratio", 10),
        option("file", 11),
    ]
    await raw.request("POST", _scope(simulator, guild), json=slash(options=options))
    used = await ada.slash(
        channel,
        "go",
        word="one",
        count=3,
        flag=True,
        who=ada.user,
        where=channel,
        role=role,
        any=ada.user,
        ratio=0.5,
        file=file,
    )
    resolved = used.payload["data"]["resolved"]
    assert set(resolved) == {"users", "members", "channels", "roles", "attachments"}
    assert resolved["attachments"][str(file.id)]["ephemeral"] is True
    wrongs: list[dict[str, Any]] = [
        {"word": "two"},
        {"count": 6},
        {"count": True},
        {"ratio": "x"},
        {"who": role},
        {"file": "a.ogg"},
    ]
    for wrong in wrongs:
        with pytest.raises(Refused):
            await ada.slash(channel, "go", **wrong)
