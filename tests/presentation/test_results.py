from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import StoredRequests
from bot.core.entries import reply_of
from bot.core.errors import StoreUnavailable
from bot.core.models import (
    Asker,
    AudioLink,
    Cached,
    KeptTranscript,
    ModeRef,
    Note,
    NoteKey,
    Reply,
    Request,
    Stage,
    StageReport,
    StageStatus,
    Task,
    TranscriptionOptions,
)
from bot.core.records import LONGEST_S, RequestRecord, RequestState, ResultRecord, SourceKind, StageRecord
from bot.presentation.replies import reply_answer
from bot.presentation.results_page import (
    record_answer,
    result_line,
    result_name,
    result_names,
    results_answer,
)
from bot.presentation.results_shelf import ResultShelf, ResultsMenu, StillRunning
from cogs.results import Results
from tests.fakes import FakeClock, FakeTranscriptStore, a_transcript
from tests.presentation.guildhall import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    LOCALE,
    NOW,
    Counter,
    FakeDeliveryLog,
    FakeRequestLog,
    a_member,
    a_user,
    all_text,
    an_interaction,
    assert_fits,
)

if TYPE_CHECKING:
    import discord

ID = "0123456789abcdef"
SUMMARY = ModeRef(id="summarize", title="Summary", content_hash="0" * 64)
SAID = a_transcript("Hello.", "Again.", language="de")


def a_record(request_id: str = ID, **more: Any) -> RequestRecord:
    values: dict[str, Any] = {
        "id": request_id,
        "guild_id": GUILD,
        "channel_id": CHANNEL,
        "member_id": ADA,
        "source": SourceKind.ATTACHMENT,
        "filename": "clip.ogg",
        "wanted_mode": "summarize",
        "mode": SUMMARY,
        "language": "de",
        "state": RequestState.DONE,
        "created_at": NOW,
        "stages": {Stage.TRANSCRIBE: StageRecord(status=StageStatus.OK, seconds=1.25)},
        "notes": (Note(key=NoteKey.SPEAKERS_NOT_SEPARATED),),
        "transcript_id": request_id,
        "result": ResultRecord(format="markdown", text="A greeting.", model="gpt-4o"),
        "audio_sha256": "0" * 64,
    }
    return RequestRecord(**(values | more))


def a_reply(source: Any, **more: Any) -> Reply:
    """What `a_record` is a record of."""
    record = a_record()
    return Reply(
        request=Request(
            id=ID, source=source, mode="summarize", options=TranscriptionOptions(language="de", task=Task.TRANSCRIBE)
        ),
        transcript=SAID,
        transcript_id=ID,
        mode=SUMMARY,
        routing=None,
        result=record.result.result() if record.result else None,
        model="gpt-4o",
        stages={Stage.TRANSCRIBE: StageReport(status=StageStatus.OK, seconds=1.25)},
        notes=record.notes,
        **more,
    )


# --- one result ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [Cached(), Cached(transcript=True, completion=True)], ids=["worked", "cached"])
def test_a_result_is_shown_as_it_was(cached: Cached) -> None:
    link = AudioLink(url="https://cdn.discordapp.com/clip.ogg", filename="clip.ogg")
    record = a_record(cached_transcript=cached.transcript, cached_completion=cached.completion)
    again = record_answer(record, SAID, locale=LOCALE)
    assert again == reply_answer(a_reply(link, cached=cached), locale=LOCALE)
    assert again.transcript_id == ID, "with the menus below it"
    assert again.request_id == ID, "so that it counts as delivered"


def test_a_result_of_a_kept_transcript_is_shown_as_it_was() -> None:
    record = a_record("f" * 16, source=SourceKind.TRANSCRIPT, transcript_id=ID, cached_transcript=True, filename="")
    reply = reply_of(record, SAID)
    assert reply.request.source == KeptTranscript(id=ID)
    shown = {field.name: field.value for field in reply_answer(reply, locale=LOCALE).fields}
    assert "kept transcript" in shown["Took"]


def test_a_transcript_alone_is_shown_as_it_was() -> None:
    record = a_record(wanted_mode=None, mode=None, result=None)
    answer = record_answer(record, SAID, locale=LOCALE)
    assert answer.title == "Transcript"
    assert "Hello." in answer.description


