from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bot.core.errors import (
    AudioEmpty,
    CompletionFailed,
    CompletionUnavailable,
    DecodeFailed,
    EarshotError,
    FetchFailed,
    NotFound,
    TranscriberCrashed,
    TranscriptNotKept,
    UnknownMode,
)
from bot.core.load import Load
from bot.core.models import AudioLink, KeptTranscript, NoteKey, Progress, Request, Stage, StageStatus
from bot.core.modes import ModelBlock
from bot.core.pipeline import Pipeline
from tests.fakes import (
    HANG,
    FakeClock,
    FakeCompletionModel,
    FakeDecoder,
    FakeFetcher,
    FakeModeSource,
    FakeObserver,
    FakeSpool,
    FakeTranscriber,
    FakeTranscriptStore,
    a_chain,
    a_mode,
    a_transcript,
    some_decoded,
    some_fetched,
    some_shared_work,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.models import Source, Transcript

LINK = AudioLink(url="https://cdn.discordapp.com/attachments/1/2/clip.ogg", filename="clip.ogg")


class World:
    """A pipeline whose every port is a fake; a test replaces those that it is about."""

    def __init__(
        self,
        *models: FakeCompletionModel,
        fetcher: FakeFetcher | None = None,
        decoder: FakeDecoder | None = None,
        transcriber: FakeTranscriber | None = None,
        store: FakeTranscriptStore | None = None,
        transcriptions: int = 1,
    ) -> None:
        self.models = models or (FakeCompletionModel("A *summary*."),)
        self.fetcher = fetcher or FakeFetcher()
        self.decoder = decoder or FakeDecoder()
        self.transcriber = transcriber or FakeTranscriber()
        self.store = store or FakeTranscriptStore()
        self.spool = FakeSpool()
        self.modes = FakeModeSource(a_mode(), a_mode("minutes"))
        self.clock = FakeClock()
        self.observer = FakeObserver()
        self.shared = some_shared_work()
        self.pipeline = Pipeline(
            fetcher=self.fetcher,
            decoder=self.decoder,
            transcriber=self.transcriber,
            chain=a_chain(*self.models, shared=self.shared),
            modes=self.modes,
            transcripts=self.store,
            spool=self.spool,
            shared=self.shared,
            load=Load(places=transcriptions, clock=self.clock),
            clock=self.clock,
            transcriptions=transcriptions,
        )

    def request(self, mode: str | None = "summarize", source: Source = LINK, number: int = 1) -> Request:
        return Request(id=f"{number:016x}", source=source, mode=mode)


async def test_a_request_goes_all_the_way() -> None:
    world = World()
    reply = await world.pipeline.run(world.request(), world.observer)
    assert reply.transcript.text == "Hello world. How are you?"
    assert reply.result is not None
    assert reply.result.text == "A *summary*."
    assert (reply.model, reply.mode) == ("fake", world.modes.modes["summarize"].ref)
    assert list(reply.stages) == list(Stage)
    assert {report.status for report in reply.stages.values()} == {StageStatus.OK}
    assert not reply.cached.transcript
    assert {audio.path for audio in world.spool.released} == {some_fetched().path, some_decoded().path}


async def test_the_observer_sees_each_stage_and_all_the_words_so_far() -> None:
    world = World()
    await world.pipeline.run(world.request(), world.observer)
    seen = world.observer.seen
    assert [stage for stage in Stage if any(progress.stage is stage for progress in seen)] == list(Stage)
    heard = [progress for progress in seen if progress.stage is Stage.TRANSCRIBE and progress.fraction is not None]
    assert [(p.fraction, p.transcript_text) for p in heard] == [
        (0.5, "Hello world."),
        (1.0, "Hello world. How are you?"),
    ]
    assert seen[-1].result_text == "A *summary*."


async def test_stages_are_timed() -> None:
    world = World()

    def pass_time(progress: Progress) -> None:
        if progress.stage is Stage.TRANSCRIBE and progress.fraction is not None:
            world.clock.now += 0.75

    reply = await world.pipeline.run(world.request(), pass_time)
    assert reply.stages[Stage.TRANSCRIBE].seconds == pytest.approx(1.5)
    assert reply.seconds == pytest.approx(1.5)


async def test_without_a_mode_the_transcript_is_the_answer() -> None:
    world = World()
    reply = await world.pipeline.run(world.request(mode=None))
    assert (reply.result, reply.mode, reply.model, reply.routing) == (None, None, None, None)
    assert reply.transcript.segments
    assert world.models[0].calls == []


async def test_auto_chooses_a_mode_and_says_why() -> None:
    world = World()
    reply = await world.pipeline.run(world.request(mode="auto"))
    assert reply.routing is not None
    assert (reply.routing.chosen, reply.routing.reason) == ("summarize", "the default mode")


async def test_an_unknown_mode_is_refused_before_any_work() -> None:
    world = World()
    with pytest.raises(UnknownMode):
        await world.pipeline.run(world.request(mode="nonsense"))
    assert world.fetcher.calls == []


async def test_silence_is_not_given_to_a_model() -> None:
    world = World(transcriber=FakeTranscriber(a_transcript()))
    reply = await world.pipeline.run(world.request())
    assert (reply.result, reply.transcript.segments) == (None, ())
    assert world.models[0].calls == []


async def test_speakers_of_a_file_are_said_not_to_be_told_apart() -> None:
    world = World()
    reply = await world.pipeline.run(world.request())
    assert [note.key for note in reply.notes] == [NoteKey.SPEAKERS_NOT_SEPARATED]
    assert world.store.kept[reply.request.id].notes == reply.notes


async def test_when_no_model_answers_the_transcript_is_still_there() -> None:
    world = World(FakeCompletionModel(CompletionFailed("down")))
    reply = await world.pipeline.run(world.request())
    assert reply.result is None
    assert reply.transcript.segments
    assert NoteKey.RESULT_MISSING in {note.key for note in reply.notes}
    report = reply.stages[Stage.COMPLETE]
    assert report.status is StageStatus.FAILED
    assert "down" in report.detail


async def test_a_later_link_answers_and_the_report_names_the_failed_ones() -> None:
    first = FakeCompletionModel(CompletionUnavailable("no key"), name="o3")
    world = World(first, FakeCompletionModel("Yes.", name="gpt-4o"))
    reply = await world.pipeline.run(world.request())
    assert reply.model == "gpt-4o"
    assert reply.stages[Stage.COMPLETE].detail == "o3: no key"


async def test_a_long_transcript_is_read_in_parts_and_a_missing_one_is_named() -> None:
    said = a_transcript(*["x" * 1_200] * 30)  # two chunks for 6,000 tokens
    models = FakeCompletionModel("One.", CompletionFailed("cut"), "Both.")
    world = World(models, transcriber=FakeTranscriber(said))
    reply = await world.pipeline.run(world.request(), world.observer)
    assert reply.result is not None
    assert reply.result.text == "Both."
    assert [note.values for note in reply.notes if note.key is NoteKey.PART_MISSING] == [
        {"start_s": 30.0, "end_s": 60.0}
    ]
    report = reply.stages[Stage.COMPLETE]
    assert (report.status, "cut" in report.detail) == (StageStatus.PARTIAL, True)
    shown = [(seen.fraction, seen.result_text) for seen in world.observer.seen if seen.stage is Stage.COMPLETE]
    assert (1.0, "**0:00-0:30**\nOne.") in shown
    assert shown[-1] == (None, "Both.")


async def test_of_what_a_mode_refuses_as_too_long_there_is_the_transcript() -> None:
    world = World(transcriber=FakeTranscriber(a_transcript(*["x" * 1_200] * 30)))
    world.modes.modes = {"summarize": a_mode(model=ModelBlock(long_input="refuse"))}
    reply = await world.pipeline.run(world.request())
    assert (reply.result, reply.model, reply.transcript_id) == (None, None, world.request().id)
    assert NoteKey.TOO_MUCH_SAID in {note.key for note in reply.notes}
    assert reply.stages[Stage.COMPLETE].status is StageStatus.SKIPPED  # no failure of a model
    assert world.request().id in world.store.kept
    assert world.models[0].calls == []


@pytest.mark.parametrize(
    ("stage", "world", "error"),
    [
        (Stage.FETCH, lambda: World(fetcher=FakeFetcher(FetchFailed("cut"))), FetchFailed),
        (Stage.FETCH, lambda: World(fetcher=FakeFetcher(AudioEmpty())), AudioEmpty),
        (Stage.DECODE, lambda: World(decoder=FakeDecoder(DecodeFailed("boom"))), DecodeFailed),
        (Stage.TRANSCRIBE, lambda: World(transcriber=FakeTranscriber(TranscriberCrashed("3"))), TranscriberCrashed),
    ],
)
async def test_a_stage_that_fails_raises_and_leaves_nothing_in_the_spool(
    stage: Stage, world: Callable[[], World], error: type[EarshotError]
) -> None:
    here = world()
    with pytest.raises(error):
        await here.pipeline.run(here.request(), here.observer)
    assert here.observer.seen[-1].stage is stage
    if stage is not Stage.FETCH:
        assert some_fetched() in here.spool.released
    if stage is Stage.TRANSCRIBE:
        assert some_decoded() in here.spool.released


async def test_a_cancelled_request_leaves_nothing_in_the_spool() -> None:
    world = World(transcriber=FakeTranscriber(HANG))
    task = asyncio.create_task(world.pipeline.run(world.request()))
    await until(lambda: world.transcriber.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {audio.path for audio in world.spool.released} == {some_fetched().path, some_decoded().path}


async def test_a_kept_transcript_is_used_again_without_listening() -> None:
    world = World()
    first = await world.pipeline.run(world.request(mode=None))
    again = await world.pipeline.run(world.request(source=KeptTranscript(id=first.request.id), number=2))
    assert again.cached.transcript
    assert again.result is not None
    assert again.transcript == first.transcript
    assert len(world.transcriber.calls) == 1
    assert again.stages[Stage.TRANSCRIBE].status is StageStatus.SKIPPED
    assert again.transcript_id == first.transcript_id, "its time runs from the first request: no new copy is kept"
    assert set(world.store.kept) == {first.request.id}


async def test_a_transcript_that_is_no_longer_kept_is_said_to_be_gone() -> None:
    world = World()
    with pytest.raises(NotFound):
        await world.pipeline.run(world.request(source=KeptTranscript(id="00000000")))


async def test_those_who_wait_hold_no_decoded_audio_and_are_told() -> None:
    different = (some_fetched(sha256=f"{number:064x}") for number in range(3))
    world = World(fetcher=FakeFetcher(*different), transcriber=FakeTranscriber(HANG))
    observers = [FakeObserver() for _ in range(3)]
    tasks = [
        asyncio.create_task(world.pipeline.run(world.request(number=number), observer))
        for number, observer in enumerate(observers)
    ]
    # One is at work, one is ready to follow at once, the third waits with its encoded file.
    await until(lambda: Progress(stage=Stage.TRANSCRIBE, waiting=True) in observers[1].seen)
    await until(lambda: Progress(stage=Stage.DECODE, waiting=True) in observers[2].seen)
    assert (len(world.transcriber.calls), len(world.decoder.calls)) == (1, 2)
    tasks[0].cancel()
    await until(lambda: (len(world.transcriber.calls), len(world.decoder.calls)) == (2, 3))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_few_fetch_at_a_time_and_the_others_are_told() -> None:
    world = World(fetcher=FakeFetcher(HANG))
    observers = [FakeObserver() for _ in range(5)]
    tasks = [
        asyncio.create_task(world.pipeline.run(world.request(number=number), observer))
        for number, observer in enumerate(observers)
    ]
    await until(lambda: Progress(stage=Stage.FETCH, waiting=True) in observers[4].seen)
    assert len(world.fetcher.calls) == 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_transcript_that_cannot_be_kept_is_answered_all_the_same() -> None:
    class FullStore(FakeTranscriptStore):
        async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
            raise TranscriptNotKept(f"no room for {request_id}: {transcript.language} for {keep_s} s")

    world = World(store=FullStore())
    reply = await world.pipeline.run(world.request())
    assert reply.result is not None
    assert reply.transcript_id is None
    assert NoteKey.NOT_KEPT in {note.key for note in reply.notes}
    report = reply.stages[Stage.TRANSCRIBE]
    assert (report.status, "no room" in report.detail) == (StageStatus.PARTIAL, True)


async def test_a_request_ends_on_the_modes_that_it_began_with() -> None:
    world = World()
    began = world.modes.modes["summarize"]

    def swap(progress: Progress) -> None:
        if progress.stage is Stage.TRANSCRIBE:
            world.modes.modes = {"summarize": a_mode(system="Something else.")}

    reply = await world.pipeline.run(world.request(), swap)
    assert reply.mode == began.ref
    assert world.models[0].calls[0].mode is began
