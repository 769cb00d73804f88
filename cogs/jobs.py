"""Brings the answers of jobs, shows where in the line they are, and cancels them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from discord.ext import commands, tasks

from bot.core.errors import EarshotError
from bot.presentation.adoption import Adoption
from bot.presentation.cancelling import Cancelling
from bot.presentation.views import CancelButton

if TYPE_CHECKING:
    import discord

    from bot.core.dispatch import Dispatch
    from bot.presentation.client import EarshotBot
    from bot.presentation.deliveries import Deliveries
    from bot.presentation.watches import Watches


class Jobs(commands.Cog):
    """Runs while the bot does, as answers may be there from before it started."""

    def __init__(
        self,
        client: discord.Client,
        dispatch: Dispatch,
        watches: Watches,
        deliveries: Deliveries,
        cancelling: Cancelling,
        adoption: Adoption,
    ) -> None:
        self._client = client
        self._dispatch = dispatch
        self._watches = watches
        self._deliveries = deliveries
        self._cancelling = cancelling
        self._adoption = adoption
        self._tasks: list[asyncio.Task[None]] = []

    async def cog_load(self) -> None:
        """Begin to deliver."""
        self._tasks = [
            asyncio.create_task(self._deliveries.run(self._client), name="deliveries"),
            asyncio.create_task(self._adoption.run(self._client), name="adoption"),
        ]
        self.stand.start()
        self.revive.start()

    async def cog_unload(self) -> None:
        """Leave what is not delivered to others."""
        self.stand.cancel()
        self.revive.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    @commands.Cog.listener()
    async def on_cancel(self, interaction: discord.Interaction[Any], request_id: str) -> None:
        """Somebody pressed the button."""
        await self._cancelling.press(interaction, request_id)

    @tasks.loop(seconds=2.0)
    async def stand(self) -> None:
        """Show those who wait how many are before them."""
        if waiting := self._watches.waiting:
            self._watches.stand(await self._dispatch.places(waiting))

    @tasks.loop(seconds=10.0)
    async def revive(self) -> None:
        """Take up again what the store has lost, and look no longer at what another process has answered."""
        unheard_of = self._watches.unheard_of
        for record in self._watches.jobs:
            with suppress(EarshotError):  # it is looked at again
                if record in unheard_of:
                    await self._dispatch.revive(record)
                if await self._dispatch.is_answered(record.id):
                    await self._watches.make_way(record.id)


async def setup(bot: EarshotBot) -> None:
    """discord.py's entry point of an extension."""
    services = bot.services
    cancelling = Cancelling(services.dispatch, services.requests, services.settings)
    bot.add_dynamic_items(CancelButton)
    adoption = Adoption(services.dispatch, services.watches, now=time.time)  # noqa: TID251 - a clock, handed in
    await bot.add_cog(Jobs(bot, services.dispatch, services.watches, services.answers, cancelling, adoption))
