"""``/healthz``: the process is alive. ``/readyz``: its parts work. ``/metrics``: its figures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web
from loguru import logger
from prometheus_client import CONTENT_TYPE_LATEST

from bot.api.metrics import metrics_page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from bot.core.health import Health, Reading


def health_app(health: Health, read: Callable[[], Iterable[Reading]] = tuple) -> web.Application:
    """The first two as JSON, the third as Prometheus wants it."""

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        parts = {name: asdict(part) for name, part in health.parts.items()}
        return web.json_response({"ready": health.ready, "parts": parts}, status=200 if health.ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics_page(read), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serve_health(
    health: Health, *, host: str, port: int, read: Callable[[], Iterable[Reading]] = tuple
) -> AsyncGenerator[int]:
    """Serve while the context lasts; gives the port that was taken.

    Raises:
        OSError: the address cannot be had.
    """
    runner = web.AppRunner(health_app(health, read), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        taken = int(runner.addresses[0][1])
        logger.info("health is served on {}:{}", host, taken)
        yield taken
    finally:
        await runner.cleanup()
