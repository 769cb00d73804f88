"""A fake for every port: plain objects that remember what they were asked and answer as they were told.

``replies`` are given one a call, the last one from then on: a value is returned, an error is raised, `HANG` never
answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.in_process.outbox import InProcessOutbox
from bot.adapters.in_process.progress_bus import InProcessProgressBus
from bot.adapters.jobs import InProcessJobs
from bot.core.caching import SharedWork
from bot.core.chain import SMART, Chain, ChainPolicy
from bot.core.chain_link import RetryPolicy
from bot.core.circuits import CLOSED, Circuits
from bot.core.completion import Completion
from bot.core.errors import NotFound, StoreUnavailable
from bot.core.models import (
    SAMPLE_RATE,
    DecodedAudio,
    FetchedAudio,
    ModeResult,
    Segment,
    SpooledAudio,
    Transcript,
)
from bot.core.modes import DiscordBlock, Mode, ModelBlock, OutputBlock, PromptBlock
from bot.core.scheduling import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.adapters.spool import FileSpool
    from bot.core.circuits import Circuit
    from bot.core.completion import CompletionTask
    from bot.core.jobs import Lane, Parcel
    from bot.core.models import AudioFile, AudioLink, Note, Progress, TranscriptionOptions
    from bot.core.ports import Cache, CompletionModel


class Hang(Enum):
    """Stands for an answer that does not come until the task is cancelled."""

    HANG = "hang"


HANG: Final = Hang.HANG


@dataclass(frozen=True, slots=True, kw_only=True)
class BreaksOff:
    """Stands for an answer that comes as far as ``text`` and then fails."""

    text: str
    error: Exception


_Answer = TypeVar("_Answer")


async def _answer(replies: Sequence[_Answer | Exception | Hang], number: int) -> _Answer:
    reply = replies[min(number, len(replies) - 1)]
    if isinstance(reply, Hang):
        return await asyncio.get_running_loop().create_future()  # nobody fulfils it
    if isinstance(reply, Exception):
        raise reply
    return reply


# --- values -----------------------------------------------------------------------------------------------------


def a_mode(
    mode_id: str = "summarize",
    *,
    system: str = "Sum up.",
    user: str = "{{ transcript }}",
    model: ModelBlock | None = None,
    output: OutputBlock | None = None,
) -> Mode:
    """A valid mode of which only what matters has to be named."""
    return Mode(
        schema_version=1,
        id=mode_id,
        version="1.0.0",
        title=mode_id.title(),
        description=f"The mode {mode_id}",
        discord=DiscordBlock(command=mode_id),
        prompt=PromptBlock(system=system, user=user),
        model=model or ModelBlock(),
        output=output or OutputBlock(),
    )


def a_transcript(
    *texts: str,
    speakers: Sequence[str | None] = (),
    language: str = "en",
    notes: tuple[Note, ...] = (),
) -> Transcript:
    """A transcript of ``texts``, each a segment of two seconds."""
    segments = tuple(
        Segment(start=2.0 * at, end=2.0 * at + 2, speaker=speakers[at] if at < len(speakers) else None, text=text)
        for at, text in enumerate(texts)
    )
    return Transcript(
        language=language,
        language_probability=0.98,
        duration_s=2.0 * len(texts),
        segments=segments,
        model="fake",
        notes=notes,
    )


def some_fetched(name: str = "clip.ogg", *, sha256: str = "0" * 64, declared_s: float | None = None) -> FetchedAudio:
    """Encoded audio that nobody will open."""
    return FetchedAudio(path=Path(name), sha256=sha256, size=1_000, filename=name, declared_s=declared_s)


def some_decoded(seconds: float = 4.0, *, declared_s: float | None = None) -> DecodedAudio:
    """Decoded audio that nobody will open."""
    return DecodedAudio(path=Path("clip.f32"), samples=round(seconds * SAMPLE_RATE), declared_s=declared_s)


# --- ports ------------------------------------------------------------------------------------------------------


class FakeClock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeFetcher:
    """Fetches without a network; reports half of the way and all of it."""

    def __init__(self, *replies: FetchedAudio | Exception | Hang) -> None:
        self._replies = replies or (some_fetched(),)
        self.calls: list[AudioLink | AudioFile | SpooledAudio] = []

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        self.calls.append(source)
        on_fraction(0.5)
        audio = await _answer(self._replies, len(self.calls) - 1)
        on_fraction(1.0)
        return audio


class FakeDecoder:
    """Decodes nothing."""

    def __init__(self, *replies: DecodedAudio | Exception | Hang) -> None:
        self._replies = replies or (some_decoded(),)
        self.calls: list[FetchedAudio] = []

    async def decode(self, audio: FetchedAudio) -> DecodedAudio:
        self.calls.append(audio)
        return await _answer(self._replies, len(self.calls) - 1)


class FakeTranscriber:
    """Hears what it was told, a segment at a time."""

    model = "fake"

    def __init__(self, *replies: Transcript | Exception | Hang) -> None:
        self._replies = replies or (a_transcript("Hello world.", "How are you?"),)
        self.calls: list[tuple[DecodedAudio, TranscriptionOptions]] = []

    async def transcribe(
        self,
        audio: DecodedAudio,
        options: TranscriptionOptions,
        *,
        on_segments: Callable[[tuple[Segment, ...], float], None],
    ) -> Transcript:
        self.calls.append((audio, options))
        transcript = await _answer(self._replies, len(self.calls) - 1)
        for number, segment in enumerate(transcript.segments, start=1):
            on_segments((segment,), number / len(transcript.segments))
            await asyncio.sleep(0)
        return transcript


class FakeCompletionModel:
    """Answers with a text (streamed word by word), or with a whole completion; or breaks off."""

    def __init__(
        self, *replies: str | Completion | BreaksOff | Exception | Hang, name: str = "fake", cacheable: bool = True
    ) -> None:
        self.cacheable = cacheable
        self._replies: Sequence[str | Completion | BreaksOff | Exception | Hang] = replies or ("All is well.",)
        self._name = name
        self.calls: list[CompletionTask] = []

    @property
    def name(self) -> str:
        return self._name

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        self.calls.append(task)
        reply = await _answer(self._replies, len(self.calls) - 1)
        if isinstance(reply, BreaksOff):
            on_text(reply.text)
            raise reply.error
        if isinstance(reply, str):
            reply = Completion(model=self._name, result=ModeResult(format="markdown", text=reply))
        for text in accumulate(reply.result.text.split(" "), "{} {}".format):
            on_text(text)
            await asyncio.sleep(0)
        return reply


class FakeTranscriptStore:
    """Keeps transcripts for as long as the test runs."""

    def __init__(self, kept: Mapping[str, Transcript] | None = None) -> None:
        self.kept: dict[str, Transcript] = dict(kept or {})

    async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
        assert keep_s > 0
        self.kept[request_id] = transcript

    async def get(self, request_id: str) -> Transcript:
        if request_id not in self.kept:
            raise NotFound(f"no transcript of {request_id}")
        return self.kept[request_id]

    async def delete(self, *request_ids: str) -> None:
        for request_id in request_ids:
            self.kept.pop(request_id, None)


def some_shared_work(cache: Cache | None = None) -> SharedWork:
    """Shared work within the test's process: nothing is in the cache yet."""
    if cache is None:
        cache = InProcessCache(max_bytes=1 << 20, now=FakeClock(), jitter=lambda: 0.5)
    return SharedWork(cache, LocalFlights())


