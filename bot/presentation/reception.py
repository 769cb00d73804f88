"""Takes an interaction from its acknowledgement to its answer: whatever happens, the member hears of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import discord
from loguru import logger

from bot.core.errors import OWN_DOING, EarshotError, ErrorKind, reference_of
from bot.core.languages import parse_language
from bot.core.models import Reply, Request, TranscriptionOptions
from bot.presentation.courier import COLOUR, Arrival, Placeholder, address_of
from bot.presentation.messages import text
from bot.presentation.network import UNDELIVERED
from bot.presentation.progress import ProgressMessage
from bot.presentation.replies import error_answer, reply_answer
from bot.presentation.requests import asker_of
from bot.presentation.views import cancel_view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.desk import Desk
    from bot.core.dispatch import Dispatch
    from bot.core.models import Source
    from bot.presentation.courier import Courier
    from bot.presentation.moderation import AccessPolicy
    from bot.presentation.replies import Answer
    from bot.presentation.requests import Ask
    from bot.presentation.watches import Watches

    Work = Callable[[Placeholder, str], Awaitable[Answer | None]]
    """Gets the placeholder and the request's id; gives None where the answer comes by itself."""


class Interrupted(EarshotError):
    """The process ends while a request runs."""

    key = "error.interrupted"
    kind = ErrorKind.TEMPORARY


class _GoesOn(Exception):
    """The process ends, and a job goes on without it."""


class DiscordFailed(EarshotError):
    """Discord, or the way to it, fails where a member's message is looked for."""

    key = "error.discord_failed"
    kind = ErrorKind.TEMPORARY


class Reception:
    """Answers interactions.

    Args:
        desk: told of what arrived.
        dispatch: makes jobs of requests.
        watches: where those are watched.
        courier: brings answers that are no job's.
        policy: who may ask at all.
        outlived: whether jobs outlive this process.
        now: Unix time in seconds.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        desk: Desk,
        dispatch: Dispatch,
        watches: Watches,
        courier: Courier,
        policy: AccessPolicy,
        *,
        outlived: bool,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._dispatch = dispatch
        self._watches = watches
        self._courier = courier
        self._policy = policy
        self._outlived = outlived
        self._now = now
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

        async def work(placeholder: Placeholder, request_id: str) -> Answer | None:
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
            if reply is None:
                return None
            logger.info("answered in {:.1f} s", reply.seconds)
            return reply_answer(reply, locale=placeholder.address.locale)

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
                deferred = await interaction.response.defer(ephemeral=private, thinking=True)
                message_id = deferred.message_id if deferred else None
                address = address_of(interaction, private=private, now=self._now(), placeholder_id=message_id)
                placeholder = Placeholder(interaction.client, address, now=self._now)
                answer = await self._answer(interaction, placeholder, work, request_id)
                if answer is not None:
                    await self._deliver(placeholder, answer, request_id)
            except UNDELIVERED as exc:
                logger.warning("could not be acknowledged, or came too late: {!r}", exc)
            finally:
                self._under_way.discard(task)

    async def _answer(
        self, interaction: discord.Interaction, placeholder: Placeholder, work: Work, request_id: str
    ) -> Answer | None:
        """What ``work`` gives, or the sentence that tells why it gives nothing."""
        told = partial(error_answer, reference=reference_of(request_id), locale=placeholder.address.locale)
        try:
            self._let_in(interaction)
            return await work(placeholder, request_id)
        except _GoesOn:
            return None
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

    def _let_in(self, interaction: discord.Interaction) -> None:
        if self._closing:
            raise Interrupted("before it began")
        self._policy.check(interaction)

    async def _run(self, request: Request, placeholder: Placeholder) -> Reply | None:
        """A reply that was made here; None where a job's comes, or came, by itself."""
        locale = placeholder.address.locale
        view = cancel_view(request.id, locale)

        async def show(embed: discord.Embed) -> None:
            await placeholder.show(embed, view)

        reply, is_job = None, False
        progress = ProgressMessage(show, locale=locale)
        with self._watches.on(request.id, progress.observe) as watch:
            try:
                async with progress:
                    taken = await self._dispatch.accept(request, placeholder.address, watch.observe)
                    if isinstance(taken, Reply):
                        reply = taken
                    else:
                        is_job, watch.record = True, taken
                        await watch.over(self._dispatch.forward(taken, watch.observe))
            except asyncio.CancelledError:
                if self._closing and is_job and self._outlived:
                    if not watch.is_over and not await self._is_answered(request.id):
                        title = text("progress.title", locale)
                        restarting = discord.Embed(title=title, description=text("progress.restarting", locale))
                        with suppress(*UNDELIVERED):
                            await placeholder.show(restarting, view)
                    raise _GoesOn from None
                # Cancelled between the result and its delivery: what is there is delivered.
                if reply is None:
                    raise
        if watch.gone:
            forgotten = discord.Embed(description=text("progress.forgotten", locale), colour=COLOUR)
            with suppress(*UNDELIVERED):
                await placeholder.show(forgotten)
        return reply

    async def _is_answered(self, request_id: str) -> bool:
        """Whether another process has answered; where nobody knows, none may have."""
        with suppress(EarshotError):
            return await self._dispatch.is_answered(request_id)
        return False

    async def _deliver(self, placeholder: Placeholder, answer: Answer, request_id: str) -> None:
        delivery = asyncio.ensure_future(self._courier.deliver(placeholder, answer, nonce=request_id))
        try:
            arrival = await asyncio.shield(delivery)
        except asyncio.CancelledError:
            await delivery
            raise
        if isinstance(arrival, Arrival) and answer.request_id is not None:
            await self._desk.delivered(answer.request_id, url=arrival.url)
