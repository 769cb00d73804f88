"""A member's results: the list of them, and each of them as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.core.entries import reply_of
from bot.core.languages import language_name
from bot.core.models import Task
from bot.core.records import RequestState
from bot.core.rendering import escape_markdown, spoken_line
from bot.presentation.links import unmasked
from bot.presentation.listing import fitting
from bot.presentation.messages import keys, names_in, text
from bot.presentation.replies import CONTINUED, Answer, Field, TextFile, fitted, reply_answer
from bot.presentation.times import calendar_time, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bot.core.models import Transcript
    from bot.core.records import RequestRecord

_SHOWN: Final = 3_800
_MAX_NAME: Final = 60
_MAX_LABEL: Final = 100


# --- the list -----------------------------------------------------------------------------------------------------


def results_answer(
    records: Sequence[RequestRecord], undelivered: frozenset[str], *, outside: bool, locale: str
) -> Answer:
    """All results, the newest first; in a file too, where there are many. ``outside`` is outside all guilds."""
    title = text("results.title", locale)
    if not records:
        return Answer(title=title, description=text("results.empty.outside" if outside else "results.empty", locale))
    lines = [result_line(record, locale, is_undelivered=record.id in undelivered) for record in records]
    shown = fitting(lines, _SHOWN)
    files: tuple[TextFile, ...] = ()
    if shown < len(lines):
        whole = "\n".join(result_name(record, locale) for record in records) + "\n"
        files = (TextFile(name="results.txt", content=whole.encode()),)
        lines = [*lines[:shown], text("results.more", locale, shown=shown, count=len(records))]
    return Answer(title=title, description="\n".join(lines), files=files, footer=text("results.free", locale))


def result_line(record: RequestRecord, locale: str, *, is_undelivered: bool = False) -> str:
    """A result in a line: when, what, of which file, where, and what is the matter with it."""
    parts = [f"{moment(record.created_at, 'f')} **{escape_markdown(_what(record, locale))}**"]
    if record.filename:
        parts.append(escape_markdown(_short(record.filename)))
    if record.language:
        parts.append(language_name(record.language))
    if record.answer_url:
        parts.append(f"[{text('results.answer', locale)}]({record.answer_url})")
    parts += [f"*{mark}*" for mark in _marks(record, locale, is_undelivered=is_undelivered)]
    return " · ".join(parts)


def result_name(record: RequestRecord, locale: str) -> str:
    """A result in a few plain words, for menus, suggestions and files."""
    parts = (calendar_time(record.created_at), _what(record, locale), _short(record.filename))
    return " · ".join(part for part in (*parts, *_marks(record, locale)) if part)[:_MAX_LABEL]


def result_names(records: Iterable[RequestRecord], typed: str, locale: str, limit: int) -> list[tuple[str, str]]:
    """Names and ids of the results that fit what has been typed, the newest first."""
    wanted = typed.casefold().strip()
    named = [(result_name(record, locale), record.id) for record in records]
    return [(name, found) for name, found in named if wanted in name.casefold() or wanted == found][:limit]


def _what(record: RequestRecord, locale: str) -> str:
    """The mode that made it, or what else it is."""
    if record.mode is not None:
        return spoken_line(record.mode.title) or record.mode.id
    if record.wanted_mode is not None:
        return spoken_line(record.wanted_mode)
    return text("result.translation" if record.task is Task.TRANSLATE else "result.transcript", locale)


def _short(filename: str) -> str:
    line = spoken_line(filename)
    return line if len(line) <= _MAX_NAME else f"{line[: _MAX_NAME - 1]}…"


def _marks(record: RequestRecord, locale: str, *, is_undelivered: bool = False) -> list[str]:
    marks = [] if record.state is RequestState.DONE else [text(f"results.{record.state}", locale)]
    if is_undelivered and record.state is not RequestState.RUNNING:
        marks.append(text("results.undelivered", locale))
    return marks


# --- one of them --------------------------------------------------------------------------------------------------


def record_answer(record: RequestRecord, transcript: Transcript | None, *, locale: str) -> Answer:
    """A result as it was shown. ``transcript`` is None where it is no longer kept, or was never made."""
    match record.state:
        case RequestState.RUNNING:
            return Answer(description=text("results.open.running", locale))
        case RequestState.FAILED | RequestState.INTERRUPTED | RequestState.CANCELLED:
            sentences = [text(f"results.open.{record.state}", locale), *_cause(record, locale)]
            return Answer(description="\n".join(sentences), request_id=record.id, is_error=True)
        case _ if transcript is not None:
            return reply_answer(reply_of(record, transcript), locale=locale)
        case _:
            return _without_transcript(record, locale)


def deleted_answer(record: RequestRecord, *, locale: str) -> Answer:
    """What went with a result. What it only used again belongs to the request that made it, and stays."""
    lines = [text("results.deleted", locale, name=result_line(record, locale))]
    if record.transcript_id is not None:
        lines.append(text(f"results.deleted.{'own' if record.transcript_id == record.id else 'shared'}", locale))
    return Answer(description="\n".join((*lines, text("results.deleted.posted", locale))))


def _without_transcript(record: RequestRecord, locale: str) -> Answer:
    """What is left of a result whose transcript is gone."""
    gone = text("results.transcript_gone", locale)
    if record.result is None:
        return Answer(description=gone, request_id=record.id, is_error=True)
    name = f"{record.mode.id if record.mode else 'result'}.md"
    body, files = fitted(unmasked(record.result.text), name, record.result.text, locale)
    return Answer(
        title=_what(record, locale),
        description=body,
        fields=(Field(name=CONTINUED, value=gone, inline=False),),
        files=files,
        request_id=record.id,
    )


def _cause(record: RequestRecord, locale: str) -> list[str]:
    """The sentence of what went wrong, where it is known and names no figures, which are not kept."""
    key = record.error or ""
    is_known = key.startswith("error.") and key in keys() and not names_in(key)
    return [text(key, locale)] if is_known else []
