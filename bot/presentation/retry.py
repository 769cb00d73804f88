"""The button below a result of which not all is there: it makes the same again, in the same place.

Whoever presses it is told alone how far it is, and where it did not help; the message stays as it is until there is
more to show.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
from loguru import logger

from bot.core.errors import EarshotError, ErrorKind, NotAllowed, NotFound, StoreUnavailable, reference_of
from bot.core.models import KeptTranscript, Request, TranscriptionOptions
from bot.presentation.courier import Parcel, answer_embed
from bot.presentation.lacks import EXTRACT_LACKS, is_refused, lack_of
from bot.presentation.moderation import ServerNotAllowed, is_moderator
from bot.presentation.network import UNDELIVERED
from bot.presentation.progress import ProgressMessage
from bot.presentation.reception import Interrupted
from bot.presentation.replies import error_answer, updated_answer
from bot.presentation.requests import asker_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.desk import Desk
    from bot.core.models import Reply
    from bot.core.ports import ModeSource, RequestLog, SettingsStore
    from bot.core.records import RequestRecord
    from bot.presentation.moderation import AccessPolicy
    from bot.presentation.upgrades import Upgrades


class NotYoursToRetry(NotAllowed):
    """Somebody else's answer."""

    key = "error.not_yours_to_retry"


class AlreadyAtIt(NotAllowed):
    """The answer is being made anew."""

    key = "error.already_at_it"


class StillIncomplete(EarshotError):
    """What was made again is no better: there is still no model."""

    key = "error.still_incomplete"
    kind = ErrorKind.TEMPORARY


class StillGaps(StillIncomplete):
    """What was made again is no better: a model answers, but not for all of it."""

    key = "error.still_gaps"


class StillRefused(StillIncomplete):
    """What was made again is no better: the models will not answer that."""

    key = "error.still_refused"
    kind = ErrorKind.PERMANENT