def test_a_result_outlives_its_transcript() -> None:
    answer = record_answer(a_record(), None, locale=LOCALE)
    assert_fits(answer)
    assert (answer.title, answer.description) == ("Summary", "A greeting.")
    assert "no longer kept" in all_text(answer)
    assert answer.transcript_id is None, "no menus that could not work"
    nothing = record_answer(a_record(result=None), None, locale=LOCALE)
    assert "no longer kept" in nothing.description


def test_a_long_result_without_its_transcript_is_in_a_file() -> None:
    words = "A long line. " * 2_000
    answer = record_answer(
        a_record(result=ResultRecord(format="markdown", text=words, model="gpt-4o")), None, locale=LOCALE
    )
    assert_fits(answer)
    (file,) = answer.files
    assert (file.name, file.content.decode()) == ("summarize.md", words)


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (RequestState.RUNNING, None, "still working"),
        (RequestState.INTERRUPTED, None, "stopped in the middle"),
        (RequestState.FAILED, "error.empty", "That file is empty"),
        (RequestState.FAILED, "error.too_large", "That one failed."),  # its figures are not kept
        (RequestState.FAILED, "ZeroDivisionError", "That one failed."),
        (RequestState.FAILED, "help.title", "That one failed."),
    ],
)
def test_what_has_no_result_says_why(state: RequestState, error: str | None, said: str) -> None:
    answer = record_answer(a_record(state=state, error=error, result=None), None, locale=LOCALE)
    assert_fits(answer)
    assert said in answer.description
    assert "ZeroDivisionError" not in answer.description
    assert (answer.request_id is None) is (state is RequestState.RUNNING), "what runs has not been delivered"


# --- the list -----------------------------------------------------------------------------------------------------


def test_a_line_tells_what_it_is() -> None:
    url = f"https://discord.com/channels/{GUILD}/{CHANNEL}/1"
    assert result_line(a_record(answer_url=url), LOCALE) == (
        f"<t:1800000000:f> **Summary** · clip.ogg · German · [answer]({url})"
    )
    assert "under way" in result_line(a_record(state=RequestState.RUNNING), LOCALE, is_undelivered=True)
    assert "did not reach" not in result_line(a_record(state=RequestState.RUNNING), LOCALE, is_undelivered=True)
    assert "failed" in result_line(a_record(state=RequestState.FAILED), LOCALE)
    assert "did not reach you" in result_line(a_record(), LOCALE, is_undelivered=True)
    plain = result_line(a_record(mode=None, wanted_mode=None, filename="", language=None, task=Task.TRANSLATE), LOCALE)
    assert plain == "<t:1800000000:f> **Translation**"


def test_names_that_others_chose_are_shown_as_they_are() -> None:
    hostile = "[x](https://evil.example)\n@everyone **b** \u202e.ogg"
    mode = ModeRef(id="summarize", title="`*`", content_hash="0")
    line = result_line(a_record(filename=hostile, mode=mode), LOCALE)
    assert "\n" not in line
    assert "@everyone" not in line
    assert "\u202e" not in line
    assert "[x](" not in line.replace("\\[", "")
    assert "**b**" not in line


def test_no_results_are_said_to_be_none_and_how_to_get_some() -> None:
    answer = results_answer([], frozenset(), outside=False, locale=LOCALE)
    assert "Apps → Summarise" in answer.description
    assert answer.files == ()


def test_many_results_are_in_a_file_whole() -> None:
    records = [a_record(f"{number:016x}", filename=f"clip-{number}.ogg") for number in range(500)]
    answer = results_answer(records, frozenset(), outside=False, locale=LOCALE)
    assert_fits(answer)
    assert "of 500" in answer.description
    (file,) = answer.files
    assert all(f"clip-{number}.ogg" in file.content.decode() for number in range(500))


_RECORDS = st.builds(
    a_record,
    filename=st.text(max_size=1_024),
    mode=st.none() | st.builds(ModeRef, id=st.just("m"), title=st.text(max_size=80), content_hash=st.just("")),
    wanted_mode=st.none() | st.text(max_size=64),
    state=st.sampled_from(RequestState),
)


