"""The gateway: sessions, resumes, compression, close codes, shards, intents."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import pytest

from tests.simulator.clients import client_options, connected, make_client
from tests.simulator.connections import CloseCode
from tests.simulator.intents import Intent
from tests.simulator.raw import RawClient, identify_data
from tests.simulator.server import DiscordSimulator
from tests.simulator.snowflakes import shard_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


class Listener(discord.Client):
    """Notes the messages that it hears of."""

    def __init__(self, simulator: DiscordSimulator, **options: Any) -> None:
        super().__init__(**client_options(simulator), **options)
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.resumes = 0

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """The five seconds that discord.py waits here are for Discord's own limit."""

    async def on_message(self, message: discord.Message) -> None:
        self.heard.put_nowait(message.content)

    async def on_resumed(self) -> None:
        self.resumes += 1


@pytest.mark.parametrize("way", ["close", "cut", "reconnect", "invalid but resumable"])
async def test_session_is_resumed_and_missed_events_are_replayed(simulator: DiscordSimulator, way: str) -> None:
    guild = simulator.add_guild()
    channel = guild.add_text_channel("general")
    ada = guild.add_member("ada")
    bot = simulator.world.bot
    async with connected(Listener(simulator)) as client:
        channel.post(ada, f"{bot.mention} before")
        assert "before" in await asyncio.wait_for(client.heard.get(), 5)
        gateway = simulator.gateway
        match way:
            case "close":
                await gateway.disconnect(4000)
            case "cut":
                gateway.cut()
            case "reconnect":
                gateway.ask_to_reconnect()
            case _:
                gateway.invalidate(resumable=True)
        channel.post(ada, f"{bot.mention} in between")
        assert "in between" in await asyncio.wait_for(client.heard.get(), 15)
        await simulator.world.changes.until(lambda: client.resumes, timeout_s=5, what=lambda: "RESUMED")
    assert gateway.identifies == 1
    assert "gateway-us-east1-b.discord.gg" in simulator.proxy.connections


async def test_forgotten_session_starts_anew(simulator: DiscordSimulator) -> None:
    async with connected(Listener(simulator)):
        gateway = simulator.gateway
        gateway.forget_sessions()
        await gateway.disconnect(4000)
        await simulator.world.changes.until(
            lambda: gateway.identifies == 2 and gateway.live, timeout_s=15, what=lambda: "a second IDENTIFY"
        )


async def test_gateway_that_stops_acknowledging_is_left(simulator: DiscordSimulator) -> None:
    simulator.gateway.heartbeat_interval_s = 0.2
    async with connected(Listener(simulator, heartbeat_timeout=0.5)) as client:
        simulator.gateway.acknowledge_heartbeats = False
        await simulator.world.changes.until(
            lambda: len(simulator.gateway.compressions) > 1, timeout_s=10, what=lambda: "a second connection"
        )
        simulator.gateway.acknowledge_heartbeats = True
        await simulator.world.changes.until(lambda: client.resumes, timeout_s=10, what=lambda: "RESUMED")


async def test_heartbeats_are_asked_for_and_come(simulator: DiscordSimulator) -> None:
    async with connected(make_client(simulator)):
        connection = simulator.gateway.connections[0]
        before = len(connection.heartbeats)
        simulator.gateway.ask_for_heartbeat()
        await simulator.world.changes.until(
            lambda: len(connection.heartbeats) > before, timeout_s=5, what=lambda: "a heartbeat"
        )


async def test_wrong_token_is_refused_by_discord_py(simulator: DiscordSimulator) -> None:
    with pytest.raises(discord.LoginFailure):
        async with connected(make_client(simulator), token="wrong"):
            pass


@pytest.mark.parametrize("compress", [None, "zlib-stream", "zstd-stream"])
async def test_compressions(simulator: DiscordSimulator, raw: RawClient, compress: str | None) -> None:
    guild = simulator.add_guild("compressed " * 5)
    gateway = await raw.gateway(compress)
    ready = await gateway.identify(simulator.token)
    assert ready["guilds"] == [{"id": str(guild.id), "unavailable": True}]
    created = await gateway.until(event="GUILD_CREATE")
    assert created["d"]["name"] == guild.name
    guild.add_text_channel("one")
    guild.add_text_channel("two")
    assert (await gateway.until(event="CHANNEL_CREATE"))["d"]["name"] == "one"
    assert (await gateway.receive())["d"]["name"] == "two"


