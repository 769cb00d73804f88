"""A reply, as what Discord is to show: pure text within Discord's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bot.core.errors import OWN_DOING, CourtesyExceeded, Overloaded, QuotaExceeded
from bot.core.languages import language_name
from bot.core.models import KeptTranscript, NoteKey, Task
from bot.core.rendering import FileLabels, TranscriptFormat, clock_time, escape_markdown, transcript_file
from bot.presentation.lacks import EXTRACT_LACKS, has_models, is_refused, lack_of, may_give_more
from bot.presentation.links import unmasked
from bot.presentation.messages import text
from bot.presentation.times import about, counted, moment, whole

if TYPE_CHECKING:
    import discord

    from bot.core.errors import EarshotError
    from bot.core.models import Note, Reply, Transcript
    from bot.core.quotas import Verdict

MAX_DESCRIPTION: Final = 4_096
MAX_FIELD: Final = 1_024

# One embed may hold 6,000 characters in all: what stands around a description is given this much.
_AROUND: Final = 1_800
_DESCRIPTION: Final = min(MAX_DESCRIPTION, 6_000 - _AROUND)

CONTINUED: Final = "\u200b"
"""A name for a field that has none: an embed's field needs one, and a zero-width space does not show."""

_QUIET_NOTES: Final = frozenset({NoteKey.SPEAKERS_NOT_SEPARATED, NoteKey.NO_SPEECH})
"""Notes that go without a warning sign: they stand in the footer, or are the answer itself."""

# What is said of the transcript and of the result in the footer: the first that holds.
_TRANSCRIPT_STATES: Final = {NoteKey.TRUNCATED: "ends_early", NoteKey.NOT_KEPT: "not_kept"}
_RESULT_STATES: Final = {
    NoteKey.RESULT_MISSING: "missing",
    NoteKey.TOO_MUCH_SAID: "missing",
    NoteKey.TEMPLATE_USED: "extract",
    NoteKey.PART_MISSING: "gaps",
    NoteKey.PARTS_NOT_JOINED: "in_parts",
    NoteKey.RESULT_CUT: "cut_short",
    NoteKey.INPUT_CUT: "beginning",
}

_REFUSABLE: Final = frozenset({NoteKey.RESULT_MISSING, NoteKey.TEMPLATE_USED, NoteKey.PART_MISSING})
"""Notes that say of what no model answered why not, where all of them refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file to attach."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A name and a short value."""

    name: str
    value: str
    inline: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown.

    ``transcript_id`` names the kept transcript that the menus work on, None for no menus; ``extra_items`` stand above
    those. ``request_id`` names the request whose answer this is, None where it is none of a request. ``incomplete`` is
    the reply that is shown, where making it again may give more.
    """

    description: str
    title: str | None = None
    fields: tuple[Field, ...] = ()
    footer: str | None = None
    files: tuple[TextFile, ...] = ()
    transcript_id: str | None = None
    request_id: str | None = None
    extra_items: tuple[discord.ui.Item[Any], ...] = ()
    incomplete: Reply | None = None
    is_error: bool = False


def error_answer(error: EarshotError, *, reference: str | None, locale: str) -> Answer:
    """An error's sentence; ``reference`` finds its cause in the log, where that is for an operator to look for."""
    match error:
        case CourtesyExceeded():
            free = moment(error.verdict.free_at)
            return Answer(description=text("refusal.courtesy", locale, free=free), is_error=True)
        case QuotaExceeded():
            return _out_of_tokens(error.verdict, locale)
        case Overloaded():
            return _too_busy(float(error.values.get("wait_s", 0.0)), locale)
        case _:
            pass
    values = {
        name: escape_markdown(value) if isinstance(value, str) else f"{round(value, 2):g}"
        for name, value in error.values.items()
    }
    footer = None
    if reference is not None and not isinstance(error, OWN_DOING):
        footer = text("error.reference", locale, reference=reference)
    return Answer(description=text(error.key, locale, **values), footer=footer, is_error=True)


