"""Jobs that were taken by a process which has ended: how far they are is shown on, by the one that follows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loguru import logger

from bot.core.errors import EarshotError
from bot.core.records import RequestState
from bot.presentation.courier import Placeholder
from bot.presentation.progress import ProgressMessage
from bot.presentation.views import cancel_view

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from bot.core.dispatch import Dispatch
    from bot.core.orders import Address
    from bot.core.records import RequestRecord
    from bot.presentation.watches import Watches


class Adoption:
    """Watches what nobody watches any more. Their answers come without it, too.

    Args:
        dispatch: knows what is under way.
        watches: know what this process has taken itself.
        now: Unix time in seconds.
    """

    def __init__(self, dispatch: Dispatch, watches: Watches, *, now: Callable[[], float]) -> None:
        self._dispatch = dispatch
        self._watches = watches
        self._now = now

    async def run(self, client: discord.Client) -> None:
        """Watch all that is under way, until there are answers."""
        try:
            records = await self._dispatch.under_way()
        except EarshotError as exc:
            logger.info("nobody knows what is under way: {}", exc)
            return
        async with asyncio.TaskGroup() as group:
            for record in records:
                address = record.address
                if record.state is not RequestState.RUNNING or address is None or self._watches.has(record.id):
                    continue
                if address.reply_to is None and self._now() < address.token_ends_at:
                    group.create_task(self._watch(client, record, address), name=f"watch {record.id}")

    async def _watch(self, client: discord.Client, record: RequestRecord, address: Address) -> None:
        placeholder = Placeholder(client, address, now=self._now)
        view = cancel_view(record.id, address.locale)

        async def show(embed: discord.Embed) -> None:
            await placeholder.show(embed, view)

        progress = ProgressMessage(show, locale=address.locale)
        with logger.contextualize(request_id=record.id), self._watches.on(record.id, progress.observe) as watch:
            watch.record = record
            try:
                if await self._dispatch.is_answered(record.id):
                    return  # meanwhile
            except EarshotError:
                return
            is_here = record.order is None or record.order.spooled is not None or record.starts > 0
            async with progress:  # its audio may never have been fetched
                await watch.over(None if is_here else self._dispatch.forward(record, watch.observe))
