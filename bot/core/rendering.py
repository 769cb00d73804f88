"""Transcripts as files, and the small forms in which times and members' words are written."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.core.models import Segment, Transcript

MIN_CUE_MS = 100
"""Shortest subtitle, in milliseconds: players drop a cue that ends where it begins."""


class TranscriptFormat(StrEnum):
    """The formats in which a transcript can be had; the value is the file's extension."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    MD = "md"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLabels:
    """The words above a transcript in txt and md, in the reader's language."""

    title: str = "Transcript"
    language: str = "Language"
    duration: str = "Duration"
    model: str = "Model"


# --- text and times ---------------------------------------------------------------------------------------------

# Invisible characters that text needs: Persian and Indic scripts and joined emoji are spelled with them.
_JOINERS = frozenset("\u200c\u200d")
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})


def spoken_line(text: str) -> str:
    """``text`` in one line, without what a reader cannot see.

    White space of every kind becomes a single space. Control characters, lone surrogates and invisible format
    characters (among them those that turn the direction of text, and the tag characters that can hide a message from
    people but not from a model) are left out.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    spaced = " ".join(text.split())
    return " ".join("".join(char for char in spaced if _is_seen(char)).split())


def visible_text(text: str) -> str:
    """``text`` with its lines, without what a reader cannot see; see `spoken_line`."""
    return "".join(char for char in text if char in "\n\t" or _is_seen(char))


def _is_seen(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _HIDDEN


def clock_time(seconds: float) -> str:
    """A moment or a length as ``m:ss`` or ``h:mm:ss``, rounded down to the second."""
    whole = int(seconds)
    minutes = f"{whole % 3600 // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes:0>5}" if whole >= 3600 else minutes  # noqa: PLR2004 - seconds of an hour


# Discord's formatting as its client parses it, and what CommonMark has besides: emphasis, strikethrough, spoilers,
# code, links, entities, and "<" for mentions, custom emoji, time stamps and bare links.
_INLINE = re.compile(r"[\\*_~|`\[\]<>]|&(?=#?\w+;)")
_LINE_START = re.compile(r"^([ \t]*)([#+=-]|\d+(?=[.)]))", re.MULTILINE)
_LINK = re.compile(r"(?<=[A-Za-z]):(?=//)")
_PING = re.compile(r"@(?=everyone|here)")


def escape_markdown(text: str) -> str:
    r"""``text`` such that Discord, and any reader of Markdown, shows it as it is: not formatted, linked or pinging.

    Discord takes a backslash before any punctuation as an escape. ``@everyone`` has no escape; it gets a zero-width
    space, as ``discord.utils.escape_mentions`` does it. (Every message is sent without allowed mentions besides.)
    """
    text = _INLINE.sub(r"\\\g<0>", text)
    text = _LINE_START.sub(lambda m: m[1] + (f"{m[2]}\\" if m[2].isdigit() else f"\\{m[2]}"), text)
    text = _LINK.sub(r"\\:", text)
    return _PING.sub("@\u200b", text)


# --- files ------------------------------------------------------------------------------------------------------


def transcript_file(
    transcript: Transcript,
    file_format: TranscriptFormat,
    *,
    note_lines: Sequence[str] = (),
    labels: FileLabels | None = None,
) -> bytes:
    """Write ``transcript`` as a file, in UTF-8.

    Args:
        transcript: what was said.
        file_format: which kind of file. Subtitles leave segments without text out and are in the order of their
            starts; JSON is exactly `transcript_form`.
        note_lines: what a reader of txt and md should know, a sentence each.
        labels: the words of the header in txt and md; English ones if None.
    """
    labels = labels or FileLabels()
    match file_format:
        case TranscriptFormat.TXT:
            text = _txt(transcript, note_lines, labels)
        case TranscriptFormat.MD:
            text = _md(transcript, note_lines, labels)
        case TranscriptFormat.SRT:
            text = _srt(transcript)
        case TranscriptFormat.VTT:
            text = _vtt(transcript)
        case TranscriptFormat.JSON:
            text = json.dumps(transcript_form(transcript), ensure_ascii=False, indent=2) + "\n"
    return text.encode()


def transcript_form(transcript: Transcript) -> Mapping[str, object]:
    """The transcript as other programs get it: in JSON files and on the command line."""
    return {
        "language": transcript.language,
        "duration_s": transcript.duration_s,
        "text": transcript.text,
        "segments": [
            segment.model_dump(include={"start", "end", "speaker", "text"}) for segment in transcript.segments
        ],
    }


def _txt(transcript: Transcript, note_lines: Sequence[str], labels: FileLabels) -> str:
    head = [f"{label}: {value}" for label, value in _facts(transcript, labels)]
    body = [_spoken(segment, lambda time: f"[{time}]", _as_is) for segment in transcript.segments]
    return _paragraphs([labels.title, *head], [spoken_line(line) for line in note_lines], body)


def _md(transcript: Transcript, note_lines: Sequence[str], labels: FileLabels) -> str:
    head = [f"- {label}: {escape_markdown(value)}" for label, value in _facts(transcript, labels)]
    notes = [f"> {escape_markdown(spoken_line(line))}" for line in note_lines]
    # A blank line between segments: in Markdown, lines that follow each other are one paragraph.
    body = [f"{_spoken(segment, lambda time: f'`{time}`', _bold)}\n" for segment in transcript.segments]
    return _paragraphs([f"# {labels.title}", "", *head], notes, body)


def _facts(transcript: Transcript, labels: FileLabels) -> tuple[tuple[str, str], ...]:
    return (
        (labels.language, spoken_line(transcript.language)),
        (labels.duration, clock_time(transcript.duration_s)),
        (labels.model, spoken_line(transcript.model)),
    )


def _as_is(speaker: str, text: str) -> str:
    return f"{speaker}: {text}" if speaker else text


def _bold(speaker: str, text: str) -> str:
    return f"**{escape_markdown(speaker)}:** {escape_markdown(text)}" if speaker else escape_markdown(text)


def _spoken(segment: Segment, time: Callable[[str], str], words: Callable[[str, str], str]) -> str:
    return f"{time(clock_time(segment.start))} {words(spoken_line(segment.speaker or ''), spoken_line(segment.text))}"


def _paragraphs(*groups: Sequence[str]) -> str:
    return "\n\n".join("\n".join(lines).rstrip("\n") for lines in groups if lines) + "\n"


# --- subtitles --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cue:
    """A subtitle; times in milliseconds, ``text`` in one line and never empty."""

    start: int
    end: int
    speaker: str
    text: str


def _cues(transcript: Transcript) -> list[_Cue]:
    """Cues in the order of their starts, as WebVTT demands. They may overlap: so do people."""
    cues: list[_Cue] = []
    for segment in sorted(transcript.segments, key=lambda segment: (segment.start, segment.end)):
        text = spoken_line(segment.text)
        if text:
            start = round(segment.start * 1000)
            end = max(round(segment.end * 1000), start + MIN_CUE_MS)
            cues.append(_Cue(start=start, end=end, speaker=spoken_line(segment.speaker or ""), text=text))
    return cues


def _srt(transcript: Transcript) -> str:
    """SubRip. It knows no escapes, so an arrow that a reader may take for a line of times becomes another one."""
    return "\n".join(
        f"{number}\n{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}\n"
        f"{_as_is(cue.speaker, cue.text).replace('-->', '→')}\n"
        for number, cue in enumerate(_cues(transcript), start=1)
    )


def _vtt(transcript: Transcript) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/): ``&``, ``<`` and ``>`` are escaped, a speaker is a voice span."""
    blocks = [
        f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}\n"
        f"{f'<v {_vtt_escape(cue.speaker)}>' if cue.speaker else ''}{_vtt_escape(cue.text)}\n"
        for cue in _cues(transcript)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _vtt_escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _stamp(milliseconds: int, point: str) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}{point}{thousandths:03}"
