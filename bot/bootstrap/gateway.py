"""``python -m bot run``: the process that Discord talks to."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import discord
from loguru import logger

from bot.api.health import serve_health
from bot.bootstrap.desk import MODEL, build_desk, build_fair_use, cdn, watch_model
from bot.bootstrap.jobs import do_jobs, keep_line, lanes_of, open_jobs
from bot.bootstrap.processes import BAD_SETTINGS, FAILED, STOPPED, Heartbeats, every, stop_signal
from bot.bootstrap.processes import GATEWAY as KIND
from bot.bootstrap.services import StartFailed, now, open_core, whisper
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
from bot.core.health import Health, Reading, State
from bot.core.jobs import LINES
from bot.core.line import Line
from bot.core.load import ReadOnly
from bot.core.privacy import Privacy
from bot.core.spending import Spending
from bot.presentation.client import GATEWAY, EarshotBot, Limits, Services
from bot.presentation.courier import Courier
from bot.presentation.deliveries import Deliveries
from bot.presentation.moderation import AccessPolicy
from bot.presentation.reception import Reception
from bot.presentation.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bot.bootstrap.jobs import Jobs
    from bot.bootstrap.services import Core, Ears
    from bot.bootstrap.state import BotState
    from bot.core.desk import Desk
    from bot.core.fair_use import FairUse
    from bot.core.stage_health import StageHealth
    from bot.settings import Settings

# Nothing here speaks in voice channels: what discord.py would need for it is not missed.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
DRAIN_S = 3.0
"""Seconds in which jobs may end that are almost done, before they are left to others."""
GRACE_S = 4.0
"""Seconds in which members are told that the process ends; container engines wait ten before they kill."""
LOOK_S = 1.0
"""How often it is seen whether the parts are well, in seconds."""


async def run(settings: Settings, make_ears: Callable[[Settings], Ears] = whisper) -> int:
    """Run until a signal or a fatal error; the exit code."""
    if settings.discord_token is None:
        logger.error("DISCORD_TOKEN is not set: get one at https://discord.com/developers/applications")
        return BAD_SETTINGS
    try:
        async with AsyncExitStack() as stack:
            return await _run(settings, settings.discord_token.get_secret_value(), make_ears, stack)
    except StartFailed as exc:
        logger.error("{}", exc)
        return BAD_SETTINGS


async def _run(settings: Settings, token: str, make_ears: Callable[[Settings], Ears], stack: AsyncExitStack) -> int:
    health = Health((GATEWAY, MODEL, *STATE_PARTS, LOAD, STAGES), now)
    state = await stack.enter_async_context(open_state(settings))
    watch, spending = StateWatch(state, health), Spending()
    await watch.check()
    core = await stack.enter_async_context(
        open_core(settings, state, await cdn(settings, stack), make_ears, spending=spending)
    )
    enter_s = settings.overload_wait_minutes * 60
    line = Line(state.ledgers, now=now)
    load = StrainedLoad((core.load, line), watch, state.stages, full_s=enter_s)
    read_only = ReadOnly(load, enter_s=enter_s)
    fair_use = build_fair_use(settings, state)
    desk = build_desk(settings, core, state, fair_use=fair_use, read_only=read_only)
    jobs = await stack.enter_async_context(open_jobs(core, state, desk, line))
    try:
        await stack.enter_async_context(
            serve_health(
                health,
                host=settings.http_host,
                port=settings.http_port,
                read=lambda: (
                    *watch.readings(),
                    *stage_readings(state.stages),
                    *spending.readings(),
                    *_readings(core, line, read_only),
                ),
            )
        )
    except OSError as exc:
        raise StartFailed(f"HTTP_HOST:HTTP_PORT cannot be had: {exc.strerror}") from exc
    bot = build_bot(settings, core, state, desk=desk, jobs=jobs, fair_use=fair_use, health=health)
    lanes = lanes_of(settings, default=LINES)
    async with asyncio.TaskGroup() as background:
        working = background.create_task(
            do_jobs(
                jobs,
                core,
                lanes,
                places=settings.jobs_at_once,
                listeners=settings.whisper_concurrency,
                grace_s=DRAIN_S,
            )
        )
        tasks = [
            working,
            background.create_task(keep_line(jobs, core, line)),
            background.create_task(watch_model(core, health, warm=bool(lanes))),
            background.create_task(_watch_load(bot, read_only, health, state.stages)),
            background.create_task(watch_stages(state.stages, health)),
            background.create_task(watch.run()),
            background.create_task(Heartbeats(state.documents, now).beat(KIND, secrets.token_hex(8))),
            background.create_task(clean_up(state, core.spool, is_worker=False)),
        ]
        try:
            return await _serve(bot, token, jobs, working)
        finally:
            for task in tasks:
                task.cancel()


def build_bot(  # noqa: PLR0913 - all that stands behind a command
    settings: Settings, core: Core, state: BotState, *, desk: Desk, jobs: Jobs, fair_use: FairUse, health: Health
) -> EarshotBot:
    """The bot's side of Discord with everything that its cogs work with."""
    policy = AccessPolicy(
        allowed_guilds=frozenset(settings.allowed_guilds), allow_user_install=settings.allow_user_install
    )
    courier = Courier(lambda: tuple(core.modes.current().values()))
    watches = Watches(jobs.bus)
    deliveries = Deliveries(
        desk,
        courier,
        outbox=jobs.outbox,
        requests=state.requests,
        transcripts=state.transcripts,
        deliveries=state.deliveries,
        watches=watches,
        consumer=jobs.name,
        now=now,
    )
    jobs.runner.at_hand = deliveries.hand_over
    services = Services(
        desk=desk,
        reception=Reception(
            desk,
            jobs.dispatch,
            watches,
            courier,
            policy,
            outlived=jobs.outlive_the_process,
            now=now,
            new_id=lambda: secrets.token_hex(8),
        ),
        dispatch=jobs.dispatch,
        watches=watches,
        answers=deliveries,
        policy=policy,
        fair_use=fair_use,
        settings=state.settings,
        audit=state.audit,
        requests=state.requests,
        deliveries=state.deliveries,
        transcripts=state.transcripts,
        privacy=Privacy(
            state.requests,
            transcripts=state.transcripts,
            deliveries=state.deliveries,
            flags=state.flags,
            cache=state.cache,
            audio=core.depot,
        ),
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


async def _serve(bot: EarshotBot, token: str, jobs: Jobs, working: asyncio.Task[None]) -> int:
    async with bot:
        running = asyncio.create_task(bot.start(token), name="discord")
        stopped = asyncio.create_task(stop_signal(), name="signals")
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        logger.info("stopping")
        # While the connection is still there: what is almost done is delivered, and the others are told.
        jobs.queue.stop()
        await asyncio.wait({working}, timeout=DRAIN_S + 1)
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


def _readings(core: Core, line: Line, read_only: ReadOnly) -> Iterator[Reading]:
    yield Reading(
        name="expected_wait_seconds",
        help="Seconds until a request that came now would be begun.",
        kind="gauge",
        value=core.load.expected_wait_s(),
    )
    for name, value, told in (
        ("jobs_waiting", line.waiting, "Requests that wait to be let in."),
        ("jobs_admitted", line.admitted, "Requests that were let in and need a transcriber."),
        ("worker_places", line.places, "Transcriptions that all living workers do at a time."),
    ):
        yield Reading(name=name, help=told, kind="gauge", value=float(value))
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
