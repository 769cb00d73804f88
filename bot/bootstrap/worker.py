"""``python -m bot worker``: keeps the house in order, and does jobs where it is told to."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.jobs.docket_jobs import REDELIVERY_S
from bot.adapters.spool import FileSpool
from bot.api.health import serve_health
from bot.bootstrap.desk import MODEL, build_desk, build_fair_use, cdn, watch_model
from bot.bootstrap.jobs import do_jobs, keep_line, lanes_of, open_jobs
from bot.bootstrap.processes import BAD_SETTINGS, STOPPED, WORKER, Heartbeats, stop_signal
from bot.bootstrap.services import StartFailed, now, open_core, whisper
from bot.bootstrap.state import open_state
from bot.bootstrap.upkeep import STAGES, STATE_PARTS, StateWatch, clean_up, stage_readings, watch_stages
from bot.core.health import Health
from bot.core.line import Line
from bot.core.load import ReadOnly
from bot.core.spending import Spending

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from bot.bootstrap.services import Core, Ears
    from bot.bootstrap.state import BotState
    from bot.settings import Settings

DRAIN_S: Final = 20.0
"""Seconds in which jobs may end that are under way when the process is to stop; the rest is left to others."""


async def run(
    settings: Settings, make_ears: Callable[[Settings], Ears] = whisper, *, redelivery_s: float = REDELIVERY_S
) -> int:
    """Run until a signal; the exit code."""
    try:
        async with AsyncExitStack() as stack:
            await _run(settings, make_ears, redelivery_s, stack)
    except StartFailed as exc:
        logger.error("{}", exc)
        return BAD_SETTINGS
    return STOPPED


async def _run(
    settings: Settings, make_ears: Callable[[Settings], Ears], redelivery_s: float, stack: AsyncExitStack
) -> None:
    lanes, spending = lanes_of(settings, default=()), Spending()
    health = Health((*STATE_PARTS, *((MODEL, STAGES) if lanes else ())), now)
    state = await stack.enter_async_context(open_state(settings))
    if state.servers is None:
        raise StartFailed("a worker shares its state with the bot: set REDIS_STORE_URL and REDIS_CACHE_URL")
    watch = StateWatch(state, health)
    await watch.check()
    try:
        spool = FileSpool(settings.data_dir / "spool")
        await stack.enter_async_context(
            serve_health(
                health,
                host=settings.http_host,
                port=settings.http_port,
                read=lambda: (*watch.readings(), *stage_readings(state.stages), *spending.readings()),
            )
        )
    except OSError as exc:
        raise StartFailed(f"DATA_DIR, or HTTP_HOST:HTTP_PORT, cannot be had: {exc.strerror}") from exc
    work: list[Coroutine[Any, Any, None]] = [
        watch.run(),
        Heartbeats(state.documents, now).beat(WORKER, secrets.token_hex(8)),
        clean_up(state, spool, is_worker=True),
    ]
    if lanes:
        core = await stack.enter_async_context(
            open_core(settings, state, await cdn(settings, stack), make_ears, spending=spending)
        )
        work += await _jobs(settings, core, state, health, redelivery_s, stack)
    async with asyncio.TaskGroup() as background:
        tasks = [background.create_task(coroutine) for coroutine in work]
        stopped = asyncio.create_task(stop_signal(), name="signals")
        await asyncio.sleep(0)  # from here on a signal is a wish; before, it is the end
        logger.info(
            "ready: the worker keeps the house in order{}", f", and does jobs: {', '.join(lanes)}" * bool(lanes)
        )
        await stopped
        logger.info("stopping")
        for task in tasks:
            task.cancel()


async def _jobs(
    settings: Settings, core: Core, state: BotState, health: Health, redelivery_s: float, stack: AsyncExitStack
) -> list[Coroutine[Any, Any, None]]:
    """What a process does that does jobs."""
    fair_use = build_fair_use(settings, state)
    # Nothing is taken here: what is done was taken elsewhere.
    read_only = ReadOnly(core.load, enter_s=settings.overload_wait_minutes * 60)
    desk = build_desk(settings, core, state, fair_use=fair_use, read_only=read_only)
    line = Line(state.ledgers, now=now)
    jobs = await stack.enter_async_context(open_jobs(core, state, desk, line, redelivery_s=redelivery_s))
    listeners, lanes = settings.whisper_concurrency, lanes_of(settings, default=())
    return [
        do_jobs(jobs, core, lanes, places=settings.jobs_at_once, listeners=listeners, grace_s=DRAIN_S),
        keep_line(jobs, core, line),
        watch_model(core, health, warm=True),
        watch_stages(state.stages, health),
    ]
