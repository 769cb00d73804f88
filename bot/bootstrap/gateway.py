"""``python -m bot run``: the process that Discord talks to."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import discord
from loguru import logger

from bot.adapters.discord_cdn import DiscordCdnFetcher, FetchLimits
from bot.api.health import serve_health
from bot.bootstrap.processes import BAD_SETTINGS, FAILED, STOPPED, Heartbeats, every, stop_signal
from bot.bootstrap.processes import GATEWAY as KIND
from bot.bootstrap.services import StartFailed, now, open_core
from bot.bootstrap.state import open_state
from bot.bootstrap.upkeep import (
    LOAD,
    STAGES,
    STATE_PARTS,
    StateWatch,
    StrainedLoad,
    clean_up,
    stage_readings,
    watch_stages,
)
from bot.core.desk import Desk, Keeping
from bot.core.errors import EarshotError
from bot.core.fair_use import FairUse
from bot.core.health import Health, Reading, State
from bot.core.load import ReadOnly
from bot.core.quotas import Limits as Quotas
from bot.presentation.client import GATEWAY, EarshotBot, Limits, Services
from bot.presentation.courier import Courier
from bot.presentation.moderation import AccessPolicy
from bot.presentation.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.adapters.spool import FileSpool
    from bot.bootstrap.services import Core
    from bot.bootstrap.state import BotState
    from bot.core.stage_health import StageHealth
    from bot.settings import Settings

MODEL = "model"

# Nothing here speaks in voice channels: what discord.py would need for it is not missed.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
GRACE_S = 8.0
"""Seconds in which members are told that the process ends; container engines wait ten before they kill."""
LOOK_S = 1.0
"""How often it is seen whether the parts are well, in seconds."""


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
    health = Health((GATEWAY, MODEL, *STATE_PARTS, LOAD, STAGES), now)
    state = await stack.enter_async_context(open_state(settings))
    watch = StateWatch(state, health)
    await watch.check()
    # Nothing secret goes along with a download: no cookies, no headers of Discord's API.
    session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
    fetcher = partial(_cdn, session, settings.discord_proxy)
    core = await stack.enter_async_context(open_core(settings, state, fetcher))
    enter_s = settings.overload_wait_minutes * 60
    read_only = ReadOnly(StrainedLoad(core.load, watch, state.stages, full_s=enter_s), enter_s=enter_s)
    try:
        await stack.enter_async_context(
            serve_health(
                health,
                host=settings.http_host,
                port=settings.http_port,
                read=lambda: (*watch.readings(), *stage_readings(state.stages), *_readings(core, read_only)),
            )
        )
    except OSError as exc:
        raise StartFailed(f"HTTP_HOST:HTTP_PORT cannot be had: {exc.strerror}") from exc
    bot = build_bot(settings, core, state, read_only=read_only, health=health)
    async with asyncio.TaskGroup() as background:
        tasks = [
            background.create_task(_watch_model(core, health)),
            background.create_task(_watch_load(bot, read_only, health, state.stages)),
            background.create_task(watch_stages(state.stages, health)),
            background.create_task(watch.run()),
            background.create_task(Heartbeats(state.documents, now).beat(KIND, secrets.token_hex(8))),
            background.create_task(clean_up(state, core.spool, is_worker=False)),
        ]
        try:
            return await _serve(bot, token)
        finally:
            for task in tasks:
                task.cancel()


def _cdn(session: aiohttp.ClientSession, proxy: str | None, spool: FileSpool, max_bytes: int) -> DiscordCdnFetcher:
    return DiscordCdnFetcher(session, spool, limits=FetchLimits(max_bytes=max_bytes), proxy=proxy)


def build_bot(settings: Settings, core: Core, state: BotState, *, read_only: ReadOnly, health: Health) -> EarshotBot:
    """The bot's side of Discord with everything that its cogs work with."""
    policy = AccessPolicy(
        allowed_guilds=frozenset(settings.allowed_guilds), allow_user_install=settings.allow_user_install
    )
    fair_use = _fair_use(settings, state)
    desk = build_desk(settings, core, state, fair_use=fair_use, read_only=read_only)
    courier = Courier(lambda: tuple(core.modes.current().values()))
    services = Services(
        desk=desk,
        reception=Reception(desk, courier, policy, clock=time.monotonic, new_id=lambda: secrets.token_hex(8)),
        policy=policy,
        fair_use=fair_use,
        settings=state.settings,
        audit=state.audit,
        requests=state.requests,
        deliveries=state.deliveries,
        transcripts=state.transcripts,
        privacy=state.privacy,
        modes=core.modes,
        health=health,
        limits=Limits(
            max_audio_mb=settings.max_audio_mb,
            max_audio_minutes=settings.max_audio_minutes,
            transcript_days=settings.transcript_days,
        ),
        automatic=settings.auto_transcribe,
    )
    return EarshotBot(services, proxy=settings.discord_proxy)


