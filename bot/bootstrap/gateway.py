"""``python -m bot run``: the process that Discord talks to."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import discord
from loguru import logger

from bot.adapters.discord_cdn import DiscordCdnFetcher, FetchLimits
from bot.adapters.transcript_files import TranscriptFiles
from bot.api.health import serve_health
from bot.bootstrap.services import StartFailed, now, open_core
from bot.core.errors import EarshotError
from bot.core.health import Health, State
from bot.presentation.client import GATEWAY, EarshotBot, Limits, Services
from bot.presentation.courier import Courier
from bot.presentation.reception import Reception

if TYPE_CHECKING:
    from bot.adapters.spool import FileSpool
    from bot.bootstrap.services import Core
    from bot.settings import Settings

STOPPED, FAILED, BAD_SETTINGS = 0, 1, 2
"""Exit codes."""

MODEL = "model"

# Nothing here speaks in voice channels: what discord.py would need for it is not missed.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
SWEEP_INTERVAL_S = 3_600.0
GRACE_S = 8.0
"""Seconds in which members are told that the process ends; container engines wait ten before they kill."""
_DAY_S = 86_400


async def run(settings: Settings) -> int:
    """Run until a signal or a fatal error; the exit code."""
    if settings.discord_token is None:
        logger.error("DISCORD_TOKEN is not set: get one at https://discord.com/developers/applications")
        return BAD_SETTINGS
    try:
        async with AsyncExitStack() as stack:
            return await _run(settings, settings.discord_token.get_secret_value(), stack)
    except StartFailed as exc:
        logger.error("{}", exc)
        return BAD_SETTINGS


async def _run(settings: Settings, token: str, stack: AsyncExitStack) -> int:
    health = Health((GATEWAY, MODEL), now)
    transcripts = _transcripts(settings)
    # Nothing secret goes along with a download: no cookies, no headers of Discord's API.
    session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
    fetcher = partial(_cdn, session, settings.discord_proxy)
    core = await stack.enter_async_context(open_core(settings, transcripts, fetcher))
    try:
        await stack.enter_async_context(serve_health(health, host=settings.http_host, port=settings.http_port))
    except OSError as exc:
        raise StartFailed(f"HTTP_HOST:HTTP_PORT cannot be had: {exc.strerror}") from exc
    bot = _build(settings, core, transcripts, health)
    async with asyncio.TaskGroup() as background:
        tasks = [
            background.create_task(_watch_model(core, health)),
            background.create_task(_sweep(transcripts, core.spool)),
        ]
        try:
            return await _serve(bot, token)
        finally:
            for task in tasks:
                task.cancel()


def _transcripts(settings: Settings) -> TranscriptFiles:
    folder = settings.data_dir / "transcripts"
    try:
        return TranscriptFiles(folder, max_age_s=settings.transcript_days * _DAY_S, now=now)
    except OSError as exc:
        raise StartFailed(f"DATA_DIR cannot be used: {exc}") from exc


def _cdn(session: aiohttp.ClientSession, proxy: str | None, spool: FileSpool, max_bytes: int) -> DiscordCdnFetcher:
    return DiscordCdnFetcher(session, spool, limits=FetchLimits(max_bytes=max_bytes), proxy=proxy)


def _build(settings: Settings, core: Core, transcripts: TranscriptFiles, health: Health) -> EarshotBot:
    courier = Courier(lambda: tuple(core.modes.current().values()))
    services = Services(
        reception=Reception(core.pipeline, courier, clock=time.monotonic, new_id=lambda: secrets.token_hex(8)),
        transcripts=transcripts,
        modes=core.modes,
        health=health,
        limits=Limits(
            max_audio_mb=settings.max_audio_mb,
            max_audio_minutes=settings.max_audio_minutes,
            transcript_days=settings.transcript_days,
        ),
    )
    return EarshotBot(services, proxy=settings.discord_proxy)


async def _serve(bot: EarshotBot, token: str) -> int:
    async with bot:
        running = asyncio.create_task(bot.start(token), name="discord")
        stopped = asyncio.create_task(_stop_signal(), name="signals")
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        logger.info("stopping")
        # While the connection is still there: members whose requests end here are told.
        await bot.services.reception.aclose(within_s=GRACE_S)
        await bot.close()
        # Closing does not wake a client that waits before it connects again.
        running.cancel()
        await asyncio.wait({running})
    return STOPPED if running.cancelled() else _exit_code(running.exception())


async def _stop_signal() -> None:
    """Wait for SIGTERM or SIGINT; the second one ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)


def _exit_code(error: BaseException | None) -> int:
    match error:
        case None:
            return STOPPED
        case discord.LoginFailure():
            logger.error("Discord refuses DISCORD_TOKEN: copy it anew from https://discord.com/developers/applications")
            return BAD_SETTINGS
        case discord.PrivilegedIntentsRequired():
            logger.error("Discord refuses the bot's intents: {}", error)
            return BAD_SETTINGS
        case _:
            logger.opt(exception=error).error("the connection to Discord failed")
            return FAILED


async def _watch_model(core: Core, health: Health) -> None:
    """Load the model ahead of the first request, and tell how it is."""
    with suppress(EarshotError, OSError):  # the state tells it
        await core.transcriber.warm_up()
    while True:
        state = core.transcriber.state
        health.report(MODEL, _MODEL_STATES[state.name], state.detail)
        await asyncio.sleep(1.0)


_MODEL_STATES = {"cold": State.OK, "loading": State.STARTING, "ready": State.OK, "failed": State.FAILED}
"""A cold model is no fault: it is unloaded after idling, and loaded for the next request."""


async def _sweep(transcripts: TranscriptFiles, spool: FileSpool) -> None:
    """Delete what is kept no longer, now and every hour."""
    while True:
        try:
            deleted = await transcripts.sweep() + await asyncio.to_thread(spool.sweep)
        except (OSError, EarshotError) as exc:
            logger.error("what is old cannot be deleted: {}", exc)
        else:
            logger.debug("{} old files deleted", deleted)
        await asyncio.sleep(SWEEP_INTERVAL_S)
