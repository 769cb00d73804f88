"""Who would be pinged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.mentions import Pings, allowed, mentioned
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from tests.simulator.server import DiscordSimulator

EVERYBODY = Pings(users=frozenset({1, 2}), roles=frozenset({3}), everyone=True)


def test_mentions_are_found_outside_of_code() -> None:
    assert mentioned("<@1> <@!2> <@&3> @everyone") == EVERYBODY
    assert mentioned("@here").everyone
    assert not mentioned("`<@1>` ```\n@everyone\n``` someone@everyonelse <@> <@&x> <#5>")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, Pings(users=frozenset({1, 2, 9}), roles=frozenset({3}), everyone=True)),
        ({"parse": []}, Pings()),
        ({}, Pings()),
        ({"parse": ["users"]}, Pings(users=frozenset({1, 2}))),
        ({"parse": ["roles", "everyone"]}, Pings(roles=frozenset({3}), everyone=True)),
        ({"users": ["1"], "roles": ["4"]}, Pings(users=frozenset({1}))),
        ({"replied_user": True}, Pings(users=frozenset({9}))),
    ],
)
def test_allowed_mentions(rules: dict[str, Any] | None, expected: Pings) -> None:
    assert allowed(EVERYBODY, rules, replied_to=9, everyone_permitted=True) == expected


async def test_pings_of_posted_edited_and_replied_messages(simulator: DiscordSimulator) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    loud, quiet = guild.add_role("loud", mentionable=True), guild.add_role("quiet")
    asked = channel.post(ada, "what?")
    path = f"/channels/{channel.id}/messages"
    async with RawClient(simulator) as raw:
        text = f"{ada.mention} {loud.mention} {quiet.mention} @everyone"
        await raw.request("POST", path, json={"content": text})
        await raw.request("POST", path, json={"content": text, "allowed_mentions": {"parse": []}})
        reply = {"content": "so", "message_reference": {"message_id": str(asked.id)}}
        await raw.request("POST", path, json=reply)
        silent = await raw.request("POST", path, json=reply | {"allowed_mentions": {"replied_user": False}})
        await raw.request("PATCH", f"{path}/{silent.body['id']}", json={"content": ada.mention})
        bodies = (await raw.request("GET", path)).body
    _, plain, hushed, replied, edited = channel.visible
    assert plain.pinged == Pings(users=frozenset({ada.id}), roles=frozenset({loud.id})), "the bot may not ping everyone"
    assert not hushed.pinged
    assert replied.pinged == Pings(users=frozenset({ada.id}))
    assert edited.pinged.users == {ada.id}, "by its edit"
    assert edited.versions[0].content == "so"
    assert bodies[0]["referenced_message"]["content"] == "", "without the privilege, of replies too"