@given(st.lists(_RECORDS, max_size=60))
def test_whatever_was_asked_for_fits(records: list[RequestRecord]) -> None:
    assert_fits(results_answer(records, frozenset({ID}), outside=False, locale=LOCALE))
    for record in records:
        assert 1 <= len(result_name(record, LOCALE)) <= 100


def test_suggestions_fit_what_was_typed() -> None:
    records = [a_record(f"{number:016x}", filename=f"Clip-{number}.ogg") for number in range(60)]
    assert len(result_names(records, "", LOCALE, 25)) == 25
    assert [found for _, found in result_names(records, "clip-7", LOCALE, 25)] == [f"{7:016x}"]
    assert [found for _, found in result_names(records, f"{9:016x}", LOCALE, 25)] == [f"{9:016x}"], "as it was chosen"


# --- commands -----------------------------------------------------------------------------------------------------


class Office:
    def __init__(self, *records: RequestRecord, undelivered: tuple[str, ...] = ()) -> None:
        self.counter = Counter()
        self.requests = FakeRequestLog(*records)
        self.transcripts = FakeTranscriptStore({ID: SAID})
        self.deliveries = FakeDeliveryLog(*undelivered)
        self.cog = Results(self.counter.reception, ResultShelf(self.requests, self.transcripts, self.deliveries))

    async def use(self, command: Any, *values: Any, by: discord.Member | discord.User | None = None) -> str:
        await command.callback(self.cog, an_interaction(by or a_member()), *values)
        return all_text(self.counter.answer)

    async def choose(self, request_id: str, *, by: discord.Member | discord.User) -> str:
        """Choose from the menu below a list, as after a restart."""
        client = SimpleNamespace(
            services=SimpleNamespace(
                reception=self.counter.reception,
                requests=self.requests,
                transcripts=self.transcripts,
                deliveries=self.deliveries,
            )
        )
        interaction = an_interaction(by, client=client)
        menu = ResultsMenu(str(ADA), LOCALE)
        found = menu.template.fullmatch(menu.custom_id)
        assert found is not None
        again = await ResultsMenu.from_custom_id(interaction, menu.item, found)
        data: Any = {"component_type": 3, "custom_id": menu.custom_id, "values": [request_id]}
        again._refresh_state(interaction, data)  # pyright: ignore[reportPrivateUsage] - as discord.py does it
        await again.callback(interaction)
        return all_text(self.counter.answer)


async def test_the_list_has_a_menu_of_the_newest() -> None:
    records = [a_record(f"{number:016x}", created_at=NOW + number) for number in range(40)]
    office = Office(*records, undelivered=(f"{39:016x}",))
    said = await office.use(office.cog.list_all)
    assert said.count("did not reach you") == 1
    (menu,) = office.counter.answer.extra_items
    assert isinstance(menu, ResultsMenu)
    assert [option.value for option in menu.item.options] == [f"{number:016x}" for number in range(39, 14, -1)]
    assert all(len(option.label) <= 100 for option in menu.item.options)


async def test_an_empty_list_has_no_menu() -> None:
    office = Office(a_record(member_id=BOB), a_record("f" * 16, guild_id=GUILD + 1))
    assert "none here yet" in await office.use(office.cog.list_all)
    assert office.counter.answer.extra_items == ()


async def test_a_result_is_opened_and_counts_as_delivered() -> None:
    office = Office(a_record())
    assert "A greeting." in await office.use(office.cog.get, ID)
    assert office.counter.answer.request_id == ID
    assert "A greeting." in await office.choose(ID, by=a_member())


@pytest.mark.parametrize("way", ["get", "delete", "menu"])
@pytest.mark.parametrize(
    "record",
    [None, a_record(member_id=BOB), a_record(guild_id=GUILD + 1), a_record(guild_id=None)],
    ids=["none", "somebody else's", "another guild's", "of no guild"],
)
async def test_what_is_not_ones_own_is_not_there(record: RequestRecord | None, way: str) -> None:
    office = Office(*([record] if record else []))
    if way == "menu":
        said = await office.choose(ID, by=a_member())
    else:
        said = await office.use(getattr(office.cog, way), ID)
    assert said.startswith("\nYou have no such result here.")
    assert list(office.requests.records.values()) == ([record] if record else [])
    assert ID in office.transcripts.kept


