from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.chain import Refusal
from bot.core.errors import AudioTooLarge, EarshotError, Overloaded, QuotaExceeded, UnknownLanguage
from bot.core.models import (
    AudioLink,
    Cached,
    KeptTranscript,
    ModeResult,
    Note,
    NoteKey,
    Reply,
    Request,
    Segment,
    Stage,
    StageReport,
    StageStatus,
    Task,
    Transcript,
)
from bot.core.quotas import Verdict
from bot.presentation.courier import answer_embed
from bot.presentation.lacks import is_refused, lack_of
from bot.presentation.replies import MAX_FIELD, Answer, error_answer, reply_answer, updated_answer
from bot.presentation.views import RetryButton, result_view
from tests.modes import SUMMARIZE

if TYPE_CHECKING:
    import discord
    from syrupy.assertion import SnapshotAssertion

LOCALE = "en-US"


def transcript(*texts: str, notes: tuple[Note, ...] = (), task: Task = Task.TRANSCRIBE) -> Transcript:
    return Transcript(
        language="en",
        language_probability=1.0,
        duration_s=max(1.0, 10.0 * len(texts)),
        segments=tuple(Segment(start=10.0 * i, end=10.0 * i + 9, text=said) for i, said in enumerate(texts)),
        model="base",
        notes=notes,
        task=task,
    )


def reply(said: Transcript, result: str | None = None, *, model: str = "gpt-4o") -> Reply:
    return Reply(
        request=Request(id="0123456789abcdef", source=KeptTranscript(id="00000000"), mode="summarize"),
        transcript=said,
        transcript_id="0123456789abcdef",
        mode=SUMMARIZE.ref if result is not None else None,
        routing=None,
        result=ModeResult(format="markdown", text=result) if result is not None else None,
        model=model if result is not None else None,
        stages={Stage.TRANSCRIBE: StageReport(status=StageStatus.OK, seconds=1.25)},
        notes=said.notes,
    )


def assert_fits(answer: Answer) -> discord.Embed:
    """Discord's limits of an embed."""
    embed = answer_embed(answer)
    assert len(embed) <= 6_000
    assert len(embed.title or "") <= 256
    assert 1 <= len(embed.description or "") <= 4_096
    assert len(embed.fields) <= 25
    for field in embed.fields:
        assert 1 <= len(field.name or "") <= 256
        assert 1 <= len(field.value or "") <= 1_024
    assert len(embed.footer.text or "") <= 2_048
    return embed


def test_a_result_says_what_it_is_and_what_it_cost() -> None:
    embed = assert_fits(reply_answer(reply(transcript("Hello."), "It is about greetings."), locale=LOCALE))
    assert (embed.title, embed.description) == ("Summary", "It is about greetings.")
    assert {field.name: field.value for field in embed.fields} == {
        "Mode": "Summary",
        "Language": "English",
        "Length": "0:10",
        "Model": "gpt-4o",
        "Took": "1.2 s",
    }


def test_a_transcript_has_times_and_names_whisper() -> None:
    answer = reply_answer(reply(transcript("Hello.", "Again.")), locale=LOCALE)
    assert answer.description == "`0:00` Hello.\n`0:10` Again."
    assert answer.title == "Transcript"
    assert "whisper base" in [field.value for field in answer.fields]
    assert answer.transcript_id == "0123456789abcdef"


def test_a_translation_is_called_one() -> None:
    assert reply_answer(reply(transcript("Hi", task=Task.TRANSLATE)), locale=LOCALE).title == "Translation"


def test_silence_gets_a_friendly_answer_and_no_menus() -> None:
    answer = reply_answer(reply(transcript(notes=(Note(key=NoteKey.NO_SPEECH),))), locale=LOCALE)
    assert "heard no speech" in answer.description
    assert answer.transcript_id is None
    assert answer.files == ()


def test_what_went_wrong_is_said() -> None:
    notes = (Note(key=NoteKey.TRUNCATED, values={"decoded_s": 19.0, "declared_s": 67.0}),)
    answer = reply_answer(reply(transcript("Half.", notes=notes)), locale=LOCALE)
    assert any("0:19 of 1:07" in field.value for field in answer.fields)


def test_the_extract_names_no_model() -> None:
    said = transcript("Hello.", notes=(Note(key=NoteKey.TEMPLATE_USED),))
    answer = reply_answer(reply(said, "Hello.", model="template"), locale=LOCALE)
    assert "none (extract)" in [field.value for field in answer.fields]
    assert any("No language model is set up here" in field.value for field in answer.fields)
    assert answer.incomplete is None, "nothing more can be made of it"