def _out_of_tokens(verdict: Verdict, locale: str) -> Answer:
    """Whose tokens are used up, what is left, and until when."""
    values = {
        "price": counted("tokens", verdict.cost, locale),
        "left": counted("tokens", whole(verdict.remaining), locale),
        "free": moment(verdict.free_at),
        "full": moment(verdict.full_at),
        "budget": counted("tokens", verdict.budget_left or 0, locale),
    }
    reason = "budget" if verdict.refused_by == "budget" else "bucket"
    return Answer(
        title=text(f"refusal.{reason}.title", locale),
        description=text(f"refusal.{reason}", locale, **values),
        fields=(Field(name=text("refusal.free", locale), value=text("refusal.free.text", locale), inline=False),),
        is_error=True,
    )


def _too_busy(wait_s: float, locale: str) -> Answer:
    """How long new work would wait, and what is served meanwhile."""
    return Answer(
        title=text("refusal.overload.title", locale),
        description=text("refusal.overload", locale, wait=about(wait_s, locale)),
        fields=(Field(name=text("refusal.works", locale), value=text("refusal.works.text", locale), inline=False),),
        is_error=True,
    )


def reply_answer(reply: Reply, *, locale: str) -> Answer:
    """The result of a mode, or the transcript where none was asked for or none was made."""
    transcript = reply.transcript
    if not transcript.segments:
        said = text("result.nothing_said", locale, duration=clock_time(transcript.duration_s))
        return Answer(
            description="\n\n".join((said, *_loud_notes(reply, locale))),
            title=_title(reply, locale),
            request_id=reply.request.id,
        )
    if reply.result is not None:
        body, files = fitted(unmasked(reply.result.text), f"{_mode_id(reply)}.md", reply.result.text, locale)
    else:
        body, files = fitted(
            _transcript_lines(transcript),
            "transcript.txt",
            attached_transcript(transcript, TranscriptFormat.TXT, locale).decode(),
            locale,
        )
    quiet = [note_line(note, locale) for note in reply.notes if note.key is NoteKey.SPEAKERS_NOT_SEPARATED]
    return Answer(
        title=_title(reply, locale),
        description=body,
        fields=(*_facts(reply, locale), *_warnings(reply, locale)),
        footer="\n".join((*_states(reply, locale), *quiet)) or None,
        files=files,
        transcript_id=reply.transcript_id,
        request_id=reply.request.id,
        incomplete=reply if may_give_more(reply) else None,
    )


def updated_answer(reply: Reply, *, locale: str) -> Answer:
    """A reply that takes the place of one that lacked more; it says so, and which model it is of."""
    answer = reply_answer(reply, locale=locale)
    said = text("result.updated", locale, model=reply.model or "-")
    return replace(answer, footer="\n".join(filter(None, (said, answer.footer))))


def attached_transcript(transcript: Transcript, file_format: TranscriptFormat, locale: str) -> bytes:
    """A transcript as a file, with its header and its notes in a member's language."""
    labels = FileLabels(
        title=text("result.transcript", locale),
        language=text("result.language", locale),
        duration=text("result.duration", locale),
        model=text("result.model", locale),
    )
    lines = [note_line(note, locale) for note in transcript.notes]
    return transcript_file(transcript, file_format, note_lines=lines, labels=labels)


def note_line(note: Note, locale: str, *, because: str = "") -> str:
    """The sentence of a note; ``because`` chooses one that says more."""
    values = {name: _note_value(name, value) for name, value in note.values.items()}
    return text(f"note.{note.key}{because}", locale, **values)


def _note_value(name: str, value: str | float) -> str:
    match name, value:
        case "language", str():
            return language_name(value)
        case "probability", int() | float():
            return f"{value:.0%}"
        case _, int() | float():
            return clock_time(value)
        case _:
            return escape_markdown(str(value))


def _loud_notes(reply: Reply, locale: str) -> list[str]:
    lines: list[str] = []
    for note in reply.notes:
        because = ".refused" if note.key in _REFUSABLE and is_refused(reply) else ""
        if note.key is NoteKey.TEMPLATE_USED and not has_models(reply):
            because = ".no_model"
        if note.key not in _QUIET_NOTES:
            lines.append(f"⚠️ {note_line(note, locale, because=because)}")
    return lines


