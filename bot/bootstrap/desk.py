"""What answers requests, in the bot and in a worker alike: the desk, and what stands behind it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp

from bot.adapters.discord_cdn import DiscordCdnFetcher, FetchLimits
from bot.bootstrap.processes import every
from bot.bootstrap.services import now
from bot.core.desk import Desk, Keeping
from bot.core.errors import EarshotError
from bot.core.fair_use import FairUse
from bot.core.health import Health, State
from bot.core.quotas import Limits as Quotas

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from bot.adapters.spool import FileSpool
    from bot.bootstrap.services import Core
    from bot.bootstrap.state import BotState
    from bot.core.load import ReadOnly
    from bot.core.ports import AudioFetcher
    from bot.settings import Settings

MODEL: Final = "model"
"""A part of health."""


def build_desk(settings: Settings, core: Core, state: BotState, *, fair_use: FairUse, read_only: ReadOnly) -> Desk:
    """What takes requests, whoever brings them."""
    return Desk(
        core.pipeline,
        fair_use=fair_use,
        read_only=read_only,
        stages=state.stages,
        settings=state.settings,
        requests=state.requests,
        deliveries=state.deliveries,
        modes=core.modes,
        keeping=Keeping(days=settings.transcript_days, across_guilds=settings.cache_across_guilds),
        now=now,
    )


def build_fair_use(settings: Settings, state: BotState) -> FairUse:
    """Who may use how much."""
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


async def cdn(settings: Settings, stack: AsyncExitStack) -> Callable[[FileSpool, int], AudioFetcher]:
    """Fetches from Discord."""
    # Nothing secret goes along with a download: no cookies, no headers of Discord's API.
    session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
    return partial(_cdn, session, settings.discord_proxy)


def _cdn(session: aiohttp.ClientSession, proxy: str | None, spool: FileSpool, max_bytes: int) -> DiscordCdnFetcher:
    return DiscordCdnFetcher(session, spool, limits=FetchLimits(max_bytes=max_bytes), proxy=proxy)


async def watch_model(core: Core, health: Health, *, warm: bool) -> None:
    """Load the model ahead of the first request, where that comes here, and tell how it is."""
    if warm:
        with suppress(EarshotError, OSError):  # the state tells it
            await core.transcriber.warm_up()

    async def look() -> None:
        state = core.transcriber.state
        health.report(MODEL, _MODEL_STATES[state.name], state.detail)

    await every(1.0, look)


_MODEL_STATES = {"cold": State.OK, "loading": State.STARTING, "ready": State.OK, "failed": State.FAILED}
"""A cold model is no fault: it is unloaded after idling, and loaded for the next request."""
