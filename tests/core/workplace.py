"""Processes that share a store, each with all that takes jobs and does them; one can be killed, or lose the store."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Literal

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.in_process.flights import LocalFlights
from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.adapters.records import (
    StoredDeliveries,
    StoredLedgers,
    StoredRequests,
    StoredSettings,
    StoredStopFlags,
    StoredTranscripts,
)
from bot.core.admission import Admission
from bot.core.caching import SharedWork
from bot.core.desk import Desk, Keeping
from bot.core.dispatch import Dispatch
from bot.core.errors import StoreUnavailable
from bot.core.fair_use import FairUse
from bot.core.jobs import Lane
from bot.core.load import Load, ReadOnly
from bot.core.models import Asker, AudioLink, Request
from bot.core.orders import Address
from bot.core.pipeline import Pipeline
from bot.core.privacy import Privacy
from bot.core.quotas import Limits
from bot.core.records import RequestRecord
from bot.core.runner import Runner
from bot.core.stage_health import StageHealth
from tests.fakes import (
    FakeClock,
    FakeCompletionModel,
    FakeDecoder,
    FakeDepot,
    FakeFetcher,
    FakeJobQueue,
    FakeModeSource,
    FakeObserver,
    FakeOutbox,
    FakeProgressBus,
    FakeSpool,
    FakeTranscriber,
    a_chain,
    a_mode,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.completion import Completion, CompletionTask
    from bot.core.models import Source

GUILD, ADA = 11, 21
ID = "0123456789abcdef"
LINK = AudioLink(url="https://cdn.discordapp.com/a.ogg", filename="a.ogg", declared_s=60.0)
LIMITS = Limits(per_hour=10, burst=3)
LANE = Lane.INTERACTIVE


class Slow(FakeCompletionModel):
    """Answers once it is let."""

    def __init__(self) -> None:
        super().__init__("All is well.")
        self.open = asyncio.Event()

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        completion = await super().complete(task, on_text=on_text)
        await self.open.wait()
        return completion


class Killed(BaseException):
    """Its process is gone: whatever it still does reaches nobody."""


class Gate:
    """A process' way to the store: its calls are counted, and may be ended by ``trouble``, which gets the number."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_killed = False
        self.away = False
        self.trouble: Callable[[int], Literal["kill", "before", "after"] | None] = lambda _: None

    def kill(self) -> None:
        self.is_killed = True
        raise Killed

    def through(self, inner: Any) -> Any:
        """``inner``, reached through this gate."""
        return _Gated(inner, self)

    async def call(self, do: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        self.calls += 1
        trouble = self.trouble(self.calls)
        if self.is_killed or trouble == "kill":
            self.kill()
        if self.away or trouble == "before":
            raise StoreUnavailable("away")
        answer = await do(*args, **more)
        if trouble == "after":
            raise StoreUnavailable("the answer was lost")
        return answer


class _Gated:
    def __init__(self, inner: Any, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **more: Any) -> Any:
            return await self._gate.call(found, *args, **more)

        return call


class Store:
    """What outlives processes, and what they share."""

    def __init__(self, **parts: Any) -> None:
        self.clock = FakeClock(1_700_000_000.0)
        self.documents = InProcessDocuments(now=self.clock)
        self.cache = InProcessCache(max_bytes=1 << 20, now=self.clock, jitter=lambda: 1.0)
        self.flights = LocalFlights()
        self.limiter = InProcessRateLimiter(self.clock)
        self.queue = FakeJobQueue()
        self.outbox = FakeOutbox(self.clock)
        self.bus = FakeProgressBus()
        self.depot = FakeDepot()
        self.fetcher = parts.get("fetcher") or FakeFetcher()
        self.decoder = parts.get("decoder") or FakeDecoder()
        self.transcriber = parts.get("transcriber") or FakeTranscriber()
        self.transcripts = parts.get("transcripts")
        """In place of what is kept among the documents."""
        self.model = parts.get("model") or FakeCompletionModel("All is well.")
        self.here = self.process()

    def process(self) -> Process:
        """One that has just started."""
        return Process(self)

    async def left(self) -> float:
        """Of Ada's tokens, 3 at first."""
        asker = Asker(guild_id=GUILD, channel_id=1, member_id=ADA)
        return (await self.here.fair_use.quota(asker)).verdict.remaining

    async def record(self, request_id: str = ID) -> RequestRecord:
        return await self.here.requests.get(request_id)

    async def in_line(self) -> bool:
        """Whether anybody is known to the ledger."""
        ledger = await self.here.ledgers.get(LANE)
        return bool(ledger.waiting or ledger.admitted)

    async def taken(self, mode: str | None = "summarize", source: Source = LINK) -> RequestRecord:
        """A job that was accepted here."""
        taken = await self.here.dispatch.accept(a_request(mode, source), an_address())
        assert isinstance(taken, RequestRecord)
        return taken

    async def forget(self) -> None:
        """Ada uses ``/forget-me``."""
        here = self.here
        privacy = Privacy(
            here.requests,
            transcripts=here.transcripts,
            deliveries=here.deliveries,
            flags=here.flags,
            cache=self.cache,
            audio=self.depot,
        )
        await privacy.forget(GUILD, ADA)


class Process:
    """What takes jobs and does them."""

    def __init__(self, store: Store) -> None:
        self.gate = gate = Gate()
        clock, documents = store.clock, gate.through(store.documents)
        self.settings = StoredSettings(documents, clock=clock)
        self.requests = StoredRequests(documents, cache=store.cache, now=clock)
        self.deliveries = StoredDeliveries(documents, now=clock)
        self.transcripts = store.transcripts or StoredTranscripts(documents)
        self.ledgers = StoredLedgers(documents)
        self.flags = StoredStopFlags(documents)
        self.spool = FakeSpool()
        self.observer = FakeObserver()
        self.load = Load(places=1, clock=clock)
        self.fair_use = FairUse(
            store.limiter, self.settings, default=LIMITS, caps=LIMITS, outside=Limits(per_hour=10, burst=3)
        )
        shared = SharedWork(store.cache, store.flights)
        modes = FakeModeSource(a_mode())
        pipeline = Pipeline(
            fetcher=store.fetcher,
            decoder=store.decoder,
            transcriber=store.transcriber,
            chain=a_chain(store.model, shared=shared),
            modes=modes,
            transcripts=self.transcripts,
            spool=self.spool,
            shared=shared,
            load=self.load,
            clock=clock,
        )
        self.desk = Desk(
            pipeline,
            fair_use=self.fair_use,
            read_only=ReadOnly(self.load, enter_s=600),
            stages=StageHealth(InProcessStageCounts(now=clock, keep_s=7_200), now=clock, process="here"),
            settings=self.settings,
            requests=self.requests,
            deliveries=self.deliveries,
            modes=modes,
            keeping=Keeping(days=7),
            now=clock,
        )
        self.queue = gate.through(store.queue)
        self.admission = Admission(self.ledgers, self.queue, now=clock, most_waiting=2)
        self.dispatch = Dispatch(
            self.desk,
            pipeline,
            requests=self.requests,
            admission=self.admission,
            queue=self.queue,
            flags=self.flags,
            fetcher=store.fetcher,
            depot=store.depot,
            spool=self.spool,
            now=clock,
        )
        self.runner = Runner(
            self.desk,
            requests=self.requests,
            transcripts=self.transcripts,
            admission=self.admission,
            outbox=gate.through(store.outbox),
            bus=store.bus,
            flags=self.flags,
            depot=store.depot,
            now=clock,
        )

    async def run(self, request_id: str = ID) -> None:
        """Do a job."""
        await self.runner.run(request_id, LANE)


def a_request(mode: str | None = "summarize", source: Source = LINK, request_id: str = ID) -> Request:
    return Request(id=request_id, source=source, mode=mode, asker=Asker(guild_id=GUILD, channel_id=1, member_id=ADA))


def an_address() -> Address:
    return Address(
        application_id=1,
        token="token",
        token_ends_at=1_700_000_840.0,
        guild_id=GUILD,
        channel_id=1,
        member_id=ADA,
        file_limit=1_000,
    )
