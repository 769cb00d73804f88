"""``python -m bot worker`` as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from bot.adapters.redis import keys
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.redis_servers import RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

ROOT = Path(__file__).parents[2]


class Worker:
    """The process, and what it logs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode().rstrip())

    def logged(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)


async def start(data_dir: Path, **settings: str) -> tuple[Worker, asyncio.Task[None]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "worker"),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(data_dir), "HTTP_PORT": "0", **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    worker = Worker(process)
    return worker, asyncio.create_task(worker.read())


@pytest.fixture
async def worker(own_store: RedisProcess, own_cache: RedisProcess, tmp_path: Path) -> AsyncIterator[Worker]:
    with own_store.client() as client:
        client.set("earshot:lost", "without an end")
    worker, reading = await start(tmp_path, REDIS_STORE_URL=own_store.url, REDIS_CACHE_URL=own_cache.url)
    try:
        yield worker
    finally:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.process.wait()
        await reading


async def test_it_cleans_up_tells_how_it_is_and_stops(worker: Worker, own_store: RedisProcess) -> None:
    await until(lambda: worker.logged("ready:"), within=30)
    served = worker.logged("health is served on")
    assert served is not None
    base = f"http://127.0.0.1:{served.rpartition(':')[2]}"
    with own_store.client() as client:
        await until(lambda: client.ttl("earshot:lost") > 0, within=30)
        assert client.zcard(keys.heartbeats("worker")) == 1
        assert client.get(keys.lease("cleanup")) is not None
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(30):
                while True:
                    async with session.get(f"{base}/readyz") as answer:
                        told = await answer.json()
                    if answer.status == 200:
                        break
            assert {name: part["state"] for name, part in told["parts"].items()} == {"store": "ok", "cache": "ok"}
            async with session.get(f"{base}/metrics") as answer:
                page = await answer.text()
            assert 'earshot_redis_up{role="store"} 1.0' in page
            assert 'earshot_cleanup_keys_total{what="mended"} 1.0' in page
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.process.wait() == 0
        assert client.zcard(keys.heartbeats("worker")) == 0, "it takes back that it lives"
        assert client.get(keys.lease("cleanup")) is None
    assert not any("Traceback" in line or "ERROR" in line for line in worker.lines)


async def test_a_store_that_can_evict_is_refused_with_the_line_to_change(
    own_cache: RedisProcess, tmp_path: Path
) -> None:
    worker, reading = await start(tmp_path, REDIS_STORE_URL=own_cache.url, REDIS_CACHE_URL=own_cache.url)
    assert await worker.process.wait() == 2
    await reading
    assert "maxmemory-policy noeviction" in worker.lines[-1]
    assert "REDIS_STORE_URL" in worker.lines[-1]


async def test_without_servers_of_ones_own_it_shares_those_of_the_bot(tmp_path: Path) -> None:
    first, reading_first = await start(tmp_path)
    second, reading_second = await start(tmp_path)
    try:
        await until(lambda: first.logged("ready:") and second.logged("ready:"), within=40)
        first.process.send_signal(signal.SIGTERM)
        assert await first.process.wait() == 0
        assert second.process.returncode is None
        second.process.send_signal(signal.SIGTERM)
        assert await second.process.wait() == 0
    finally:
        for worker in (first, second):
            if worker.process.returncode is None:
                worker.process.kill()
        await asyncio.gather(reading_first, reading_second)
    assert not any("Traceback" in line for line in (*first.lines, *second.lines))
