"""Takes an interaction from its acknowledgement to its answer: whatever happens, the member hears of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from bot.core.errors import OWN_DOING, EarshotError, ErrorKind, reference_of
from bot.core.languages import parse_language
from bot.core.models import Request, TranscriptionOptions
from bot.presentation.courier import Placeholder
from bot.presentation.network import UNDELIVERED
from bot.presentation.progress import ProgressMessage
from bot.presentation.replies import error_answer, reply_answer
from bot.presentation.requests import asker_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import discord

    from bot.core.desk import Desk
    from bot.core.models import Reply, Source
    from bot.presentation.courier import Courier
    from bot.presentation.moderation import AccessPolicy
    from bot.presentation.replies import Answer
    from bot.presentation.requests import Ask

    Work = Callable[[Placeholder, str], Awaitable[Answer]]
    """Gets the placeholder and the request's id."""


class Interrupted(EarshotError):
    """The process ends while a request runs."""

    key = "error.interrupted"
    kind = ErrorKind.TEMPORARY


class DiscordFailed(EarshotError):
    """Discord, or the way to it, fails where a member's message is looked for."""

    key = "error.discord_failed"
    kind = ErrorKind.TEMPORARY


class Reception:
    """Answers interactions.

    Args:
        desk: answers requests.
        courier: brings the answer.
        policy: who may ask at all.
        clock: seconds from any beginning, never going back.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(
        self,
        desk: Desk,
        courier: Courier,
        policy: AccessPolicy,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._courier = courier
        self._policy = policy
        self._clock = clock
        self._new_id = new_id
        self._under_way: set[asyncio.Task[object]] = set()
        self._closing = False

    async def listen(
        self, interaction: discord.Interaction, find_source: Callable[[], Awaitable[Source]], ask: Ask
    ) -> None:
        """Answer with what the pipeline makes of a source, showing how far it is.

        Args:
            interaction: a command's or a menu's, not yet acknowledged.
            find_source: finds what to listen to; it runs after the acknowledgement, so it may take its time.
            ask: what to make of it.
        """

        async def work(placeholder: Placeholder, request_id: str) -> Answer:
            try:
                source = await find_source()
            except UNDELIVERED as exc:
                raise DiscordFailed(repr(exc)) from exc
            request = Request(
                id=request_id,
                source=source,
                mode=ask.mode,
                asker=asker_of(interaction),
                options=TranscriptionOptions(
                    language=parse_language(ask.language) if ask.language else None, task=ask.task
                ),
                private=ask.private,
            )
            reply = await self._run(request, placeholder)
            logger.info("answered in {:.1f} s", reply.seconds)
            return reply_answer(reply, locale=placeholder.locale)

        await self._serve(interaction, work, private=ask.private)

    async def hand_over(self, interaction: discord.Interaction, make: Callable[[], Awaitable[Answer]]) -> None:
        """Answer the member alone with what ``make`` gives."""

        async def work(_placeholder: Placeholder, _request_id: str) -> Answer:
            return await make()

        await self._serve(interaction, work, private=True)

    async def aclose(self, *, within_s: float) -> None:
        """End what is under way; its members are told, as far as that works ``within_s`` seconds."""
        self._closing = True
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            if late:
                logger.warning("{} members could not be told in time", len(late))

    async def _serve(self, interaction: discord.Interaction, work: Work, *, private: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        request_id = self._new_id()
        with logger.contextualize(request_id=request_id):
            try:
                await interaction.response.defer(ephemeral=private, thinking=True)
                placeholder = Placeholder(interaction, private=private, clock=self._clock)
                answer = await self._answer(placeholder, work, request_id)
                await self._deliver(placeholder, answer, request_id)
            except UNDELIVERED as exc:
                logger.warning("could not be acknowledged, or came too late: {!r}", exc)
            finally:
                self._under_way.discard(task)

    async def _answer(self, placeholder: Placeholder, work: Work, request_id: str) -> Answer:
        """What ``work`` gives, or the sentence that tells why it gives nothing."""
        told = partial(error_answer, reference=reference_of(request_id), locale=placeholder.locale)
        try:
            self._let_in(placeholder)
            return await work(placeholder, request_id)
        except asyncio.CancelledError:
            if not self._closing:
                raise
            error: EarshotError = Interrupted("in the middle of it")
        except EarshotError as exc:
            error = exc
        except Exception:  # noqa: BLE001 - the last resort: the member is told, the log has the cause
            logger.exception("unexpected error")
            return told(EarshotError())
        level = "INFO" if isinstance(error, OWN_DOING) else "WARNING"
        logger.opt(exception=error.__cause__).log(level, "answered with {}: {}", error.key, error.detail)
        return told(error)

    def _let_in(self, placeholder: Placeholder) -> None:
        if self._closing:
            raise Interrupted("before it began")
        self._policy.check(placeholder.interaction)

    async def _run(self, request: Request, placeholder: Placeholder) -> Reply:
        reply: Reply | None = None
        try:
            async with ProgressMessage(placeholder.show, locale=placeholder.locale) as progress:
                reply = await self._desk.serve(request, progress.observe)
        except asyncio.CancelledError:
            # Cancelled between the result and its delivery: what is there is delivered.
            if reply is None:
                raise
        return reply

    async def _deliver(self, placeholder: Placeholder, answer: Answer, request_id: str) -> None:
        delivery = asyncio.ensure_future(self._courier.deliver(placeholder, answer, nonce=request_id))
        try:
            arrival = await asyncio.shield(delivery)
        except asyncio.CancelledError:
            await delivery
            raise
        if arrival is not None and answer.request_id is not None:
            await self._desk.delivered(answer.request_id, url=arrival.url)
