"""What a reply lacks of what was asked for, and whether another try may give it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from bot.core.chain import all_refuse
from bot.core.models import NoteKey, Stage

if TYPE_CHECKING:
    from bot.core.models import Note, Reply

EXTRACT_LACKS: Final = 1e9
"""What an extract lacks: more than any recording has seconds."""


def lack_of(notes: tuple[Note, ...]) -> float:
    """How far a result with such notes is from what was asked for: 0 is all of it, infinity nothing."""
    return sum(_lack(note) for note in notes)


def _lack(note: Note) -> float:
    match note.key:
        case NoteKey.RESULT_MISSING:
            return math.inf
        case NoteKey.TEMPLATE_USED:
            return EXTRACT_LACKS
        case NoteKey.PART_MISSING:
            return 1.0 + float(note.values["end_s"]) - float(note.values["start_s"])
        case NoteKey.PARTS_NOT_JOINED:
            return 1.0
        case _:
            return 0.0


def may_give_more(reply: Reply) -> bool:
    """Whether making it again may: something is missing, there are models, and the transcript is kept."""
    can_be_made = reply.mode is not None and reply.transcript_id is not None
    return can_be_made and lack_of(reply.notes) > 0 and has_models(reply)


def has_models(reply: Reply) -> bool:
    """Whether models were asked: the stage names those that failed, the template first where there are none."""
    if lack_of(reply.notes) < EXTRACT_LACKS:
        return True  # one has answered
    stage = reply.stages.get(Stage.COMPLETE)
    return stage is not None and bool(stage.detail) and not stage.detail.startswith("template: ")


def is_refused(reply: Reply) -> bool:
    """Whether the models that were asked refuse what is missing, so that another try will hardly help."""
    stage = reply.stages.get(Stage.COMPLETE)
    return stage is not None and all_refuse(stage.detail)
