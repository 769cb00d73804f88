"""Where members find their results again: their own, in the guild where they asked, or outside all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import discord

from bot.core.errors import BadInput, NotFound
from bot.core.records import RequestState
from bot.presentation.messages import text
from bot.presentation.requests import asker_of
from bot.presentation.results_page import record_answer, result_name
from bot.presentation.views import Lasting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.core.models import Asker, Transcript
    from bot.core.ports import DeliveryLog, RequestLog, TranscriptStore
    from bot.core.records import RequestRecord
    from bot.presentation.client import Services
    from bot.presentation.replies import Answer

MAX_OPTIONS: Final = 25

_ID: Final = re.compile(r"[0-9a-f]{8,64}")
_MAX_LABEL: Final = 100


class NoSuchResult(NotFound):
    """None of that id, or somebody else's: the same answer for both, on purpose."""

    key = "error.no_such_result"


class StillRunning(BadInput):
    """A result that is not there yet cannot be deleted."""

    key = "error.still_running"


class ResultShelf:
    """Finds, opens and deletes results. Every method may raise `StoreUnavailable`."""

    def __init__(self, requests: RequestLog, transcripts: TranscriptStore, deliveries: DeliveryLog) -> None:
        self._requests = requests
        self._transcripts = transcripts
        self._deliveries = deliveries

    async def of(self, asker: Asker) -> list[RequestRecord]:
        """Somebody's results where they ask, the newest first."""
        return await self._requests.of_member(asker.guild_id, asker.member_id)

    async def undelivered(self, asker: Asker) -> frozenset[str]:
        """The ids of those that have not reached them."""
        return await self._deliveries.pending(asker.guild_id, asker.member_id)

    async def find(self, asker: Asker, request_id: str) -> RequestRecord:
        """One of somebody's own results where they ask.

        Raises:
            NoSuchResult: they have none of that id there.
        """
        wanted = request_id.strip()
        if _ID.fullmatch(wanted) is None:
            raise NoSuchResult
        try:
            record = await self._requests.get(wanted)
        except NotFound as exc:
            raise NoSuchResult(exc.detail) from exc
        if (record.guild_id, record.member_id) != (asker.guild_id, asker.member_id):
            raise NoSuchResult("it is somebody else's")
        return record

    async def open(self, asker: Asker, request_id: str, locale: str) -> Answer:
        """One of them as it was.

        Raises:
            NoSuchResult: they have none of that id there.
        """
        record = await self.find(asker, request_id)
        return record_answer(record, await self._transcript_of(record), locale=locale)

    async def delete(self, asker: Asker, request_id: str) -> RequestRecord:
        """Forget a result, and the transcript that was made for it; gives what the record was.

        Raises:
            NoSuchResult: they have none of that id there.
            StillRunning: it is still being made.
        """
        record = await self.find(asker, request_id)
        if record.state is RequestState.RUNNING:
            raise StillRunning
        # The record last: should the store fail in between, the result is still there to be deleted again. A transcript
        # that was only used again belongs to the request that made it, which may be another member's.
        await self._transcripts.delete(record.id)
        await self._requests.delete(record)
        return record

    async def _transcript_of(self, record: RequestRecord) -> Transcript | None:
        if record.transcript_id is None or record.state is not RequestState.DONE:
            return None
        try:
            return await self._transcripts.get(record.transcript_id)
        except NotFound:
            return None


class ResultsMenu(Lasting[discord.ui.Select[Any]], template=r"earshot:results:(?P<id>\d{1,20})"):
    """Opens one of the newest results."""

    def __init__(self, member_id: str, locale: str, records: Sequence[RequestRecord] = ()) -> None:
        # What Discord gives back of a menu knows its options; one made anew only to be asked needs some.
        options = [
            discord.SelectOption(label=result_name(record, locale)[:_MAX_LABEL], value=record.id)
            for record in records[:MAX_OPTIONS]
        ] or [discord.SelectOption(label="-")]
        super().__init__(
            discord.ui.Select(
                custom_id=f"earshot:results:{member_id}", placeholder=text("menu.results", locale), options=options
            )
        )

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer whoever chose with their own result, if it is one."""
        services: Services = interaction.client.services
        shelf = ResultShelf(services.requests, services.transcripts, services.deliveries)
        chosen = self.item.values[0]

        async def make() -> Answer:
            return await shelf.open(asker_of(interaction), chosen, str(interaction.locale))

        await services.reception.hand_over(interaction, make)