class FakeCircuitStore:
    """Knows how models have been doing for as long as the test runs; ``away`` makes it fail."""

    def __init__(self) -> None:
        self.known: dict[str, Circuit] = {}
        self.away = False

    async def get(self, model: str) -> Circuit:
        self._reach()
        return self.known.get(model, CLOSED)

    async def swap(self, model: str, old: Circuit, new: Circuit, *, keep_s: float) -> bool:
        assert keep_s > 0
        if await self.get(model) != old:
            return False
        self.known[model] = new
        return True

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


def a_chain(
    *models: CompletionModel,
    shared: SharedWork | None = None,
    circuits: Circuits | None = None,
    tries: int = 1,
    hedge_s: float | None = None,
    upgrade_s: float = 30.0,
) -> Chain:
    """A chain of ``models`` that is as plain as can be: each is asked once, and nobody beside it."""
    policy = ChainPolicy(retries=RetryPolicy(tries=tries, wait_s=0.001), hedge_s=hedge_s, upgrade_s=upgrade_s)
    circuits = circuits or Circuits(FakeCircuitStore(), now=FakeClock())
    return Chain({SMART: models}, shared=shared or some_shared_work(), circuits=circuits, policy=policy)


class FakeJobQueue(InProcessJobs):
    """Runs jobs in the test's process, and remembers what it was asked; ``away`` makes it fail."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[tuple[str, Lane]] = []
        self.cancelled: list[tuple[str, Lane]] = []
        self.away = False

    async def submit(self, request_id: str, lane: Lane) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.submitted.append((request_id, lane))
        await super().submit(request_id, lane)

    async def cancel(self, request_id: str, lane: Lane) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.cancelled.append((request_id, lane))
        await super().cancel(request_id, lane)


class FakeLedgerStore:
    """Ledgers of this test; ``away`` makes it fail, ``rivals`` change a ledger while somebody else is at it."""

    def __init__(self) -> None:
        self.kept: dict[Lane, Ledger] = {}
        self.away = False
        self.rivals: list[Callable[[Ledger], Ledger]] = []
        self.reads = 0
        self.writes = 0

    async def get(self, lane: Lane) -> Ledger:
        if self.away:
            raise StoreUnavailable("away")
        self.reads += 1
        return self.kept.get(lane, Ledger())

    async def change(self, lane: Lane, change: Callable[[Ledger], Ledger]) -> Ledger:
        while True:
            before = await self.get(lane)
            after = change(before)
            if self.rivals:
                self.kept[lane] = self.rivals.pop(0)(before)
            await asyncio.sleep(0)
            if before != self.kept.get(lane, Ledger()):
                continue
            if after != before:
                self.writes += 1
                self.kept[lane] = after
            return after


class FakeSpool:
    """Remembers what was released, in order and as often as it was."""

    def __init__(self) -> None:
        self.released: list[FetchedAudio | DecodedAudio] = []

    def release(self, audio: FetchedAudio | DecodedAudio) -> None:
        self.released.append(audio)


class FakeDepot:
    """Keeps audio in memory, by key; ``error`` makes it fail.

    With a ``spool``, bytes are kept and what is withdrawn is a file; without, audio may be such as nobody will open.
    """

    def __init__(self, spool: FileSpool | None = None, *, now: Callable[[], float] | None = None) -> None:
        self.held: dict[str, bytes] = {}
        self.withdrawn: list[str] = []
        self.discarded: list[str] = []
        self.error: Exception | None = None
        self._since: dict[str, float] = {}
        self._spool = spool
        self._now = now or FakeClock()

    async def deposit(self, audio: FetchedAudio, link: AudioLink) -> SpooledAudio:
        self._reach()
        key = uuid4().hex
        self.held[key] = audio.path.read_bytes() if self._spool else b""
        self._since[key] = self._now()
        return SpooledAudio(key=key, sha256=audio.sha256, size=audio.size, link=link)

    async def withdraw(self, audio: SpooledAudio) -> FetchedAudio | None:
        self._reach()
        self.withdrawn.append(audio.key)
        data = self.held.get(audio.key)
        if data is None:
            return None
        path = Path(f"{audio.sha256}-{uuid4().hex}")
        if self._spool is not None:
            with self._spool.draft(expected_bytes=audio.size) as draft:
                draft.write(data)
                if (draft.size, draft.sha256) != (audio.size, audio.sha256):
                    return None
                path = draft.keep(draft.sha256)
        link = audio.link
        return FetchedAudio(
            path=path, sha256=audio.sha256, size=audio.size, filename=link.filename, declared_s=link.declared_s
        )

    async def discard(self, audio: SpooledAudio) -> None:
        self._reach()
        self.discarded.append(audio.key)
        self.held.pop(audio.key, None)

    async def sweep(self) -> int:
        self._reach()
        old = [key for key in self.held if self._now() - self._since[key] > 86_400]
        for key in old:
            del self.held[key]
        return len(old)

    def _reach(self) -> None:
        if self.error is not None:
            raise self.error


class FakeObserver:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress, /) -> None:
        self.seen.append(progress)


class FakeOutbox(InProcessOutbox):
    """Remembers whose answers were posted and are done; ``away`` makes it fail, time passes when the test says so."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock=clock or FakeClock())
        self.posted: list[str] = []
        self.finished: list[str] = []
        self.takes = 0
        self.away = False
        self._requests: dict[str, str] = {}

    async def post(self, request_id: str) -> None:
        self._reach()
        self.posted.append(request_id)
        await super().post(request_id)

    async def take(self, consumer: str, *, most: int, wait_s: float) -> list[Parcel]:
        self._reach()
        taken = await super().take(consumer, most=most, wait_s=wait_s)
        self.takes += len(taken)
        self._requests.update({parcel.entry: parcel.request_id for parcel in taken})
        return taken

    async def keep(self, consumer: str, *entries: str) -> None:
        self._reach()
        await super().keep(consumer, *entries)

    async def done(self, *entries: str) -> None:
        self._reach()
        self.finished += [self._requests[entry] for entry in entries]
        await super().done(*entries)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class FakeProgressBus(InProcessProgressBus):
    """Remembers what was published, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[str, Progress]] = []

    def publish(self, request_id: str, progress: Progress) -> None:
        self.published.append((request_id, progress))
        super().publish(request_id, progress)


class FakeStopFlags:
    """Flags of this test; ``away`` makes it fail."""

    def __init__(self, *raised: str) -> None:
        self.flags = set(raised)
        self.away = False

    async def raise_flag(self, request_id: str) -> None:
        self._reach()
        self.flags.add(request_id)

    async def raised(self, request_ids: Sequence[str]) -> frozenset[str]:
        self._reach()
        return frozenset(self.flags.intersection(request_ids))

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class FakeModeSource:
    """Modes that are swapped as a whole."""

    def __init__(self, *modes: Mode) -> None:
        self.modes: Mapping[str, Mode] = {mode.id: mode for mode in modes or (a_mode(),)}

    def current(self) -> Mapping[str, Mode]:
        return self.modes
