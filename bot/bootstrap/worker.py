"""``python -m bot worker``: the process that keeps the house in order, so that the gateway need not."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from loguru import logger

from bot.adapters.spool import FileSpool
from bot.api.health import serve_health
from bot.bootstrap.processes import BAD_SETTINGS, STOPPED, WORKER, Heartbeats, stop_signal
from bot.bootstrap.services import StartFailed, now
from bot.bootstrap.state import open_state
from bot.bootstrap.upkeep import STATE_PARTS, StateWatch, clean_up
from bot.core.health import Health

if TYPE_CHECKING:
    from bot.settings import Settings


async def run(settings: Settings) -> int:
    """Run until a signal; the exit code."""
    try:
        async with AsyncExitStack() as stack:
            await _run(settings, stack)
    except StartFailed as exc:
        logger.error("{}", exc)
        return BAD_SETTINGS
    return STOPPED


async def _run(settings: Settings, stack: AsyncExitStack) -> None:
    health = Health(STATE_PARTS, now)
    state = await stack.enter_async_context(open_state(settings))
    if state.servers is None:
        raise StartFailed("a worker shares its state with the bot: set REDIS_STORE_URL and REDIS_CACHE_URL")
    watch = StateWatch(state, health)
    await watch.check()
    try:
        spool = FileSpool(settings.data_dir / "spool")
        await stack.enter_async_context(
            serve_health(health, host=settings.http_host, port=settings.http_port, read=watch.readings)
        )
    except OSError as exc:
        raise StartFailed(f"DATA_DIR, or HTTP_HOST:HTTP_PORT, cannot be had: {exc.strerror}") from exc
    async with asyncio.TaskGroup() as background:
        tasks = [
            background.create_task(watch.run()),
            background.create_task(Heartbeats(state.documents, now).beat(WORKER, secrets.token_hex(8))),
            background.create_task(clean_up(state, spool, is_worker=True)),
        ]
        stopped = asyncio.create_task(stop_signal(), name="signals")
        await asyncio.sleep(0)  # from here on a signal is a wish; before, it is the end
        logger.info("ready: the worker keeps the house in order")
        await stopped
        logger.info("stopping")
        for task in tasks:
            task.cancel()
