"""A server that is away: noticed at once, told once, found again."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from bot.adapters.redis import keys
from bot.adapters.redis.breaker import FIRST_WAIT_S, Breaker
from bot.adapters.redis.connections import LISTENING, QUICK, STEADY, RedisServer, Way
from bot.adapters.redis.script import Script
from bot.core.errors import StoreUnavailable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.asyncio import Redis

    from tests.redis_servers import RedisProcess


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged from INFO up."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="INFO")
    yield found
    logger.remove(sink)


async def ping(client: Redis) -> object:
    return await client.execute_command("PING")  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("way", [QUICK, STEADY, LISTENING], ids=lambda way: way.name)
async def test_it_answers_on_every_way(store_server: RedisServer, way: Way) -> None:
    assert await store_server.call(ping, way=way) in (b"PONG", True)


async def test_a_refused_connection_is_told_at_once_and_once(own_store: RedisProcess, told: list[str]) -> None:
    clock = FakeClock()
    server = RedisServer(own_store.url, role="store", clock=clock)
    await server.call(ping)
    own_store.stop()
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreUnavailable):
            await server.call(ping, way=QUICK)
    assert time.monotonic() - began < 5
    assert len(told) == 1
    assert server.why_away is not None
    assert server.why_away in told[0]
    own_store.start()
    clock.now += FIRST_WAIT_S
    await server.call(ping)
    assert (told[1:], server.why_away) == (["the store is back"], None)
    await server.aclose()


async def test_a_silent_server_is_given_up_after_two_calls(own_store: RedisProcess, told: list[str]) -> None:
    server = RedisServer(own_store.url, role="store", clock=FakeClock())
    await server.call(ping, way=QUICK)
    own_store.pause()
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            await server.call(ping, way=QUICK)
    assert told == ["the store cannot be reached (it is silent): going on without it"]
    assert server.failures == 2, "the others were not even asked"
    own_store.resume()
    await server.aclose()


async def test_more_calls_than_connections_wait_for_their_turn(store_server: RedisServer) -> None:
    few = Way(name="few", timeout_s=2.0, connect_s=1.0, retries=0, connections=2)
    answers = await asyncio.gather(*(store_server.call(ping, way=few) for _ in range(200)))
    assert len(answers) == 200
    assert store_server.failures == 0


async def test_a_refusal_is_no_absence(store_server: RedisServer) -> None:
    async def nonsense(client: Redis) -> object:
        return await client.execute_command("NONSENSE")  # pyright: ignore[reportUnknownVariableType]

    with pytest.raises(StoreUnavailable, match="NONSENSE"):
        await store_server.call(nonsense)
    assert store_server.why_away is None


async def test_too_many_connections_of_ours_are_no_absence(store_server: RedisServer) -> None:
    few = Way(name="few", timeout_s=2.0, connect_s=1.0, retries=0, connections=1)
    pool = store_server.client(few).connection_pool
    connection = await pool.get_connection()
    with pytest.raises(StoreUnavailable, match="Too many connections"):
        await store_server.call(ping, way=few)
    assert store_server.why_away is None
    await store_server.ping()
    await pool.release(connection)
    assert await store_server.call(ping, way=few) in (b"PONG", True)


async def test_a_script_runs_on_a_server_that_does_not_know_it_yet(
    store_process: RedisProcess, store_server: RedisServer
) -> None:
    key, take = keys.lease("work"), Script("lease_take.lua")
    with store_process.client() as client:
        client.script_flush()
        assert await store_server.run(take, [key], "one", 60_000) == 1
        assert client.script_exists(take.sha) == [True]
        assert await store_server.run(take, [key], "two", 60_000, way=QUICK) == 0
        assert client.get(key) == b"one"


def test_its_repr_holds_no_password() -> None:
    server = RedisServer("redis://:pass-word@localhost/0", role="store", clock=FakeClock())
    assert "pass-word" not in repr(server)


def test_a_server_that_is_away_is_tried_less_and_less_often() -> None:
    clock, changes = FakeClock(), list[str | None]()
    breaker = Breaker("store", clock=clock, on_change=changes.append)
    breaker.failed("gone", at_once=True)
    tries = 0
    for _ in range(600):  # a minute, ten times a second
        clock.now += 0.1
        try:
            breaker.check()
        except StoreUnavailable:
            continue
        tries += 1
        breaker.failed("gone", at_once=True)
    assert 10 < tries < 25
    assert changes == ["gone"]
    breaker.succeeded()
    breaker.check()
    assert changes == ["gone", None]


async def test_calls_that_are_silent_together_count_as_one(own_store: RedisProcess) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    await server.call(ping, way=QUICK)
    own_store.pause()
    answers = await asyncio.gather(*(server.call(ping, way=QUICK) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert server.why_away is None, "a hiccup of this process strikes all at once"
    with pytest.raises(StoreUnavailable):
        await server.call(ping, way=QUICK)
    assert server.why_away == "it is silent"
    own_store.resume()
    await server.aclose()


async def test_a_patient_call_does_not_wait_for_a_server_that_is_gone(own_store: RedisProcess) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    await server.call(ping, way=STEADY)
    own_store.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await server.call(ping, way=STEADY)
    assert STEADY.timeout_s is not None
    assert time.monotonic() - began < STEADY.timeout_s
    assert server.why_away == "it is silent"
    own_store.resume()
    await server.aclose()


async def test_a_server_that_is_slow_is_waited_for(own_store: RedisProcess) -> None:
    # A call is late after a second; whoever then looks has an answer within another.
    server = RedisServer(own_store.url, role="store", clock=time.monotonic, slack=4.0)
    await server.call(ping)
    own_store.pause()
    asyncio.get_running_loop().call_later(1.2, own_store.resume)
    assert await server.call(ping) in (b"PONG", True)
    assert server.why_away is None
    await server.aclose()