def build_desk(
    settings: Settings, core: Core, state: BotState, *, fair_use: FairUse | None = None, read_only: ReadOnly
) -> Desk:
    """What takes requests, whoever brings them."""
    return Desk(
        core.pipeline,
        fair_use=fair_use or _fair_use(settings, state),
        read_only=read_only,
        stages=state.stages,
        settings=state.settings,
        requests=state.requests,
        deliveries=state.deliveries,
        modes=core.modes,
        keeping=Keeping(days=settings.transcript_days, across_guilds=settings.cache_across_guilds),
        now=now,
    )


def _fair_use(settings: Settings, state: BotState) -> FairUse:
    default = Quotas(per_hour=settings.rate_per_hour, burst=settings.rate_burst, daily=settings.guild_daily_tokens)
    return FairUse(
        state.limiter,
        state.settings,
        default=default,
        caps=Quotas(
            per_hour=settings.max_rate_per_hour, burst=settings.max_rate_burst, daily=settings.guild_daily_tokens
        ),
        outside=Quotas(per_hour=default.per_hour, burst=default.burst, daily=settings.user_install_daily_tokens),
        unlimited=frozenset(settings.admin_ids) if settings.admin_mode else frozenset(),
    )


async def _serve(bot: EarshotBot, token: str) -> int:
    async with bot:
        running = asyncio.create_task(bot.start(token), name="discord")
        stopped = asyncio.create_task(stop_signal(), name="signals")
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

    async def look() -> None:
        state = core.transcriber.state
        health.report(MODEL, _MODEL_STATES[state.name], state.detail)

    await every(1.0, look)


_MODEL_STATES = {"cold": State.OK, "loading": State.STARTING, "ready": State.OK, "failed": State.FAILED}
"""A cold model is no fault: it is unloaded after idling, and loaded for the next request."""


async def _watch_load(bot: EarshotBot, read_only: ReadOnly, health: Health, stages: StageHealth) -> None:
    """Tell, in health and presence, whether new work is taken."""
    told = False
    health.report(LOAD, State.OK)

    async def look() -> None:
        nonlocal told
        wait_s = read_only.look()
        if wait_s is not None:
            wait = f"new work would wait for {wait_s / 60:.0f} minutes"
            why = "no transcription succeeds" if stages.is_deaf else wait
            health.report(LOAD, State.DEGRADED, f"read-only: {why}")
        if (wait_s is not None) is not told:
            told = not told
            if not told:
                health.report(LOAD, State.OK)
            logger.warning("new work is {}", "refused" if told else "taken again")
            await bot.show_load(read_only=told)

    await every(LOOK_S, look)


def _readings(core: Core, read_only: ReadOnly) -> Iterator[Reading]:
    yield Reading(
        name="expected_wait_seconds",
        help="Seconds until a request that came now would be begun.",
        kind="gauge",
        value=core.load.expected_wait_s(),
    )
    yield Reading(
        name="transcriptions_waiting", help="Audio that waits or is heard.", kind="gauge", value=core.load.waiting
    )
    yield Reading(
        name="transcription_speed",
        help="Seconds of audio heard in a second, by each transcriber.",
        kind="gauge",
        value=core.load.speed,
    )
    yield Reading(
        name="read_only",
        help="Whether new work is refused.",
        kind="gauge",
        value=float(read_only.look() is not None),
    )
