"""Single flight over processes that die and a store that comes and goes."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.flights import RedisFlights
from bot.core.errors import EarshotError, TranscriptionFailed
from bot.core.ports import Shared
from tests.redis_servers import a_server, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from tests.redis_servers import RedisProcess

ROOT = Path(__file__).parents[3]
LED = Shared(value=b"value", led=True)
GIVEN = Shared(value=b"value", led=False)

# --- processes ----------------------------------------------------------------------------------------------------


class Member:
    """A process of `tests.adapters.redis.flight_process`, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(line.decode().strip())

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


@asynccontextmanager
async def members(url: str, *counts: int, gate: Path) -> AsyncGenerator[list[Member]]:
    started: list[Member] = []
    try:
        for count in counts:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.adapters.redis.flight_process", url, str(count), str(gate)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            started.append(Member(process))
        yield started
    finally:
        for member in started:
            await member.end()


async def test_two_hundred_callers_in_each_of_two_processes_work_once(
    store_process: RedisProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with members(store_process.url, 200, 200, gate=gate) as both:
        await until(lambda: all(len(member.said) >= 200 for member in both), within=30)
        gate.touch()
        await until(lambda: all(member.said[-1].startswith("done") for member in both), within=30)
    said = [line for member in both for line in member.said]
    (leader,) = [member for member in both if "leads" in member.said]
    assert said.count("leads") == 1
    assert [member.said[-1] for member in both] == [f"done 200 value of {leader.process.pid}"] * 2


async def test_a_leader_that_is_killed_is_followed(store_process: RedisProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with members(store_process.url, 5, 5, gate=gate) as both:
        await until(lambda: all(len(member.said) >= 5 for member in both), within=30)
        (leader,) = [member for member in both if "leads" in member.said]
        (other,) = [member for member in both if member is not leader]
        leader.process.send_signal(signal.SIGKILL)
        await until(lambda: "leads" in other.said, within=keys.FLIGHT_LOCK_S + 5)
        gate.touch()
        await until(lambda: other.said[-1].startswith("done"), within=30)
    assert other.said[-1] == f"done 5 value of {other.process.pid}"
    assert f"heard news of {leader.process.pid}" in other.said
    assert not any(line.startswith("done") for line in leader.said)


# --- a store that comes and goes ----------------------------------------------------------------------------------


class Flight:
    """Callers of one flight, by turns on connections of their own; their work ends at `gate`."""

    def __init__(self, url: str, *, lock_s: float = 2.0, patience_s: float = 1.0, ends: int = 2) -> None:
        self.gate = asyncio.Event()
        self.ran: list[int] = []
        self.tells: list[Callable[[bytes], None]] = []
        self.news: list[list[bytes]] = []
        self.servers = [RedisServer(url, role="store", clock=time.monotonic) for _ in range(ends)]
        flights = [
            RedisFlights(
                server,
                new_token=lambda: secrets.token_hex(16),
                clock=time.monotonic,
                lock_s=lock_s,
                patience_s=patience_s,
            )
            for server in self.servers
        ]
        self._flights = itertools.cycle(flights)

    def ask(self, outcome: bytes | Exception = b"value") -> asyncio.Task[Shared]:
        number, heard = len(self.news), list[bytes]()

        async def work(tell: Callable[[bytes], None]) -> bytes:
            self.ran.append(number)
            self.tells.append(tell)
            tell(b"begun by %d" % number)
            await self.gate.wait()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        self.news.append(heard)
        return asyncio.create_task(next(self._flights).share("key", work, on_news=heard.append))

    async def both(self, outcome: bytes | Exception = b"value") -> tuple[asyncio.Task[Shared], asyncio.Task[Shared]]:
        """One that leads and one that waits, and has heard news."""
        leader = self.ask(outcome)
        await until(lambda: self.ran)
        follower = self.ask()
        await until(lambda: self.news[-1])
        return leader, follower

    async def close(self) -> None:
        for server in self.servers:
            await server.aclose()


@pytest.fixture
async def flight(store_process: RedisProcess) -> AsyncIterator[Flight]:
    """On the store that all tests share."""
    flight = Flight(store_process.url)
    yield flight
    await flight.close()


@pytest.fixture
async def fragile(own_store: RedisProcess) -> AsyncIterator[Flight]:
    """On a store of the test's own."""
    flight = Flight(own_store.url)
    yield flight
    await flight.close()


def go(store: RedisProcess, how: str) -> None:
    """Take the store away: dead, or silent."""
    store.kill() if how == "dead" else store.pause()


def come_back(store: RedisProcess, how: str) -> None:
    store.start() if how == "dead" else store.resume()


AWAY = pytest.mark.parametrize("how", ["dead", "silent"])


@AWAY
async def test_without_a_store_everybody_works_alone(fragile: Flight, own_store: RedisProcess, how: str) -> None:
    go(own_store, how)
    began = time.monotonic()
    asked = [fragile.ask() for _ in range(4)]
    await until(lambda: len(fragile.ran) == 4)
    assert time.monotonic() - began < 2, "asking takes no longer than the quick way does"
    fragile.gate.set()
    assert await asyncio.gather(*asked) == [LED] * 4
    assert time.monotonic() - began < 5
    come_back(own_store, how)


@AWAY
async def test_one_who_waits_bears_with_the_store_for_a_while_and_then_works_alone(
    fragile: Flight, own_store: RedisProcess, how: str
) -> None:
    leader, follower = await fragile.both()
    go(own_store, how)
    began = time.monotonic()
    await until(lambda: fragile.ran == [0, 1])
    assert 0.5 < time.monotonic() - began < 4
    fragile.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, LED]
    come_back(own_store, how)


@AWAY
@pytest.mark.parametrize("outcome", [b"value", TranscriptionFailed("x")], ids=["value", "error"])
async def test_a_leader_ends_without_the_store(
    fragile: Flight, own_store: RedisProcess, how: str, outcome: bytes | Exception
) -> None:
    leader = fragile.ask(outcome)
    await until(lambda: fragile.ran)
    go(own_store, how)
    began = time.monotonic()
    fragile.gate.set()
    (given,) = await asyncio.gather(leader, return_exceptions=True)
    assert given == (LED if outcome == b"value" else outcome)
    assert time.monotonic() - began < 3
    come_back(own_store, how)


@AWAY
async def test_a_short_absence_changes_nothing(own_store: RedisProcess, how: str) -> None:
    flight = Flight(own_store.url, lock_s=keys.FLIGHT_LOCK_S, patience_s=10.0)
    leader, follower = await flight.both()
    if how == "dead":
        own_store.stop()
    else:
        own_store.pause()
    await until(lambda: flight.servers[1].why_away)
    come_back(own_store, how)
    flight.tells[0](b"news after it")
    await until(lambda: flight.news[1][-1] == b"news after it")
    flight.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, GIVEN]
    assert flight.ran == [0]
    await flight.close()