@pytest.mark.parametrize(
    ("opcode", "data", "code"),
    [
        (2, identify_data("wrong"), CloseCode.AUTHENTICATION_FAILED),
        (2, identify_data("TOKEN", intents=1 << 40), CloseCode.INVALID_INTENTS),
        (2, identify_data("TOKEN", intents=Intent.MESSAGE_CONTENT), CloseCode.DISALLOWED_INTENTS),
        (2, identify_data("TOKEN", shard=(2, 2)), CloseCode.INVALID_SHARD),
        (3, {"since": None, "activities": [], "status": "online", "afk": False}, CloseCode.NOT_AUTHENTICATED),
        (99, {}, CloseCode.UNKNOWN_OPCODE),
        (6, {"token": "wrong", "session_id": "x", "seq": 1}, CloseCode.AUTHENTICATION_FAILED),
    ],
)
async def test_close_codes(
    simulator: DiscordSimulator, raw: RawClient, opcode: int, data: dict[str, object], code: CloseCode
) -> None:
    if data.get("token") == "TOKEN":
        data = {**data, "token": simulator.token}
    gateway = await raw.gateway()
    await gateway.send(opcode, data)
    assert await gateway.closed() == code


async def test_second_identify_and_bad_version_are_refused(simulator: DiscordSimulator, raw: RawClient) -> None:
    gateway = await raw.gateway()
    await gateway.identify(simulator.token)
    await gateway.send(2, identify_data(simulator.token))
    assert await gateway.closed() == CloseCode.ALREADY_AUTHENTICATED
    assert await (await raw.gateway(version=6)).closed() == CloseCode.INVALID_VERSION


async def test_nonsense_is_a_decode_error(raw: RawClient) -> None:
    gateway = await raw.gateway()
    await gateway.socket.send_str("{")
    assert await gateway.closed() == CloseCode.DECODE_ERROR


async def test_too_many_payloads_are_too_many(raw: RawClient) -> None:
    gateway = await raw.gateway()
    for _ in range(121):
        await gateway.send(1, None)
    assert await gateway.closed() == CloseCode.RATE_LIMITED


async def test_session_given_up_cannot_be_resumed(simulator: DiscordSimulator, raw: RawClient) -> None:
    gateway = await raw.gateway()
    ready = await gateway.identify(simulator.token)
    await gateway.socket.close(code=1000)
    await simulator.world.changes.until(
        lambda: not simulator.gateway.sessions, timeout_s=5, what=lambda: "the session's end"
    )
    again = await raw.gateway()
    await again.send(6, {"token": simulator.token, "session_id": ready["session_id"], "seq": 1})
    invalid = await again.until(op=9)
    assert invalid["d"] is False


async def test_resume_with_a_number_from_the_future_is_invalid(simulator: DiscordSimulator, raw: RawClient) -> None:
    gateway = await raw.gateway()
    ready = await gateway.identify(simulator.token)
    await gateway.socket.close(code=4000)
    again = await raw.gateway()
    await again.send(6, {"token": simulator.token, "session_id": ready["session_id"], "seq": 4711})
    assert (await again.until(op=9))["d"] is False


class Sharded(discord.AutoShardedClient):
    """Two shards that do not wait for one another."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """The five seconds that discord.py waits here are for Discord's own limit."""


async def test_sharded_client(simulator: DiscordSimulator) -> None:
    simulator.world.limits.recommended_shards = 2
    guilds = [simulator.add_guild(f"guild {n}", guild_id=(n + 1) << 22) for n in range(4)]
    client = Sharded(**client_options(simulator))
    async with connected(client):
        assert client.shard_count == 2
        assert {guild.id for guild in client.guilds} == {guild.id for guild in guilds}
        assert {guild.shard_id for guild in client.guilds} == {0, 1}
        assert all(guild.shard_id == shard_of(guild.id, 2) for guild in client.guilds)
    assert len(simulator.rest.log.matching("GET", "/gateway/bot")) == 1


async def test_events_go_to_the_shard_of_their_guild(simulator: DiscordSimulator, raw: RawClient) -> None:
    guilds = [simulator.add_guild(f"guild {n}", guild_id=(n + 2) << 22) for n in range(2)]
    shards = [await raw.gateway(), await raw.gateway()]
    for number, shard in enumerate(shards):
        ready = await shard.identify(simulator.token, shard=(number, 2))
        assert [guild["id"] for guild in ready["guilds"]] == [str(guilds[number].id)]
        await shard.until(event="GUILD_CREATE")
    for guild in reversed(guilds):
        guild.add_text_channel(f"of {guild.name}")
    for number, shard in enumerate(shards):
        assert (await shard.receive())["d"]["name"] == f"of guild {number}"


async def test_members_are_given_on_request() -> None:
    async with DiscordSimulator(privileged=Intent.GUILD_MEMBERS) as simulator:
        guild = simulator.add_guild()
        ada = guild.add_member("ada")
        intents = discord.Intents.default()
        intents.members = True
        async with connected(make_client(simulator, intents)) as client:
            seen = client.get_guild(guild.id)
            assert seen is not None
            assert seen.get_member(ada.id) is not None
            bob = guild.add_member("bob")
            member = await client.wait_for("member_join", timeout=5)
            assert member.id == bob.id
        simulator.check()


async def test_hosts_of_others_are_refused(simulator: DiscordSimulator, raw: RawClient) -> None:
    with pytest.raises(aiohttp.ClientHttpProxyError, match="403"):
        await raw.download("https://example.com/file.ogg")
    assert simulator.take_unknown() == ["connection to example.com:443"]
