"""Takes an interaction from its acknowledgement to its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
from loguru import logger

from bot.core.errors import EarshotError
from bot.core.languages import parse_language
from bot.core.models import Request, TranscriptionOptions
from bot.presentation.courier import Placeholder
from bot.presentation.progress import ProgressMessage
from bot.presentation.replies import error_answer, reply_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.models import Source
    from bot.core.pipeline import Pipeline
    from bot.presentation.courier import Courier
    from bot.presentation.replies import Answer
    from bot.presentation.requests import Ask


class Interrupted(EarshotError):
    """The process ends while a request runs."""

    key = "error.interrupted"


class Reception:
    """Answers interactions.

    Args:
        pipeline: does the work.
        courier: brings the answer.
        clock: seconds from any beginning, never going back.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(
        self, pipeline: Pipeline, courier: Courier, *, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._pipeline = pipeline
        self._courier = courier
        self._clock = clock
        self._new_id = new_id
        self._under_way: set[asyncio.Task[object]] = set()

    async def answer(
        self, interaction: discord.Interaction, find_source: Callable[[], Awaitable[Source]], ask: Ask
    ) -> None:
        """Acknowledge at once, show progress, answer; whatever happens, the member hears of it.

        Args:
            interaction: a command's or a menu's, not yet acknowledged.
            find_source: finds what to listen to; it runs after the acknowledgement, so it may take its time.
            ask: what to make of it.
        """
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        request_id = self._new_id()
        try:
            with logger.contextualize(request_id=request_id):
                await self._answer(interaction, find_source, ask, request_id)
        finally:
            self._under_way.discard(task)

    async def aclose(self) -> None:
        """End what is under way; its members are told."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self,
        interaction: discord.Interaction,
        find_source: Callable[[], Awaitable[Source]],
        ask: Ask,
        request_id: str,
    ) -> None:
        try:
            await interaction.response.defer(ephemeral=ask.private, thinking=True)
        except discord.NotFound:
            logger.warning("acknowledged too late: Discord has given the interaction up")
            return
        placeholder = Placeholder(interaction, private=ask.private, clock=self._clock)
        try:
            answer = await self._work(placeholder, find_source, ask, request_id)
        except asyncio.CancelledError:
            answer = error_answer(Interrupted(), reference=None, locale=str(interaction.locale))
            await self._courier.deliver(placeholder, answer, nonce=request_id)
            raise
        await self._courier.deliver(placeholder, answer, nonce=request_id)

    async def _work(
        self,
        placeholder: Placeholder,
        find_source: Callable[[], Awaitable[Source]],
        ask: Ask,
        request_id: str,
    ) -> Answer:
        locale = str(placeholder.interaction.locale)
        try:
            request = Request(
                id=request_id,
                source=await find_source(),
                mode=ask.mode,
                options=TranscriptionOptions(
                    language=parse_language(ask.language) if ask.language else None, task=ask.task
                ),
                private=ask.private,
            )
            async with ProgressMessage(placeholder.show, locale=locale) as progress:
                reply = await self._pipeline.run(request, progress.observe)
        except EarshotError as exc:
            logger.opt(exception=exc.__cause__).info("answered with {}: {}", exc.key, exc.detail)
            return error_answer(exc, reference=request_id[:8], locale=locale)
        except Exception:  # noqa: BLE001 - the last resort: the member is told, the log has the cause
            logger.exception("unexpected error")
            return error_answer(EarshotError(), reference=request_id[:8], locale=locale)
        else:
            logger.info("answered in {:.1f} s", reply.seconds)
            return reply_answer(reply, locale=locale)