class Retries:
    """Makes results again.

    Args:
        desk: answers requests.
        requests: knows what was asked for.
        settings: name the moderators.
        policy: says where the bot may be used.
        modes: for the menus below an answer.
        upgrades: change the same messages.
        new_id: makes ids for requests: hexadecimal, 8 to 24 characters, not to be guessed.
    """

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        desk: Desk,
        requests: RequestLog,
        settings: SettingsStore,
        policy: AccessPolicy,
        modes: ModeSource,
        upgrades: Upgrades,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._requests = requests
        self._settings = settings
        self._policy = policy
        self._modes = modes
        self._upgrades = upgrades
        self._new_id = new_id
        self._under_way: set[asyncio.Task[object]] = set()

    async def press(self, interaction: discord.Interaction[Any], request_id: str) -> None:
        """Make what ``request_id`` asked for again, in place of the message below which it was pressed."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        again_id = self._new_id()
        with logger.contextualize(request_id=again_id):
            try:
                await interaction.response.defer()
                await self._answer(interaction, request_id, again_id)
            except UNDELIVERED as exc:
                logger.warning("a retry could not be answered: {!r}", exc)
            finally:
                self._under_way.discard(task)

    async def aclose(self, *, within_s: float) -> None:
        """End what is under way; whoever pressed is told, as far as that works ``within_s`` seconds."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    async def _answer(self, interaction: discord.Interaction[Any], request_id: str, again_id: str) -> None:
        """Put what was made again into the message, or say why not, to whoever pressed."""
        aside = _Aside(interaction)
        message = interaction.message
        assert message is not None, "a button stands below a message"
        try:
            record = await self._requests.get(request_id)
            await self._check(interaction, record)
            with self._upgrades.changing(message.id):
                reply = await self._again(interaction, record, again_id, aside)
                await self._show(interaction, message, reply)
        except asyncio.CancelledError:
            await aside.tell(Interrupted("in the middle of a retry"), again_id)
            raise
        except EarshotError as exc:
            logger.opt(exception=exc.__cause__).info("a retry ends with {}: {}", exc.key, exc.detail)
            await aside.tell(exc, again_id)
        except UNDELIVERED:
            await aside.take_away()
            raise
        except Exception:  # noqa: BLE001 - the last resort: whoever pressed is told, the log has the cause
            logger.exception("unexpected error")
            await aside.tell(EarshotError(), again_id)
        else:
            await aside.take_away()

    async def _again(
        self, interaction: discord.Interaction[Any], record: RequestRecord, again_id: str, aside: _Aside
    ) -> Reply:
        """What is made of it now; raises where that is no better."""
        if record.mode is None or record.transcript_id is None:
            raise NotFound("there is nothing to make it of")
        request = Request(
            id=again_id,
            source=KeptTranscript(id=record.transcript_id),
            mode=record.mode.id,
            # In a direct message too it is the guild's, whose settings and limits it is made by.
            asker=replace(asker_of(interaction), guild_id=record.guild_id, channel_id=record.channel_id),
            options=TranscriptionOptions(language=record.language, task=record.task),
            private=record.private,
        )
        try:
            async with ProgressMessage(aside.show, locale=str(interaction.locale)) as progress:
                reply = await self._desk.serve(request, progress.observe)
            with suppress(StoreUnavailable):
                await self._requests.get(record.id)  # what its member deleted meanwhile stays deleted
        except EarshotError:
            await withdraw(self._requests, again_id, beside=record.id)
            raise
        lack = lack_of(reply.notes)
        if lack < lack_of(record.notes):
            return reply
        if lack >= EXTRACT_LACKS:
            await withdraw(self._requests, again_id, beside=record.id)
        else:  # what of it is new in the cache is worth keeping, so it stays in /results
            await self._desk.delivered(again_id, url=None)
        if is_refused(reply):
            raise StillRefused
        raise StillIncomplete if lack >= EXTRACT_LACKS else StillGaps

    async def _check(self, interaction: discord.Interaction[Any], record: RequestRecord) -> None:
        """Let the member pass who asked, or a moderator of the guild where they did.

        Raises:
            NotYoursToRetry, ServerNotAllowed: it is somebody else, or nobody may now.
            StoreUnavailable: nobody can tell now.
        """
        if not self._policy.allows(record.guild_id):
            raise ServerNotAllowed
        member = interaction.user
        if member.id == record.member_id:
            return
        if not isinstance(member, discord.Member) or member.guild.id != record.guild_id:
            raise NotYoursToRetry
        if not await is_moderator(member, self._settings):
            raise NotYoursToRetry

    async def _show(self, interaction: discord.Interaction[Any], message: discord.Message, reply: Reply) -> None:
        locale = str(interaction.locale)
        parcel = Parcel.of(
            updated_answer(reply, locale=locale),
            self._modes.current().values(),
            limit=interaction.filesize_limit,
            locale=locale,
        )
        await parcel.put_in(interaction.edit_original_response)
        await self._upgrades.shown(message.id, reply)
        others_see_it = interaction.guild_id is not None and not message.flags.ephemeral
        await self._desk.delivered(reply.request.id, url=message.jump_url if others_see_it else None)


class _Aside:
    """A message to whoever pressed, alone; it is there once there is something to say."""

    def __init__(self, interaction: discord.Interaction[Any]) -> None:
        self._interaction = interaction
        self._message: discord.WebhookMessage | None = None

    async def show(self, embed: discord.Embed) -> None:
        if self._message is not None:
            with suppress(discord.NotFound):
                await self._message.edit(embed=embed)
                return
        # The first word, or whoever pressed has dismissed what was said so far.
        self._message = await self._interaction.followup.send(embed=embed, ephemeral=True, wait=True)

    async def tell(self, error: EarshotError, request_id: str) -> None:
        answer = error_answer(error, reference=reference_of(request_id), locale=str(self._interaction.locale))
        await self.show(answer_embed(answer))

    async def take_away(self) -> None:
        if self._message is not None:
            with suppress(*UNDELIVERED):
                await self._message.delete()


async def withdraw(requests: RequestLog, request_id: str, *, beside: str) -> None:
    """Forget a request that led to nothing new: it has no place in /results.

    What is in the cache of the request ``beside`` it, which was for the same, stays there.
    """
    with suppress(EarshotError):
        record, spared = await requests.get(request_id), set[str]()
        with suppress(NotFound):
            spared = set((await requests.get(beside)).cache_keys)
        keys = tuple(key for key in record.cache_keys if key not in spared)
        await requests.delete(record.model_copy(update={"cache_keys": keys}))