# --- the lock -----------------------------------------------------------------------------------------------------


async def test_the_lock_is_kept_for_as_long_as_the_work_takes(store_process: RedisProcess) -> None:
    flight = Flight(store_process.url, lock_s=0.4)
    leader, follower = await flight.both()
    with store_process.client() as client:
        token = client.get(keys.flight_lock("key"))
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            assert client.get(keys.flight_lock("key")) == token
            await asyncio.sleep(0.02)
    flight.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, GIVEN]
    await flight.close()


async def test_a_lock_that_is_gone_is_taken_by_one_who_waits(flight: Flight, store_process: RedisProcess) -> None:
    leader, follower = await flight.both()
    with store_process.client() as client:
        client.delete(keys.flight_lock("key"))
    await until(lambda: flight.ran == [0, 1], within=3)
    flight.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, LED]


async def test_a_leader_whose_lock_another_took_leaves_nothing_and_tells_nothing(
    flight: Flight, store_process: RedisProcess
) -> None:
    outdated = flight.ask(b"outdated")
    await until(lambda: flight.ran)
    with store_process.client() as client:
        await until(lambda: client.get(keys.flight_news("key")) is not None)
        client.set(keys.flight_lock("key"), "of another", px=60_000)
        client.delete(keys.flight_news("key"))
        flight.tells[0](b"outdated")
        began = time.monotonic()
        while time.monotonic() - began < 0.7:  # longer than it waits between one news and the next
            assert client.get(keys.flight_news("key")) is None
            await asyncio.sleep(0.02)
        flight.gate.set()
        assert await outdated == Shared(value=b"outdated", led=True)
        assert client.get(keys.flight_lock("key")) == b"of another"
        assert not client.exists(keys.flight_outcome("key"))


@pytest.mark.parametrize("ends", [1, 40], ids=["connected", "connecting"])
async def test_one_that_leaves_as_the_lock_comes_to_it_gives_it_back(store_process: RedisProcess, ends: int) -> None:
    flight = Flight(store_process.url, ends=ends)
    with store_process.client() as client:
        for ticks in range(40):
            caller = flight.ask()
            for _ in range(ticks):
                await asyncio.sleep(0)
            caller.cancel()
            flight.gate.set()  # should the cancellation be lost on its way through redis-py
            await asyncio.gather(caller, return_exceptions=True)
            assert not client.exists(keys.flight_lock("key"))
            client.delete(keys.flight_outcome("key"))
            flight.gate.clear()
    await flight.close()


async def test_every_key_has_its_time(flight: Flight, store_process: RedisProcess) -> None:
    leader, follower = await flight.both()
    lock, news, outcome = keys.flight_lock("key"), keys.flight_news("key"), keys.flight_outcome("key")
    with store_process.client() as client:
        assert 0 < client.pttl(lock) <= 2_000
        assert 0 < client.pttl(news) <= 1_000 * keys.FLIGHT_NEWS_S
        flight.gate.set()
        await asyncio.gather(leader, follower)
        assert client.exists(lock, news) == 0
        assert 0 < client.pttl(outcome) <= 1_000 * keys.FLIGHT_OUTCOME_S
        assert client.pubsub_numsub(news) == [(news.encode(), 0)]