@pytest.mark.parametrize("typed", ["", "Summary", "../../etc", "*", "0" * 65, "ABCDEF0123456789"])
async def test_what_is_no_id_is_not_looked_up(typed: str) -> None:
    office = Office(a_record())
    office.requests.records[typed] = a_record()  # the store would find it
    assert "no such result" in await office.use(office.cog.get, typed)


async def test_a_deleted_result_takes_its_transcript_along() -> None:
    office = Office(a_record())
    said = await office.use(office.cog.delete, ID)
    assert "Deleted: " in said
    assert "clip.ogg" in said
    assert "made for it is deleted too" in said
    assert (office.requests.records, office.transcripts.kept) == ({}, {})


async def test_a_deleted_result_leaves_the_transcript_that_it_only_used() -> None:
    office = Office(a_record("f" * 16, source=SourceKind.TRANSCRIPT, transcript_id=ID))
    said = await office.use(office.cog.delete, "f" * 16)
    assert "made of stays: it belongs to an earlier request" in said
    assert "deleted too" not in said
    assert office.requests.records == {}
    assert ID in office.transcripts.kept


async def test_a_deleted_request_that_made_no_transcript_is_said_to_have_none() -> None:
    office = Office(a_record(state=RequestState.FAILED, transcript_id=None, result=None))
    assert "transcript" not in (await office.use(office.cog.delete, ID)).lower()


async def test_what_ran_when_its_process_was_killed_is_interrupted_and_can_be_deleted() -> None:
    clock = FakeClock(NOW)
    documents: Any = InProcessDocuments(now=clock)
    requests = StoredRequests(documents, cache=InProcessCache(max_bytes=1, now=clock, jitter=lambda: 1.0), now=clock)
    shelf = ResultShelf(requests, FakeTranscriptStore(), FakeDeliveryLog())
    asker = Asker(guild_id=GUILD, channel_id=CHANNEL, member_id=ADA)
    await requests.put(a_record(state=RequestState.RUNNING), keep_s=2 * LONGEST_S)
    with pytest.raises(StillRunning):
        await shelf.delete(asker, ID)
    clock.now += LONGEST_S
    (record,) = await shelf.of(asker)
    assert "interrupted" in result_line(record, LOCALE)
    await shelf.delete(asker, ID)
    assert await shelf.of(asker) == []


async def test_outside_servers_one_finds_what_one_asked_for_there() -> None:
    office, user = Office(a_record(guild_id=None), a_record("f" * 16, filename="of-a-server.ogg")), a_user()
    said = await office.use(office.cog.list_all, by=user)
    assert "clip.ogg" in said
    assert "of-a-server" not in said
    assert "A greeting." in await office.choose(ID, by=user)
    brought_along = an_interaction(a_member(), is_guild_integration=lambda: False)
    assert [found for _, found in await suggested(office.cog, "", brought_along)] == [ID]
    assert "Deleted" in await office.use(office.cog.delete, ID, by=user)
    empty = await office.use(office.cog.list_all, by=user)
    assert "none outside servers yet" in empty
    assert "/summarize" not in empty, "there is no such command there"


async def test_what_runs_is_not_deleted() -> None:
    office = Office(a_record(state=RequestState.RUNNING))
    assert "still being worked on" in await office.use(office.cog.delete, ID)
    assert ID in office.requests.records


async def suggested(cog: Any, typed: str, interaction: Any = None) -> list[tuple[str, str]]:
    """The results that are suggested; discord.py's decorator hides that it is a method of the cog's."""
    return [
        (choice.name, choice.value)
        for choice in await cog.complete_result(interaction or an_interaction(a_member()), typed)
    ]


async def test_results_are_suggested_to_their_owner_alone() -> None:
    office = Office(a_record(), a_record("f" * 16, member_id=BOB))
    assert await suggested(office.cog, "clip") == [("2027-01-15 08:00 UTC · Summary · clip.ogg", ID)]


async def test_a_store_that_is_away_is_said_to_be_and_suggests_nothing() -> None:
    office = Office(a_record())
    office.requests.fails = StoreUnavailable()
    assert "can't reach my memory" in await office.use(office.cog.list_all)
    assert await suggested(office.cog, "") == []