def _states(reply: Reply, locale: str) -> list[str]:
    """What there is of a partial result, what there is not, and which model answered; nothing where it is whole."""
    keys = {note.key for note in reply.notes}
    heard = [state for key, state in _TRANSCRIPT_STATES.items() if key in keys]
    made = [state for key, state in _RESULT_STATES.items() if key in keys]
    if reply.mode is None or not (heard or made):
        return []
    transcript, result = (text(f"partial.{(states or ['complete'])[0]}", locale) for states in (heard, made))
    model = text("result.no_model", locale) if lack_of(reply.notes) >= EXTRACT_LACKS else _model_name(reply, locale)
    return [text("partial.states", locale, transcript=transcript, mode=reply.mode.title, result=result, model=model)]


def _warnings(reply: Reply, locale: str) -> list[Field]:
    hint = [text("retry.hint", locale)] if may_give_more(reply) else []
    lines = _within(MAX_FIELD - sum(len(line) + 1 for line in hint), _loud_notes(reply, locale), locale) + hint
    return [Field(name=CONTINUED, value="\n".join(lines), inline=False)] if lines else []


def _within(room: int, lines: list[str], locale: str) -> list[str]:
    """As many lines as fit into so many characters; the last one then says how many do not."""
    shown = lines
    for left in range(1, len(lines) + 1):
        if len("\n".join(shown)) <= room:
            break
        shown = [*lines[:-left], text("note.more", locale, count=left)]
    return shown


def _title(reply: Reply, locale: str) -> str:
    if reply.mode is not None and reply.result is not None:
        return reply.mode.title
    key = "result.translation" if reply.transcript.task is Task.TRANSLATE else "result.transcript"
    return text(key, locale)


def _mode_id(reply: Reply) -> str:
    return reply.mode.id if reply.mode else "result"


def _facts(reply: Reply, locale: str) -> list[Field]:
    transcript = reply.transcript
    facts = {
        "result.mode": reply.mode.title if reply.mode else _title(reply, locale),
        "result.language": language_name(transcript.language),
        "result.duration": clock_time(transcript.duration_s),
        "result.model": escape_markdown(_model_name(reply, locale)),
        "result.took": text(_took_key(reply), locale, seconds=f"{reply.seconds:.1f}"),
    }
    return [Field(name=text(key, locale), value=value) for key, value in facts.items()]


def _model_name(reply: Reply, locale: str) -> str:
    """The model that answered."""
    if reply.mode is None:
        return f"whisper {reply.transcript.model}"[:100]
    if any(note.key is NoteKey.TEMPLATE_USED for note in reply.notes):
        return text("result.template_model", locale)
    return (reply.model or text("result.no_model", locale))[:100]


def _took_key(reply: Reply) -> str:
    """How the time is told, and what was free."""
    if not reply.cached.transcript:
        return "result.seconds"
    if isinstance(reply.request.source, KeptTranscript):
        return "result.from_transcript"
    return "result.from_cache" if reply.was_finished else "result.from_cached_transcript"


def _transcript_lines(transcript: Transcript) -> str:
    return "\n".join(
        f"`{clock_time(segment.start)}` {escape_markdown(segment.text)}" for segment in transcript.segments
    )


def fitted(shown: str, name: str, whole: str, locale: str) -> tuple[str, tuple[TextFile, ...]]:
    """``shown`` as it is where it fits; else its beginning, and all of it in a file."""
    if len(shown) <= _DESCRIPTION:
        return shown, ()
    end = f"\n\n{text('result.continued', locale)}"
    return _cut(shown, _DESCRIPTION - len(end)) + end, (TextFile(name=name, content=whole.encode()),)


def _cut(words: str, limit: int) -> str:
    """The beginning of ``words``, ended at a paragraph, a line or a space where one is near the limit."""
    cut = words[:limit]
    for separator in ("\n\n", "\n", " "):
        end = cut.rfind(separator)
        if end > limit * 3 // 4:
            return cut[:end].rstrip()
    return cut.rstrip("\\")
