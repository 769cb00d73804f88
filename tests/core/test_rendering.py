from __future__ import annotations

import io
import json
import unicodedata

import pytest
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.core.models import Note, NoteKey, Segment, Transcript
from bot.core.rendering import (
    MIN_CUE_MS,
    FileLabels,
    TranscriptFormat,
    clock_time,
    escape_markdown,
    spoken_line,
    transcript_file,
    transcript_form,
)
from tests.fakes import a_transcript

HOSTILE = (
    "-->",
    "00:00:01.000 --> 00:00:02.000",
    "00:00:01,000 --> 00:00:02,000",
    "1\n00:00:00,000 --> 00:00:01,000\nx",
    "a\n\nb",
    "NOTE x",
    "STYLE",
    "WEBVTT",
    "<v Bob>",
    "</v>",
    "<b>&lt;&amp;",
    "&",
    "\u2028\x85\x0b",
    "7",
    "{\\an8}",
    "\ufeff",
)

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from((*HOSTILE, " ", "\n", "\r\n")), max_size=4).map("".join),
)
times = st.floats(min_value=0, max_value=1_000_000, allow_nan=False)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start = draw(times)
    end = draw(st.one_of(times, st.just(start)))
    return Segment(start=start, end=end, speaker=draw(st.none() | texts), text=draw(texts))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    return Transcript(
        language="en",
        language_probability=0.5,
        duration_s=draw(times),
        segments=tuple(draw(st.lists(segments(), max_size=5))),
        model="m",
    )


def cue_times(transcript: Transcript) -> list[tuple[int, int]]:
    """Start and end in milliseconds of what subtitles should hold."""
    kept = [segment for segment in transcript.segments if spoken_line(segment.text)]
    kept.sort(key=lambda segment: (segment.start, segment.end))
    starts = [round(segment.start * 1000) for segment in kept]
    return [
        (start, max(round(segment.end * 1000), start + MIN_CUE_MS)) for start, segment in zip(starts, kept, strict=True)
    ]


@given(transcripts())
def test_srt_is_read_back_cue_by_cue(transcript: Transcript) -> None:
    content = transcript_file(transcript, TranscriptFormat.SRT).decode()

    cues = list(srt.parse(content))  # pyright: ignore[reportUnknownMemberType] - srt has no types

    found = [(round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000)) for cue in cues]
    assert found == cue_times(transcript)
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))


@given(transcripts())
def test_vtt_is_read_back_cue_by_cue(transcript: Transcript) -> None:
    content = transcript_file(transcript, TranscriptFormat.VTT).decode()

    cues = webvtt.from_buffer(io.StringIO(content), format="vtt").captions

    found = [(cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds()) for cue in cues]
    assert found == cue_times(transcript)


@given(transcripts())
def test_json_is_the_form_that_other_programs_read(transcript: Transcript) -> None:
    form = json.loads(transcript_file(transcript, TranscriptFormat.JSON))

    assert form == {
        "language": transcript.language,
        "duration_s": transcript.duration_s,
        "text": transcript.text,
        "segments": [
            {"start": segment.start, "end": segment.end, "speaker": segment.speaker, "text": segment.text}
            for segment in transcript.segments
        ],
    }
    assert form == transcript_form(transcript)


@given(transcripts())
def test_txt_has_a_line_for_every_segment(transcript: Transcript) -> None:
    lines = transcript_file(transcript, TranscriptFormat.TXT).decode().split("\n")

    assert lines[:4] == ["Transcript", "Language: en", f"Duration: {clock_time(transcript.duration_s)}", "Model: m"]
    assert len([line for line in lines if line.startswith("[")]) == len(transcript.segments)


def test_srt_keeps_words_and_speakers() -> None:
    transcript = a_transcript("Hello <b>you</b> & me --> all", "Bye.", speakers=("Ann",))

    assert transcript_file(transcript, TranscriptFormat.SRT).decode() == (
        "1\n00:00:00,000 --> 00:00:02,000\nAnn: Hello <b>you</b> & me → all\n\n2\n00:00:02,000 --> 00:00:04,000\nBye.\n"
    )


def test_vtt_escapes_and_names_voices() -> None:
    transcript = a_transcript("Hello <b>you</b> & me --> all", "Bye.", speakers=("Ann >B",))

    assert transcript_file(transcript, TranscriptFormat.VTT).decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n<v Ann &gt;B>Hello &lt;b&gt;you&lt;/b&gt; &amp; me --&gt; all\n\n"
        "00:00:02.000 --> 00:00:04.000\nBye.\n"
    )


def test_subtitles_go_past_99_hours() -> None:
    transcript = Transcript(
        language="en",
        language_probability=1,
        duration_s=400_000,
        segments=(Segment(start=363_600.0004, end=363_600.0004, text="late"),),
        model="m",
    )

    assert "101:00:00.000 --> 101:00:00.100" in transcript_file(transcript, TranscriptFormat.VTT).decode()


