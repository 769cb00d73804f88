"""A process that takes part in a flight, for tests: what it does stands on its output, a line each.

It is called with the store's URL, how many callers it has, and a file: its work ends when that is there.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.flights import RedisFlights
from tests.redis_servers import SLACK
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(url: str, count: int, gate: Path) -> None:
    server = RedisServer(url, role="store", clock=time.monotonic, slack=SLACK)
    flights = LocalFlights(RedisFlights(server, new_token=lambda: secrets.token_hex(16), clock=time.monotonic))

    async def work(tell: Callable[[bytes], None]) -> bytes:
        say("leads")
        tell(b"news of %d" % os.getpid())
        await until(gate.exists, within=60)
        return b"value of %d" % os.getpid()

    def heard(news: bytes) -> None:
        say("heard", news.decode())

    given = await asyncio.gather(*(flights.share("key", work, on_news=heard) for _ in range(count)))
    say("done", len(given), *{shared.value.decode() for shared in given})
    await server.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