# --- what is not all that was asked for ---------------------------------------------------------------------------

MISSING = Note(key=NoteKey.RESULT_MISSING)
EXTRACT = Note(key=NoteKey.TEMPLATE_USED)
GAP = Note(key=NoteKey.PART_MISSING, values={"start_s": 60.0, "end_s": 180.0})
IN_PARTS = Note(key=NoteKey.PARTS_NOT_JOINED)
CUT = Note(key=NoteKey.RESULT_CUT)
BEGINNING = Note(key=NoteKey.INPUT_CUT, values={"until_s": 600.0})
ENDS_EARLY = Note(key=NoteKey.TRUNCATED, values={"decoded_s": 19.0, "declared_s": 67.0})
NOT_KEPT = Note(key=NoteKey.NOT_KEPT)


TOO_MUCH = Note(key=NoteKey.TOO_MUCH_SAID)


def partial(*notes: Note, detail: str = "gpt-4o: it fails") -> Reply:
    """A reply with ``notes``; ``detail`` tells of the models that gave no answer."""
    keys = {note.key for note in notes}
    model = "template" if NoteKey.TEMPLATE_USED in keys else "gpt-4o"
    status = StageStatus.FAILED if NoteKey.RESULT_MISSING in keys else StageStatus.PARTIAL
    whole = reply(transcript("Hello."), "It is about greetings.", model=model)
    is_missing = not keys.isdisjoint({NoteKey.RESULT_MISSING, NoteKey.TOO_MUCH_SAID})
    return replace(
        whole,
        notes=notes,
        result=None if is_missing else whole.result,
        model=None if is_missing else model,
        transcript_id=None if NoteKey.NOT_KEPT in keys else whole.transcript_id,
        stages={**whole.stages, Stage.COMPLETE: StageReport(status=status, seconds=0.5, detail=detail)},
    )


def look(answer: Answer) -> str:
    """What is read, from the top to the buttons."""
    embed = assert_fits(answer)
    view = result_view(answer, (SUMMARIZE,), LOCALE)
    fields = [f"{field.name} | {field.value}" for field in embed.fields]
    buttons = [f"[{item.item.label}]" for item in view.children if isinstance(item, RetryButton)] if view else []
    return "\n".join(("", f"# {embed.title}", str(embed.description), *fields, str(embed.footer.text), *buttons, ""))


@pytest.mark.parametrize(
    "notes",
    [
        (MISSING,),
        (EXTRACT,),
        (GAP,),
        (IN_PARTS,),
        (IN_PARTS, GAP),
        (CUT,),
        (BEGINNING,),
        (ENDS_EARLY, MISSING),
        (ENDS_EARLY, EXTRACT),
        (EXTRACT, NOT_KEPT),
        (Note(key=NoteKey.SPEAKERS_NOT_SEPARATED), MISSING, NOT_KEPT),
    ],
    ids=lambda notes: "+".join(note.key for note in notes),
)
def test_a_partial_result_says_what_there_is(notes: tuple[Note, ...], snapshot: SnapshotAssertion) -> None:
    assert look(reply_answer(partial(*notes), locale=LOCALE)) == snapshot


@pytest.mark.parametrize("notes", [(), (Note(key=NoteKey.SPEAKERS_NOT_SEPARATED),)], ids=["plain", "as always"])
def test_a_whole_result_offers_no_retry(notes: tuple[Note, ...]) -> None:
    answer = reply_answer(partial(*notes), locale=LOCALE)
    assert answer.incomplete is None
    assert "Transcript:" not in (answer.footer or "")


def test_what_the_mode_will_not_read_has_a_way_out_and_no_retry() -> None:
    answer = reply_answer(partial(TOO_MUCH, detail="more than 6000 tokens"), locale=LOCALE)
    shown = look(answer)
    assert answer.incomplete is None
    assert "[Retry: " not in shown
    assert "**Redo as …**" in shown
    assert "Hello." in answer.description
    assert "Transcript: complete · Summary: missing" in (answer.footer or "")


@pytest.mark.parametrize("notes", [(EXTRACT,), (MISSING,)], ids=["extract", "missing"])
@pytest.mark.parametrize("detail", ["", "template: nothing was said"])
def test_without_models_there_is_nothing_to_retry(notes: tuple[Note, ...], detail: str) -> None:
    shown = look(reply_answer(partial(*notes, detail=detail), locale=LOCALE))
    assert "Retry" not in shown


