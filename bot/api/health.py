"""``/healthz``: the process is alive. ``/readyz``: its parts work."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.core.health import Health


def health_app(health: Health) -> web.Application:
    """The two pages, as JSON."""

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        parts = {name: asdict(part) for name, part in health.parts.items()}
        return web.json_response({"ready": health.ready, "parts": parts}, status=200 if health.ready else 503)

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    return app


@asynccontextmanager
async def serve_health(health: Health, *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve while the context lasts; gives the port that was taken.

    Raises:
        OSError: the address cannot be had.
    """
    runner = web.AppRunner(health_app(health), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        taken = int(runner.addresses[0][1])
        logger.info("health is served on {}:{}", host, taken)
        yield taken
    finally:
        await runner.cleanup()
