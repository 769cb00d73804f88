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
from bot.presentation.moderation import ServerNotAllowed, is_moderator
from bot.presentation.network import UNDELIVERED
from bot.presentation.progress import ProgressMessage
from bot.presentation.reception import Interrupted
from bot.presentation.replies import EXTRACT_LACKS, error_answer, lack_of, updated_answer
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


class StillIncomplete(EarshotError):
    """What was made again is no better."""

    key = "error.still_incomplete"
    kind = ErrorKind.TEMPORARY


class Retries:
    """Makes results again.

    Args:
        desk: answers requests.
        requests: knows what was asked for.
        settings: name the moderators.
        policy: says where the bot may be used.
        modes: for the menus below an answer.
        upgrades: would change the same messages.
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

    async def aclose(self) -> None:
        """End what is under way; whoever pressed is told."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _answer(self, interaction: discord.Interaction[Any], request_id: str, again_id: str) -> None:
        """Put what was made again into the message, or say why not, to whoever pressed."""
        aside = _Aside(interaction)
        try:
            reply = await self._again(interaction, request_id, again_id, aside)
            await self._show(interaction, reply)
        except asyncio.CancelledError:
            await aside.tell(Interrupted("in the middle of a retry"), again_id)
            raise
        except EarshotError as exc:
            logger.opt(exception=exc.__cause__).info("a retry ends with {}: {}", exc.key, exc.detail)
            await aside.tell(exc, again_id)
        except UNDELIVERED:
            raise
        except Exception:  # noqa: BLE001 - the last resort: whoever pressed is told, the log has the cause
            logger.exception("unexpected error")
            await aside.tell(EarshotError(), again_id)
        else:
            await aside.take_away()

    async def _again(
        self, interaction: discord.Interaction[Any], request_id: str, again_id: str, aside: _Aside
    ) -> Reply:
        record = await self._requests.get(request_id)
        await self._check(interaction, record)
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
        async with ProgressMessage(aside.show, locale=str(interaction.locale)) as progress:
            reply = await self._desk.serve(request, progress.observe)
        lack = lack_of(reply.notes)
        if lack >= lack_of(record.notes):
            if lack >= EXTRACT_LACKS:
                await withdraw(self._requests, again_id)
            else:  # what of it is new in the cache is worth keeping, so it stays in /results
                await self._desk.delivered(again_id, url=None)
            raise StillIncomplete
        return reply

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

    async def _show(self, interaction: discord.Interaction[Any], reply: Reply) -> None:
        locale, message = str(interaction.locale), interaction.message
        assert message is not None, "a button stands below a message"
        self._upgrades.forget(message.id)
        parcel = Parcel.of(
            updated_answer(reply, locale=locale),
            self._modes.current().values(),
            limit=interaction.filesize_limit,
            locale=locale,
        )
        await parcel.put_in(interaction.edit_original_response)
        others_see_it = interaction.guild_id is not None and not message.flags.ephemeral
        await self._desk.delivered(reply.request.id, url=message.jump_url if others_see_it else None)


class _Aside:
    """A message to whoever pressed, alone; it is there once there is something to say."""

    def __init__(self, interaction: discord.Interaction[Any]) -> None:
        self._interaction = interaction
        self._message: discord.WebhookMessage | None = None

    async def show(self, embed: discord.Embed) -> None:
        if self._message is None:
            self._message = await self._interaction.followup.send(embed=embed, ephemeral=True, wait=True)
        else:
            await self._message.edit(embed=embed)

    async def tell(self, error: EarshotError, request_id: str) -> None:
        answer = error_answer(error, reference=reference_of(request_id), locale=str(self._interaction.locale))
        await self.show(answer_embed(answer))

    async def take_away(self) -> None:
        if self._message is not None:
            await self._message.delete()


async def withdraw(requests: RequestLog, request_id: str) -> None:
    """Forget a request that led to nothing new: it has no place in /results."""
    with suppress(NotFound, StoreUnavailable):
        await requests.delete(await requests.get(request_id))
