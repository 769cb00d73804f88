"""What a decision of the rate limiter costs: through the whole adapter, on a real Redis over TCP.

Beside it a bare PING through redis-py with the same settings, which is about the least that a decision by way of
redis-py could cost, and the limiters that people would use instead. Fifty members, a fresh request each time, nobody is
refused. All take turns, many times over, since a machine is seldom its own; the medians of the rounds are compared.

A processor without work dozes off between two calls of a single client, and to wake it takes as long as the call: what
is measured then is the host, and it differs by half from one session to the next. So for a single client the processors
are kept awake, as they are where there is work, by processes that only run where nobody else wants to. The figures on
processors that doze stand beside them.
"""

# redis-py and the peers are typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio
from limits import RateLimitItemPerHour
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
from rich.table import Table
from throttled.asyncio import Throttled, rate_limiter, store

from benchmarks.results import Result
from bot.adapters.redis.connections import QUICK, RedisServer
from bot.adapters.redis.limiter import RedisRateLimiter
from bot.core.quotas import BucketId, Limits
from tests.redis_servers import a_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

MEMBERS = 50
PER_HOUR, BURST = 3_600_000, 100_000
SESSIONS, ROUNDS = 5, 12
"""Each session has a server and connections of its own: on which processor they come to lie decides much."""
OPERATIONS = {1: 200, 50: 1_000}
"""In a round, by the number of clients."""
ALONE, CROWD, DOZING = "1", "50", "1, dozing"
CONTESTS = {ALONE: 1, CROWD: 50, DOZING: 1}
"""Clients of each contest."""
_SPIN = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"

PING, OURS = "PING", "earshot"


@dataclass(kw_only=True)
class Figures:
    """Of one contestant with so many clients."""

    rates: list[float] = field(default_factory=list[float])
    seconds: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Operations a second."""
        return statistics.median(self.rates)

    @property
    def p99_ms(self) -> float:
        """Milliseconds that an operation takes, 99th percentile."""
        return 1_000 * statistics.quantiles(self.seconds, n=100)[98]


def run() -> Result:
    """Measure everybody with one client and with fifty."""
    contests = {name: defaultdict[str, Figures](Figures) for name in CONTESTS}
    for _ in range(SESSIONS):
        with a_server("store", port=_free_port()) as server:
            with _awake():
                asyncio.run(_contest(server.url, CONTESTS[ALONE], contests[ALONE]))
            for name in (CROWD, DOZING):
                asyncio.run(_contest(server.url, CONTESTS[name], contests[name]))
    title = f"medians of {SESSIONS} x {ROUNDS} rounds in turn"
    table = Table("clients", "", "operations/s", "of PING", "p99 ms", title=title)
    for clients, contest in contests.items():
        for name, each in contest.items():
            share = each.rate / contest[PING].rate
            table.add_row(clients, name, f"{each.rate:,.0f}", f"{share:.2f}", f"{each.p99_ms:.2f}")
        table.add_section()
    alone = contests[ALONE]
    others = {name: each.rate for name, each in alone.items() if name not in (PING, OURS)}
    elsewhere = {
        f"{name} at {clients}": each.rate for clients in (CROWD, DOZING) for name, each in contests[clients].items()
    }
    return Result(
        name="limiter",
        ours=alone[OURS].rate,
        peers={PING: alone[PING].rate, **others, **elsewhere},
        reference=alone[PING].rate,
        unit="decisions a second, one client",
        more_is_better=True,
        tables=(table,),
    )


@contextmanager
def _awake() -> Generator[None]:
    """Keep the processors awake."""
    spinners = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


async def _contest(url: str, clients: int, figures: dict[str, Figures]) -> None:
    async with AsyncExitStack() as stack:
        contestants = {
            name: await stack.enter_async_context(contestant(url))
            for name, contestant in {
                PING: _ping,
                OURS: _ours,
                "throttled-py": _throttled,
                "limits": _limits,
                "pyrate-limiter": _pyrate,
            }.items()
        }
        for operation in contestants.values():
            await _round(operation, clients, Figures())  # scripts are loaded, connections open
        for _ in range(ROUNDS):
            for name, operation in contestants.items():
                await _round(operation, clients, figures[name])


async def _round(operation: Callable[[int], Awaitable[object]], clients: int, figures: Figures) -> None:
    numbers = iter(range(OPERATIONS[clients]))

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number % MEMBERS)
            figures.seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    figures.rates.append(OPERATIONS[clients] / (time.perf_counter() - began))


# --- contestants: each is told a member's number --------------------------------------------------------------------


@asynccontextmanager
async def _ping(url: str) -> AsyncGenerator[Callable[[int], Awaitable[object]]]:
    server = RedisServer(url, role="store", clock=time.monotonic)
    client = server.client(QUICK)
    yield lambda _: client.execute_command("PING")
    await server.aclose()


@asynccontextmanager
async def _ours(url: str) -> AsyncGenerator[Callable[[int], Awaitable[object]]]:
    server = RedisServer(url, role="store", clock=time.monotonic)
    limiter = RedisRateLimiter(server)
    limits = Limits(per_hour=PER_HOUR, burst=BURST)
    members = [BucketId(guild_id=100_000_000_000_000_000, member_id=10**17 + number) for number in range(MEMBERS)]
    requests = itertools.count()
    yield lambda member: limiter.reserve(members[member], f"{next(requests):016x}", 1, limits)
    await limiter.aclose()
    await server.aclose()


@asynccontextmanager
async def _throttled(url: str) -> AsyncGenerator[Callable[[int], Awaitable[object]]]:
    backend = store.RedisStore(server=url)
    throttle = Throttled(using="token_bucket", quota=rate_limiter.per_hour(PER_HOUR, burst=BURST), store=backend)
    yield lambda member: throttle.limit(f"member:{member}", cost=1)
    await backend._backend.get_client().aclose()  # noqa: SLF001 # pyright: ignore - it has no way to be closed


@asynccontextmanager
async def _limits(url: str) -> AsyncGenerator[Callable[[int], Awaitable[object]]]:
    storage = RedisStorage(f"async+{url}", implementation="redispy")
    limiter = SlidingWindowCounterRateLimiter(storage)
    item = RateLimitItemPerHour(PER_HOUR)
    yield lambda member: limiter.hit(item, f"member:{member}")
    await storage.bridge.storage.aclose()  # pyright: ignore - it has no way to be closed


@asynccontextmanager
async def _pyrate(url: str) -> AsyncGenerator[Callable[[int], Awaitable[object]]]:
    client = redis.asyncio.Redis.from_url(url)
    rates = [Rate(PER_HOUR, Duration.HOUR)]
    # A limiter for each member: calls on one wait for each other.
    buckets = [cast("Any", RedisBucket.init(rates, client, f"member-{number}")) for number in range(MEMBERS)]
    limiters = [Limiter(await bucket) for bucket in buckets]
    yield lambda member: limiters[member].try_acquire_async(f"member-{member}", blocking=False)
    for limiter in limiters:
        limiter.close()
    await client.aclose()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
