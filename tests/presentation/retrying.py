"""A desk that answers as it is told, and partial answers to what it was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.core.chain import Refusal
from bot.core.models import (
    Asker,
    KeptTranscript,
    ModeRef,
    ModeResult,
    Note,
    NoteKey,
    Progress,
    Reply,
    Request,
    Stage,
    StageReport,
    StageStatus,
)
from bot.core.pipeline import nobody
from bot.core.records import RequestRecord, RequestState, SourceKind
from tests.fakes import a_transcript
from tests.presentation.guildhall import ADA, CHANNEL, GUILD, NOW, FakeRequestLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.core.ports import Observer

SAID = a_transcript("Hello.", "Again.")
SUMMARY = ModeRef(id="summarize", title="Summary", content_hash="0" * 64)
ID = "0123456789abcdef"
KEPT = "fedcba9876543210"
"""The id of the transcript."""
MISSING = Note(key=NoteKey.RESULT_MISSING)
EXTRACT = Note(key=NoteKey.TEMPLATE_USED)
GAP = Note(key=NoteKey.PART_MISSING, values={"start_s": 60.0, "end_s": 180.0})


SMALLER_GAP = Note(key=NoteKey.PART_MISSING, values={"start_s": 60.0, "end_s": 90.0})
FAILS = "gpt-4o: fails"
REFUSES = str(Refusal(model="gpt-4o", why="filtered"))


def a_partial(*notes: Note, request_id: str = ID, guild_id: int | None = GUILD, detail: str = FAILS) -> Reply:
    """What a first try gave; ``detail`` tells of the models that gave no answer."""
    asker = Asker(guild_id=guild_id, channel_id=CHANNEL, member_id=ADA)
    request = Request(id=request_id, source=KeptTranscript(id=KEPT), mode="auto", asker=asker)
    return answer_to(request, notes or (EXTRACT,), detail)


def answer_to(request: Request, notes: Sequence[Note] = (), detail: str = FAILS) -> Reply:
    model = "template" if EXTRACT in notes else "gpt-4o"
    return Reply(
        request=request,
        transcript=SAID,
        transcript_id=KEPT,
        mode=SUMMARY,
        routing=None,
        result=None if MISSING in notes else ModeResult(format="markdown", text=f"By {model}."),
        model=model,
        stages={Stage.COMPLETE: StageReport(status=StageStatus.PARTIAL, seconds=0.1, detail=detail if notes else "")},
        notes=tuple(notes),
    )


def a_record(reply: Reply) -> RequestRecord:
    """As the desk enters it."""
    assert reply.request.asker is not None
    return RequestRecord(
        id=reply.request.id,
        guild_id=reply.request.asker.guild_id,
        channel_id=CHANNEL,
        member_id=reply.request.asker.member_id,
        source=SourceKind.TRANSCRIPT,
        wanted_mode=reply.request.mode,
        mode=reply.mode,
        state=RequestState.DONE,
        created_at=NOW,
        notes=reply.notes,
        transcript_id=reply.transcript_id,
    )


class ScriptedDesk:
    """Answers ``outcomes`` one after another, the last one from then on: notes, or an error that is raised.

    What it answers is entered, and where it fails, that. While ``open`` is not set, it does not answer. ``detail``
    tells of the models that gave no answer.
    """

    def __init__(self, requests: FakeRequestLog) -> None:
        self.outcomes: Sequence[tuple[Note, ...] | Exception] = [()]
        self.requests = requests
        self.asked: list[Request] = []
        self.delivered_at: dict[str, str | None] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.detail = FAILS

    async def serve(self, request: Request, observer: Observer = nobody) -> Reply:
        self.asked.append(request)
        observer(Progress(stage=Stage.COMPLETE))
        await self.open.wait()
        outcome = self.outcomes[min(len(self.asked), len(self.outcomes)) - 1]
        reply = answer_to(request, (MISSING,) if isinstance(outcome, Exception) else outcome, self.detail)
        await self.requests.put(a_record(reply), keep_s=1.0)
        if isinstance(outcome, Exception):
            raise outcome
        return reply

    async def delivered(self, request_id: str, *, url: str | None) -> None:
        self.delivered_at[request_id] = url