def test_a_result_with_gaps_is_a_models_whoever_failed() -> None:
    assert "[Retry: " in look(reply_answer(partial(GAP, detail=""), locale=LOCALE))


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (EXTRACT, "The language models refused this: these are sentences"),
        (MISSING, "The language models refused this: this is the transcript"),
        (GAP, "1:00-3:00 is missing: the model refused that part"),
        (IN_PARTS, "could not put the results of its parts together"),
    ],
    ids=lambda value: value.key if isinstance(value, Note) else "",
)
def test_what_models_refuse_is_not_said_to_be_for_want_of_one(note: Note, said: str) -> None:
    refused = partial(note, detail=f"{Refusal(model='o3', why='400')}; {Refusal(model='gpt-4o', why='filtered')}")
    assert is_refused(refused)
    assert said in look(reply_answer(refused, locale=LOCALE))
    one_fails = partial(note, detail=f"{Refusal(model='o3', why='400')}; gpt-4o: 503")
    assert not is_refused(one_fails)
    assert "refused" not in look(reply_answer(one_fails, locale=LOCALE))


@pytest.mark.parametrize("count", range(1, 40, 3))
def test_of_many_gaps_the_first_are_named_and_the_rest_counted(count: int) -> None:
    gaps = [
        Note(key=NoteKey.PART_MISSING, values={"start_s": 60.0 * at, "end_s": 60.0 * at + 30}) for at in range(count)
    ]
    *_, field = reply_answer(partial(*gaps), locale=LOCALE).fields
    *lines, hint = field.value.splitlines()
    assert hint == "**Retry** below costs nothing."
    assert len(field.value) <= MAX_FIELD
    named = [line for line in lines if "is missing" in line]
    left = count - len(named)
    assert lines == [*named, *([f"… and {left} more like that."] if left else [])]
    assert len(named) >= min(count, 10)


def test_a_result_lacks_less_the_more_there_is_of_it() -> None:
    longer = Note(key=NoteKey.PART_MISSING, values={"start_s": 60.0, "end_s": 240.0})
    from_most_to_none = [(MISSING,), (EXTRACT,), (longer,), (GAP, IN_PARTS), (GAP,), (IN_PARTS,), (CUT, NOT_KEPT)]
    lacks = [lack_of(notes) for notes in from_most_to_none]
    assert lacks == sorted(set(lacks), reverse=True)
    assert lacks[-1] == 0


def test_an_updated_answer_says_so_and_by_which_model() -> None:
    assert updated_answer(partial(), locale=LOCALE).footer == "Updated with gpt-4o."
    footer = updated_answer(partial(GAP), locale=LOCALE).footer
    assert footer is not None
    assert footer.startswith("Updated with gpt-4o.\nTranscript: complete · Summary: with gaps")


def test_speakers_are_said_not_to_be_told_apart() -> None:
    said = transcript("Hello.", notes=(Note(key=NoteKey.SPEAKERS_NOT_SEPARATED),))
    assert reply_answer(reply(said), locale=LOCALE).footer == "Speakers are not told apart."


LINK = AudioLink(url="https://cdn.discordapp.com/clip.ogg", filename="clip.ogg")


def took(shown: Reply) -> str:
    return next(field.value for field in reply_answer(shown, locale=LOCALE).fields if field.name == "Took")


def test_a_kept_transcript_is_said_to_be_one_and_free() -> None:
    again = replace(reply(transcript("Hello."), "Hi."), cached=Cached(transcript=True))
    assert took(again) == "1.2 s, from the kept transcript: costs nothing"


@pytest.mark.parametrize(
    ("result", "cached", "said"),
    [
        (None, Cached(), "1.2 s"),
        (None, Cached(transcript=True), "1.2 s, from the cache: costs nothing"),
        ("Hi.", Cached(transcript=True, completion=True), "1.2 s, from the cache: costs nothing"),
        ("Hi.", Cached(transcript=True), "1.2 s, its transcript from the cache"),
        ("Hi.", Cached(), "1.2 s"),
    ],
)
def test_what_came_from_the_cache_is_said_to_be_free(result: str | None, cached: Cached, said: str) -> None:
    shown = reply(transcript("Hello."), result)
    assert took(replace(shown, cached=cached, request=replace(shown.request, source=LINK))) == said


@pytest.mark.parametrize("said", [transcript("Hello."), transcript()], ids=["words", "silence"])
def test_an_answer_names_its_request(said: Transcript) -> None:
    assert reply_answer(reply(said), locale=LOCALE).request_id == "0123456789abcdef"


