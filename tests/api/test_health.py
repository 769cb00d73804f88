from __future__ import annotations

import aiohttp

from bot.api.health import serve_health
from bot.core.health import Health, State


async def test_alive_at_once_and_ready_when_the_parts_are() -> None:
    health = Health(("gateway",), lambda: 12.0)
    async with serve_health(health, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 503
            assert await answer.json() == {
                "ready": False,
                "parts": {"gateway": {"state": "starting", "since": 12.0, "detail": ""}},
            }
        health.report("gateway", State.OK)
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, (await answer.json())["ready"]) == (200, True)