# --- news and outcomes --------------------------------------------------------------------------------------------


async def test_a_value_is_given_to_those_who_come_after_it(flight: Flight) -> None:
    flight.gate.set()
    assert await flight.ask() == LED
    assert [await flight.ask() for _ in range(4)] == [GIVEN] * 4
    assert flight.ran == [0]


async def test_news_are_told_now_and_then_and_the_newest_wins(flight: Flight, store_process: RedisProcess) -> None:
    leader, follower = await flight.both()
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < 1.5:
        number += 1
        flight.tells[0](b"%06d" % number)
        await asyncio.sleep(0.001)
    await until(lambda: flight.news[1][-1] == b"%06d" % number)
    assert number > 200
    assert 4 <= len(flight.news[1]) <= 9
    assert flight.news[1][1:] == sorted(set(flight.news[1][1:]))
    flight.gate.set()
    await asyncio.gather(leader, follower)


async def test_a_channel_that_breaks_is_done_without_and_found_again(
    flight: Flight, store_process: RedisProcess
) -> None:
    leader, follower = await flight.both()
    channel = keys.flight_news("key")
    with store_process.client() as client:
        await until(lambda: client.pubsub_numsub(channel)[0][1] == 1)
        assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
        flight.tells[0](b"by looking")
        await until(lambda: flight.news[1][-1] == b"by looking", within=3)
        await until(lambda: client.pubsub_numsub(channel)[0][1] == 1, within=5)
    flight.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, GIVEN]


def an_outcome(*content: str | bytes) -> tuple[str, ...]:
    return ("HSET", keys.flight_outcome("key"), *content)  # pyright: ignore[reportReturnType] - bytes go too


@pytest.mark.parametrize(
    "command",
    [
        ("RPUSH", keys.flight_lock("key"), "x"),
        ("HSET", keys.flight_lock("key"), "x", "y"),
        ("SET", keys.flight_outcome("key"), "x"),
        an_outcome("token", "t", "kind", "value"),
        an_outcome("token", "t", "kind", "value", "body", b"\x01\xff\x00 no frame"),
        an_outcome("token", "t", "kind", "value", "body", b"\x80\x04\x95"),
        an_outcome("token", "t", "kind", "wonder", "body", "x"),
        an_outcome("token", "", "kind", "value", "body", "x"),
        an_outcome("something", "else"),
    ],
    ids=str,
)
async def test_whatever_lies_there_the_work_is_done(
    flight: Flight, store_process: RedisProcess, command: tuple[str, ...]
) -> None:
    with store_process.client() as client:
        client.execute_command(*command)
        client.expire(command[1], 60)
    flight.gate.set()
    assert await asyncio.gather(flight.ask(), flight.ask()) in ([LED, LED], [LED, GIVEN], [GIVEN, LED])


async def test_whatever_is_told_the_flight_goes_on(flight: Flight, store_process: RedisProcess) -> None:
    leader, follower = await flight.both()
    channel = keys.flight_news("key")
    with store_process.client() as client:
        for message in (b"x", b":", b"a:b:c", b"a:1:c", b"a:1:\x01\xff", b"::\x01", b"\xff" * 1_000, b""):
            client.publish(channel, message)
            client.set(channel, message, ex=60)
        client.publish(channel, b"a:" + b"9" * 5_000 + b":x")
    flight.tells[0](b"news")
    await until(lambda: flight.news[1] == [b"begun by 0", b"news"])
    flight.gate.set()
    assert await asyncio.gather(leader, follower) == [LED, GIVEN]


async def test_an_error_that_cannot_be_read_is_a_plain_one(flight: Flight, store_process: RedisProcess) -> None:
    _leader, follower = await flight.both()
    with store_process.client() as client:
        client.hset(keys.flight_outcome("key"), mapping={"token": "t", "kind": "error", "body": "x"})
        client.expire(keys.flight_outcome("key"), 60)
    with pytest.raises(EarshotError) as caught:
        await follower
    assert type(caught.value) is EarshotError
    flight.gate.set()
    await _leader


# --- servers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", servers())
async def test_every_server_takes_the_scripts(name: str) -> None:
    with a_server("store", name=name) as process:
        flight = Flight(process.url)
        leader, follower = await flight.both(TranscriptionFailed("x"))
        flight.gate.set()
        given = await asyncio.gather(leader, follower, return_exceptions=True)
        assert [type(error) for error in given] == [TranscriptionFailed] * 2
        flight.gate.clear()
        leader, follower = await flight.both()
        leader.cancel()
        await until(lambda: len(flight.ran) == 3)
        flight.gate.set()
        assert await follower == LED
        assert await flight.ask() == GIVEN
        assert process.keys_without_ttl() == []
        await flight.close()
