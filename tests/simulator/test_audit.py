"""The simulator's own mistakes fail the test as well."""

from __future__ import annotations

import aiohttp
import pytest

from tests.simulator import contracts
from tests.simulator.raw import RawClient
from tests.simulator.server import DiscordSimulator


@pytest.mark.skipif(contracts.load() is None, reason="Discord's schemas are not there")
async def test_an_event_or_an_answer_that_discord_never_sends_is_found() -> None:
    async with DiscordSimulator() as simulator, RawClient(simulator) as raw:
        gateway = await raw.gateway()
        await gateway.identify(simulator.token)
        await raw.request("GET", "/users/@me")
        simulator.check()
        simulator.world.dispatch("CHANNEL_CREATE", {"id": 5}, guild_id=None, intent=None)
        with pytest.raises(AssertionError, match="the simulator did what Discord never would: CHANNEL_CREATE"):
            simulator.check()
    async with DiscordSimulator() as simulator, RawClient(simulator) as raw:
        simulator.world.bot.name = 5  # type: ignore[assignment] # that is the mistake
        await raw.request("GET", "/users/@me")
        with pytest.raises(AssertionError, match=r"never would: GET /users/@me → 200: username: 5 is not of type"):
            simulator.check()


async def test_an_error_in_a_handler_is_found() -> None:
    async with DiscordSimulator() as simulator, RawClient(simulator) as raw:
        simulator.world.bot = None  # type: ignore[assignment] # that is the mistake
        assert (await raw.request("GET", "/users/@me")).status == 500
        with pytest.raises(AssertionError, match=r"GET /api/v10/users/@me failed:(.|\n)*AttributeError"):
            simulator.check()


async def test_a_cut_proxy_breaks_everything_and_can_be_used_again(simulator: DiscordSimulator) -> None:
    async with RawClient(simulator) as raw:
        gateway = await raw.gateway()
        await gateway.identify(simulator.token)
        simulator.proxy.cut()
        assert await gateway.closed() == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert simulator.gateway.sessions, "a session outlives its line"
        assert (await raw.request("GET", "/gateway")).status == 200
        assert (await raw.download("http://discord.com/")).status == 405