@pytest.mark.parametrize("length", [4_095, 4_096, 4_097, 20_000, 500_000])
@pytest.mark.parametrize("unit", ["word ", "line\n", "x", "é", "𝄞"])
def test_a_long_result_goes_into_a_file_whole(length: int, unit: str) -> None:
    words = (unit * length)[:length]
    answer = reply_answer(reply(transcript("Hello."), words), locale=LOCALE)
    assert_fits(answer)
    if length <= 4_096:
        assert (answer.description, answer.files) == (words, ())
    else:
        (file,) = answer.files
        assert (file.name, file.content.decode()) == ("summarize.md", words)
        assert answer.description.endswith("the rest is in the attached file.")


def test_a_long_transcript_goes_into_a_file_whole() -> None:
    texts = [f"Sentence number {i} is here." for i in range(2_000)]
    answer = reply_answer(reply(transcript(*texts)), locale=LOCALE)
    assert_fits(answer)
    (file,) = answer.files
    assert file.name == "transcript.txt"
    assert all(said in file.content.decode() for said in texts)


@given(st.lists(st.text(min_size=1, max_size=6_000), min_size=1, max_size=8), st.text(max_size=9_000))
def test_whatever_is_said_fits(texts: list[str], result: str) -> None:
    notes = tuple(
        Note(
            key=key,
            values={
                "decoded_s": 1.0,
                "declared_s": 1e9,
                "language": "x" * 900,
                "probability": 0.123,
                "until_s": 3.0,
                "start_s": 720.0,
                "end_s": 1_110.0,
            },
        )
        for key in NoteKey
    )
    said = transcript(*texts, notes=notes)
    assert_fits(reply_answer(reply(said, result or "-"), locale=LOCALE))
    assert_fits(reply_answer(reply(said), locale=LOCALE))


def test_a_transcript_that_was_not_kept_has_no_menus() -> None:
    answer = reply_answer(replace(reply(transcript("Hello.")), transcript_id=None), locale=LOCALE)
    assert answer.transcript_id is None


def test_an_error_has_a_sentence_and_escaped_values() -> None:
    answer = error_answer(AudioTooLarge(limit_mb=100.0), reference="K7M4QXP", locale=LOCALE)
    assert answer.description.startswith("That file is too large: the limit here is 100 MB.")
    assert answer.is_error
    hostile = error_answer(UnknownLanguage(language="**@everyone**"), reference=None, locale=LOCALE)
    assert "**" not in hostile.description.replace("\\*", "")
    assert "@everyone" not in hostile.description


def test_an_unexpected_error_tells_nothing_of_its_cause() -> None:
    answer = error_answer(EarshotError("password=hunter2"), reference="0123abcd", locale=LOCALE)
    assert "hunter2" not in str(answer)


# --- refusals -----------------------------------------------------------------------------------------------------


def verdict(**more: object) -> Verdict:
    return replace(
        Verdict(
            allowed=False,
            cost=2,
            remaining=1.4,
            retry_after_s=216.2,
            full_at=1_576.3,
            now=1_000.5,
            refused_by="bucket",
        ),
        **more,  # pyright: ignore[reportArgumentType]
    )


def refusal(error: EarshotError) -> tuple[str, str]:
    """What it says, and what it says to be free."""
    answer = error_answer(error, reference="0123abcd", locale=LOCALE)
    embed = assert_fits(answer)
    assert answer.is_error
    assert answer.footer is None, "there is nothing to look up"
    return f"{embed.title}: {embed.description}", " ".join(str(field.value) for field in embed.fields)


def test_an_empty_bucket_says_what_is_left_and_until_when() -> None:
    said, free = refusal(QuotaExceeded(verdict()))
    assert "You are out of tokens" in said
    assert "takes 2 tokens, and you have 1 token left" in said
    assert "<t:1217:R>" in said, "rounded up: nobody comes too early"
    assert "<t:1577:R>" in said
    for way in ("cache", "Redo as", "/results"):
        assert way in free


def test_an_empty_budget_is_that_of_all() -> None:
    said, free = refusal(QuotaExceeded(verdict(refused_by="budget", budget_left=1, remaining=3.0, cost=1)))
    assert "Today's shared tokens are used up" in said
    assert "takes 1 token. Left of what all may use together in a day: 1 token." in said
    assert "<t:1217:R>" in said
    assert "3 tokens of your own" in said
    assert "Redo as" in free


@pytest.mark.parametrize(
    ("wait_s", "said"),
    [(5.0, "about a minute"), (61.0, "about 2 minutes"), (5_400.0, "about 90 minutes"), (5_401.0, "about 2 hours")],
)
def test_overload_says_how_long_and_what_still_works(wait_s: float, said: str) -> None:
    told, works = refusal(Overloaded(wait_s=wait_s))
    assert said in told
    for way in ("cache", "/results", "/quota", "/help"):
        assert way in works
