"""The HTTP API: rate limits, faults, what is refused, what is noted."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import pytest

from tests.simulator.clients import connected, make_client
from tests.simulator.intents import Intent
from tests.simulator.permissions import Overwrite, Permission
from tests.simulator.raw import RawClient
from tests.simulator.world import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.channels import Channel
    from tests.simulator.server import DiscordSimulator

POST = "/channels/{channel_id}/messages"
EDIT = "/channels/{channel_id}/messages/{message_id}"


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


@pytest.fixture
def channel(simulator: DiscordSimulator) -> Channel:
    return simulator.add_guild().add_text_channel("general")


def _target(client: discord.Client, channel: Channel) -> discord.TextChannel:
    found = client.get_channel(channel.id)
    assert isinstance(found, discord.TextChannel)
    return found


async def test_buckets_are_honoured_by_discord_py(simulator: DiscordSimulator, channel: Channel) -> None:
    simulator.rest.rate_limits.set("PATCH", EDIT, requests=2, seconds=0.4)
    async with connected(make_client(simulator)) as client:
        message = await _target(client, channel).send("0")
        for n in range(1, 6):
            await message.edit(content=str(n))
    edits = simulator.rest.log.matching("PATCH", EDIT)
    assert [edit.status for edit in edits] == [200] * 5
    assert edits[-1].at - edits[0].at >= 0.75
    assert simulator.rest.rate_limits.hits == 0
    assert [version.content for version in channel.visible[0].versions] == list("012345")
    assert len(simulator.rest.log.gaps(edits)) == 4


async def test_forced_429_is_waited_for(simulator: DiscordSimulator, channel: Channel) -> None:
    simulator.rest.faults.rate_limit("POST", POST, times=2, retry_after_s=0.15)
    async with connected(make_client(simulator)) as client:
        await _target(client, channel).send("patience")
    posts = simulator.rest.log.matching("POST", POST)
    assert [post.status for post in posts] == [429, 429, 200]
    assert all(gap >= 0.15 for gap in simulator.rest.log.gaps(posts))
    assert len(channel.visible) == 1


async def test_real_429_has_discords_form(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    simulator.rest.rate_limits.set("POST", POST, requests=1, seconds=5)
    path = f"/channels/{channel.id}/messages"
    first = await raw.request("POST", path, json={"content": "1"})
    second = await raw.request("POST", path, json={"content": "2"})
    other = await raw.request("GET", path)
    assert (first.status, first.headers["X-RateLimit-Remaining"]) == (200, "0")
    assert (second.status, second.headers["Retry-After"], second.headers["X-RateLimit-Scope"]) == (429, "5", "user")
    assert 4 < second.body["retry_after"] <= 5
    assert second.body["global"] is False
    assert other.headers["X-RateLimit-Bucket"] != first.headers["X-RateLimit-Bucket"]
    simulator.clock.advance(5)
    assert (await raw.request("POST", path, json={"content": "3"})).status == 200


async def test_global_limit(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    answers = await asyncio.gather(*(raw.request("GET", f"/channels/{channel.id}") for _ in range(60)))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 10
    assert all(answer.body["global"] or answer.headers["X-RateLimit-Scope"] == "user" for answer in refused)


async def test_faults(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    path = f"/channels/{channel.id}/messages"
    faults = simulator.rest.faults
    faults.fail("POST", POST, status=503)
    assert (await raw.request("POST", path, json={"content": "1"})).status == 503
    faults.drop("POST", POST)
    with pytest.raises(aiohttp.ClientError):
        await raw.request("POST", path, json={"content": "2"})
    faults.drop("POST", POST, carried_out=True)
    with pytest.raises(aiohttp.ClientError):
        await raw.request("POST", path, json={"content": "3"})
    faults.delay("POST", POST, seconds=0.1)
    await raw.request("POST", path, json={"content": "4"})
    assert [message.content for message in channel.visible] == ["3", "4"]
    last = simulator.rest.log.matching("POST", POST)[-1]
    assert last.answered_at is not None
    assert last.answered_at - last.at >= 0.1


def test_routes_that_do_not_exist_cannot_be_asked_about(simulator: DiscordSimulator) -> None:
    for use in (
        lambda: simulator.rest.log.matching("PATCH", "/channels/{id}/messages"),
        lambda: simulator.rest.faults.fail("POST", "/channels/1/messages"),
        lambda: simulator.rest.rate_limits.set("PUT", POST, requests=1, seconds=1),
    ):
        with pytest.raises(ValueError, match="no route"):
            use()
    assert simulator.rest.log.matching() == simulator.rest.log.matching("POST", POST) == []


async def test_nonce_is_enforced(channel: Channel, raw: RawClient, simulator: DiscordSimulator) -> None:
    path = f"/channels/{channel.id}/messages"
    body = {"content": "once", "nonce": "request-1", "enforce_nonce": True}
    first = await raw.request("POST", path, json=body)
    second = await raw.request("POST", path, json=body)
    assert first.body["id"] == second.body["id"]
    assert len(channel.visible) == 1
    simulator.clock.advance(10 * 60)
    await raw.request("POST", path, json=body)
    assert len(channel.visible) == 2


async def test_unknown_routes_and_wrong_tokens(simulator: DiscordSimulator, raw: RawClient) -> None:
    answer = await raw.request("POST", "/guilds/1/prune")
    assert (answer.status, answer.body) == (404, {"message": "404: Not Found", "code": 0})
    assert simulator.take_unknown() == ["POST /api/v10/guilds/1/prune → 404"]
    async with RawClient(simulator, token="wrong") as stranger:
        assert (await stranger.request("GET", "/users/@me")).status == 401


ROW: dict[str, Any] = {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "same"}]}
MENU: dict[str, Any] = {
    "type": 3,
    "custom_id": "menu",
    "options": [{"label": str(n), "value": str(n)} for n in range(26)],
}
V2 = 1 << 15


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"content": "x" * 2001}, "content"),
    ({"content": "x", "components": [{"type": 1, "components": [MENU]}]}, "components"),
    ({"embeds": [{"title": "x" * 257}]}, "embeds"),
    ({"embeds": [{"description": "x" * 4097}]}, "embeds"),
    ({"embeds": [{"footer": {"text": "x" * 2049}}]}, "embeds"),
    ({"embeds": [{"fields": [{"name": "n", "value": "x" * 1025}]}]}, "embeds"),
    ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds"),
    ({"embeds": [{"description": "x" * 3500}, {"description": "x" * 2600}]}, "embeds"),
    ({"embeds": [{"fields": [{"name": " ", "value": "x"}]}]}, "embeds"),
    ({"embeds": [{"description": "x"}] * 11}, "embeds"),
    ({"content": "x", "components": [ROW, ROW]}, "components"),
    ({"content": "x", "components": [ROW] * 6}, "components"),
    ({"content": "x", "components": [{"type": 1, "components": []}]}, "components"),
    ({"content": "x", "components": [{"type": 10, "content": "x"}]}, "components"),
    (
        {"content": "x", "components": [{"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "a"}]}]},
        "components",
    ),
    (
        {
            "content": "x",
            "components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "a" * 101}]}],
        },
        "components",
    ),
    ({"flags": V2, "content": "x", "components": [{"type": 10, "content": "x"}]}, "content"),
    ({"flags": V2, "components": [{"type": 10, "content": "x"}] * 41}, "components"),
    ({"flags": V2, "components": [{"type": 10, "content": "x" * 2500}] * 2}, "components"),
    ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions"),
    ({"content": "x", "attachments": [{"id": 0, "filename": "a.txt"}]}, "attachments"),
    ({"content": "x", "message_reference": {"message_id": "1"}}, "message_reference"),
]


@pytest.mark.parametrize(("body", "where"), MALFORMED)
async def test_malformed_messages_are_violations(
    simulator: DiscordSimulator, channel: Channel, raw: RawClient, body: dict[str, Any], where: str
) -> None:
    answer = await raw.request("POST", f"/channels/{channel.id}/messages", json=body)
    assert (answer.status, answer.body["code"]) == (400, 50035)
    (violation,) = simulator.take_violations()
    assert violation.body == body
    assert str(violation.problems[0].path[0]) == where
    assert where in answer.body["errors"]
    assert channel.visible == []


async def test_violation_fails_the_test(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    await raw.request("POST", f"/channels/{channel.id}/messages", json={"content": "x" * 2001})
    await raw.request("GET", "/nowhere")
    with pytest.raises(AssertionError, match=r"Discord refuses: POST /channels(.|\n)*does not know: GET /api/v10/nowh"):
        simulator.check()
    simulator.take_violations()
    simulator.take_unknown()


async def test_empty_and_unreadable_messages(channel: Channel, raw: RawClient) -> None:
    path = f"/channels/{channel.id}/messages"
    bodies: list[dict[str, Any]] = [{}, {"content": "  \n", "embeds": []}]
    for body in bodies:
        answer = await raw.request("POST", path, json=body)
        assert (answer.status, answer.body["code"]) == (400, 50006), body
    for nonsense in (b"{", b"\xff\xfe", b"[" * 100_000):
        payload = aiohttp.BytesPayload(nonsense, content_type="application/json")
        answer = await raw.request("POST", path, data=payload)
        assert (answer.status, answer.body["code"]) == (400, 50109), nonsense[:10]


async def test_uploads_and_their_limit(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    def form(size: int) -> aiohttp.FormData:
        data = aiohttp.FormData(quote_fields=False)
        data.add_field(
            "payload_json",
            '{"content": "", "attachments": [{"id": 0, "description": "a file"}],'
            ' "embeds": [{"image": {"url": "attachment://a.bin"}}]}',
            content_type="application/json",
        )
        data.add_field("files[0]", io.BytesIO(b"x" * size), filename="a.bin", content_type="application/octet-stream")
        return data

    path = f"/channels/{channel.id}/messages"
    simulator.world.limits.upload_bytes = MEBIBYTE
    refused = await raw.request("POST", path, data=form(MEBIBYTE + 1))
    assert (refused.status, refused.body["code"]) == (413, 40005)
    accepted = await raw.request("POST", path, data=form(MEBIBYTE))
    (file,) = accepted.body["attachments"]
    assert (file["filename"], file["size"], file["description"]) == ("a.bin", MEBIBYTE, "a file")
    assert accepted.body["embeds"][0]["image"]["url"] == file["url"]
    assert (await raw.download(file["url"])).body == b"x" * MEBIBYTE
    kept = await raw.request("PATCH", f"{path}/{accepted.body['id']}", json={"content": "new"})
    assert [f["id"] for f in kept.body["attachments"]] == [file["id"]]
    removed = await raw.request("PATCH", f"{path}/{accepted.body['id']}", json={"attachments": [], "embeds": []})
    assert removed.body["attachments"] == []


async def test_permissions(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    hidden = guild.add_text_channel("hidden", overwrites=[Overwrite(target_id=guild.id, deny=Permission.VIEW_CHANNEL)])
    mute = guild.add_text_channel("mute", overwrites=[Overwrite(target_id=guild.id, deny=Permission.SEND_MESSAGES)])
    theirs = mute.post(guild.add_member("ada"), "mine")
    wanted = {
        ("POST", f"/channels/{hidden.id}/messages"): (403, 50001),
        ("POST", f"/channels/{mute.id}/messages"): (403, 50013),
        ("POST", "/channels/17/messages"): (404, 10003),
        ("PATCH", f"/channels/{mute.id}/messages/{theirs.id}"): (403, 50005),
        ("PATCH", f"/channels/{mute.id}/messages/17"): (404, 10008),
    }
    for (method, path), expected in wanted.items():
        answer = await raw.request(method, path, json={"content": "x"})
        assert (answer.status, answer.body["code"]) == expected, path
    assert (await raw.request("DELETE", f"/channels/{mute.id}/messages/{theirs.id}")).status == 403
    assert (await raw.request("DELETE", f"/channels/{mute.id}")).status == 404
    assert len(simulator.take_unknown()) == 1


async def test_reading_guilds_users_and_channels(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    guild.add_voice_channel("talk")
    ada = guild.add_member("ada", roles=[guild.add_role("crew")])
    message = channel.post(ada, "hello")
    simulator.gateway.privileged = Intent.MESSAGE_CONTENT
    reading: dict[str, str] = {
        f"/guilds/{guild.id}/channels": "talk",
        f"/guilds/{guild.id}/roles": "crew",
        f"/guilds/{guild.id}/members/{ada.id}": "ada",
        f"/users/{ada.id}": "ada",
        f"/channels/{channel.id}": "general",
        f"/channels/{channel.id}/messages": "hello",
        f"/channels/{channel.id}/messages/{message.id}": "hello",
        "/gateway": "wss://gateway.discord.gg",
    }
    for path, expected in reading.items():
        answer = await raw.request("GET", path)
        assert answer.status == 200, path
        assert f'"{expected}"' in json.dumps(answer.body), path
    for path in (f"/guilds/{guild.id}/members/17", "/users/17", "/guilds/17/roles"):
        assert (await raw.request("GET", path)).status == 404


async def test_direct_messages_and_voice_status(simulator: DiscordSimulator, raw: RawClient) -> None:
    guild = simulator.add_guild()
    ada = guild.add_member("ada")
    voice = guild.add_voice_channel("talk")
    opened = await raw.request("POST", "/users/@me/channels", json={"recipient_id": str(ada.id)})
    await raw.request("POST", f"/channels/{opened.body['id']}/messages", json={"content": "psst"})
    assert [m.content for m in ada.direct_channel().visible] == ["psst"]
    assert (
        await raw.request("PUT", f"/channels/{voice.id}/voice-status", json={"status": "● Recording"})
    ).status == 204
    assert voice.voice_status == "● Recording"
    too_long = await raw.request("PUT", f"/channels/{voice.id}/voice-status", json={"status": "x" * 501})
    assert too_long.status == 400
    simulator.take_violations()


async def test_a_fault_can_wait_for_a_body(simulator: DiscordSimulator, channel: Channel, raw: RawClient) -> None:
    simulator.rest.faults.fail("POST", POST, status=503, only=lambda body: body["content"] == "b")
    path = f"/channels/{channel.id}/messages"
    answers = [await raw.request("POST", path, json={"content": text}) for text in "abb"]
    assert [answer.status for answer in answers] == [200, 503, 200]
    assert [request.body["content"] for request in simulator.rest.log.matching("POST", POST)] == list("abb")