def test_txt_reads_well() -> None:
    transcript = a_transcript("Hello.", "Hi.", speakers=("Ann", "Bo"), notes=(Note(key=NoteKey.TRUNCATED),))

    content = transcript_file(
        transcript,
        TranscriptFormat.TXT,
        note_lines=("The file ends early.",),
        labels=FileLabels(title="Abschrift", language="Sprache", duration="Länge", model="Modell"),
    )

    assert content.decode() == (
        "Abschrift\nSprache: en\nLänge: 0:04\nModell: fake\n\n"
        "The file ends early.\n\n"
        "[0:00] Ann: Hello.\n[0:02] Bo: Hi.\n"
    )


def test_md_reads_well_and_escapes() -> None:
    transcript = a_transcript("# Hello *you*", "[x](http://y)", speakers=("A_B",))

    content = transcript_file(transcript, TranscriptFormat.MD, note_lines=("Cut.", "Noisy."))

    assert content.decode() == (
        "# Transcript\n\n- Language: en\n- Duration: 0:04\n- Model: fake\n\n> Cut.\n> Noisy.\n\n"
        "`0:00` **A\\_B:** \\# Hello \\*you\\*\n\n`0:02` \\[x\\](http\\://y)\n"
    )


@pytest.mark.parametrize("file_format", list(TranscriptFormat))
def test_nothing_said_is_still_a_file(file_format: TranscriptFormat) -> None:
    content = transcript_file(a_transcript(), file_format)

    assert content.endswith(b"\n") or file_format is TranscriptFormat.SRT
    assert b"\n\n\n" not in content


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0:00"),
        (59.99, "0:59"),
        (60, "1:00"),
        (754, "12:34"),
        (3599.9, "59:59"),
        (3600, "1:00:00"),
        (360_065, "100:01:05"),
    ],
)
def test_clock_time(seconds: float, written: str) -> None:
    assert clock_time(seconds) == written


@given(st.text())
@example("a\u200bb")
@example("नमस्ते क्‍ष")
def test_a_spoken_line_is_one_line_of_visible_text(text: str) -> None:
    line = spoken_line(text)

    assert line == " ".join(line.split())
    assert spoken_line(line) == line
    hidden = {char for char in line if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert hidden <= {"\u200c", "\u200d"}


def test_letters_that_need_joiners_keep_them() -> None:
    text = "می\u200cخواهم 👩\u200d💻"  # noqa: RUF001 - Persian

    assert spoken_line(text) == text


# --- Markdown ---------------------------------------------------------------------------------------------------

MARKDOWN = MarkdownIt("commonmark").enable(["strikethrough", "table"])


def shown(markdown: str) -> str | None:
    """What a reader of Markdown sees, None if anything in it is formatted."""
    blocks = MARKDOWN.parse(markdown)
    if [block.type for block in blocks] != ["paragraph_open", "inline", "paragraph_close"]:
        return None
    children = blocks[1].children or []
    if any(child.type not in {"text", "text_special"} for child in children):
        return None
    return "".join(child.content for child in children)


MARKS = st.lists(
    st.sampled_from(
        [*"\\*_~|`[]()<>#-+=!:;&@/. 1a", "&amp;", "&#42;", "http://", "1. ", "@everyone", "```", "**", "||"]
    ),
    min_size=1,
    max_size=12,
).map("".join)


@given(MARKS | st.text())
@example("&lt;")
@example("1. a")
@example("- - -")
@example("===")
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    line = spoken_line(text)
    if line:
        assert (shown(escape_markdown(line)) or "").replace("@\u200b", "@") == line


def test_the_check_above_sees_formatting() -> None:
    assert [shown(text) for text in ("*a*", "[a](b)", "# a", "- a", "`a`", "~~a~~", "<http://a>")] == [None] * 7


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("||spoiler||", r"\|\|spoiler\|\|"),
        ("<@123> <#4> <@&5> <:x:6> <t:7:R> </a:8>", r"\<@123\> \<#4\> \<@&5\> \<:x:6\> \<t:7:R\> \</a:8\>"),
        ("https://evil.example", r"https\://evil.example"),
        ("-# small", r"\-# small"),
        ("> quote\n>>> more", "\\> quote\n\\>\\>\\> more"),
        ("1) one\n2. two", "1\\) one\n2\\. two"),
        ("__u__ snake_case", r"\_\_u\_\_ snake\_case"),
        ("at 3:45, half - done, R&D (really)", "at 3:45, half - done, R&D (really)"),
    ],
)
def test_what_discord_would_format_is_escaped(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize("ping", ["@everyone", "@here"])
def test_nobody_is_pinged(ping: str) -> None:
    assert ping not in escape_markdown(f"hi {ping}!")
