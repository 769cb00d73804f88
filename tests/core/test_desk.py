"""What a request costs, what is refused, and what is entered: the desk with everything behind it in this process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.cache import InProcessCache
from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.adapters.records import StoredDeliveries, StoredRequests, StoredSettings
from bot.core.desk import Desk, Keeping
from bot.core.errors import (
    CompletionFailed,
    CourtesyExceeded,
    DecodeFailed,
    EarshotError,
    NotAudio,
    Overloaded,
    QuotaExceeded,
    StoreUnavailable,
    TranscriptionFailed,
)
from bot.core.fair_use import COURTESY, FairUse
from bot.core.load import Load, ReadOnly
from bot.core.models import Asker, AudioLink, KeptTranscript, Request
from bot.core.modes import LimitsBlock
from bot.core.orders import Address
from bot.core.pipeline import Pipeline
from bot.core.quotas import DAY_S, HOUR_S, BucketId, Limits, Verdict
from bot.core.records import AuditEntry, RequestRecord, RequestState, TierSetting
from bot.core.stage_health import StageHealth, Subject
from tests.fakes import (
    HANG,
    FakeClock,
    FakeCompletionModel,
    FakeDecoder,
    FakeFetcher,
    FakeModeSource,
    FakeSpool,
    FakeTranscriber,
    FakeTranscriptStore,
    a_chain,
    a_mode,
    a_transcript,
    some_fetched,
    some_shared_work,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bot.core.models import Transcript

GUILD, ADA, BOB, ROLE = 11, 21, 22, 31
LIMITS = Limits(per_hour=10, burst=3)


class FixedLoad:
    def __init__(self) -> None:
        self.wait_s = 0.0

    def expected_wait_s(self) -> float:
        return self.wait_s


class World:
    """A desk for guild `GUILD`; every request is for another file, unless it says which."""

    def __init__(self, *, days: float = 7, **parts: Any) -> None:
        self.clock = FakeClock(1_700_000_000.0)
        self.load = FixedLoad()
        self.model = parts.get("model") or FakeCompletionModel("All is well.")
        self.transcriber = parts.get("transcriber") or FakeTranscriber()
        self.fetcher = parts.get("fetcher") or FakeFetcher(*(some_fetched(sha256=f"{n:064x}") for n in range(500)))
        self.store = parts.get("store") or FakeTranscriptStore()
        self.modes = FakeModeSource(
            a_mode(), a_mode("minutes"), a_mode("dear").model_copy(update={"limits": LimitsBlock(cost=2)})
        )
        documents = InProcessDocuments(now=self.clock)
        self.settings = StoredSettings(documents, clock=self.clock)
        cache = InProcessCache(max_bytes=1 << 20, now=self.clock, jitter=lambda: 1.0)
        self.shared = some_shared_work(cache)
        self.requests = parts.get("requests", StoredRequests)(documents, cache=cache, now=self.clock)
        self.deliveries = StoredDeliveries(documents, now=self.clock)
        self.limiter = parts.get("limiter", InProcessRateLimiter)(self.clock)
        self.fair_use = FairUse(
            self.limiter,
            self.settings,
            default=LIMITS,
            caps=Limits(per_hour=60, burst=20),
            outside=Limits(per_hour=10, burst=3, daily=4),
            unlimited=frozenset({BOB}),
        )
        pipeline = Pipeline(
            fetcher=self.fetcher,
            decoder=parts.get("decoder") or FakeDecoder(),
            transcriber=self.transcriber,
            chain=a_chain(self.model, shared=self.shared),
            modes=self.modes,
            transcripts=self.store,
            spool=FakeSpool(),
            shared=self.shared,
            load=Load(places=1, clock=self.clock),
            clock=self.clock,
        )
        counts = InProcessStageCounts(now=self.clock, keep_s=7_200)
        self.stages = StageHealth(counts, now=self.clock, process="here")
        self.desk = Desk(
            pipeline,
            fair_use=self.fair_use,
            read_only=ReadOnly(self.load, enter_s=600),
            stages=self.stages,
            settings=self.settings,
            requests=self.requests,
            deliveries=self.deliveries,
            modes=self.modes,
            keeping=Keeping(days=days, across_guilds=parts.get("across_guilds", False)),
            now=self.clock,
        )
        self._number = 0

    def request(self, mode: str | None = "summarize", *, source: object = None, asker: Asker | None = None) -> Request:
        self._number += 1
        link = AudioLink(url="https://cdn.discordapp.com/a.ogg", filename="a.ogg")
        return Request(
            id=f"{self._number:016x}",
            source=source or link,  # pyright: ignore[reportArgumentType] - a source or nothing
            mode=mode,
            asker=asker or Asker(guild_id=GUILD, channel_id=1, member_id=ADA),
        )

    async def left(self, member_id: int = ADA) -> float:
        asker = Asker(guild_id=GUILD, channel_id=1, member_id=member_id)
        return (await self.fair_use.quota(asker)).verdict.remaining

    async def set(self, **changes: object) -> None:
        entry = AuditEntry(guild_id=GUILD, at=self.clock(), who=1, what="settings")
        await self.settings.change(GUILD, lambda known: known.model_copy(update=changes), entry)


class Held:
    """Something that answers late, and was done meanwhile."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: str | None = None
        self.waiting = False
        self.go_on = asyncio.Event()

    async def wait_if(self, what: str) -> None:
        if what == self.held:
            self.waiting = True
            await self.go_on.wait()


class HeldLimiter(Held, InProcessRateLimiter):
    """Buckets; ``held`` is the kind that answers late."""

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        verdict = await super().reserve(bucket, request_id, cost, limits)
        await self.wait_if(bucket.kind)
        return verdict


class HeldRequests(Held, StoredRequests):
    """Records; ``held`` is the state in which they are kept late."""

    async def put(self, record: RequestRecord, *, keep_s: float) -> None:
        await self.wait_if(record.state)
        await super().put(record, keep_s=keep_s)


async def cancelled(world: World, when: Callable[[], object]) -> None:
    """Cancel a request, twice, and then let go on what holds it."""
    task = asyncio.create_task(world.desk.serve(world.request()))
    await until(when)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    for held in (world.limiter, world.requests):
        if isinstance(held, Held):
            held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def same_file(times: int = 50) -> FakeFetcher:
    return FakeFetcher(*[some_fetched()] * times)


# --- prices -----------------------------------------------------------------------------------------------------------


async def test_a_request_costs_its_modes_price() -> None:
    world = World()
    await world.desk.serve(world.request())
    assert await world.left() == 2
    await world.desk.serve(world.request("dear"))
    assert await world.left() == 0


async def test_a_transcript_costs_one() -> None:
    world = World()
    await world.desk.serve(world.request(None))
    assert await world.left() == 2


async def test_an_empty_bucket_refuses_and_says_until_when() -> None:
    world = World()
    for _ in range(3):
        await world.desk.serve(world.request())
    with pytest.raises(QuotaExceeded) as caught:
        await world.desk.serve(world.request())
    verdict = caught.value.verdict
    assert (verdict.refused_by, verdict.retry_after_s) == ("bucket", pytest.approx(360.0))
    assert verdict.full_at == pytest.approx(world.clock() + 3 * 360)
    assert len(world.transcriber.calls) == 3
    world.clock.now += 360
    await world.desk.serve(world.request())


async def test_a_cached_result_costs_nothing_and_is_served_with_an_empty_bucket() -> None:
    world = World(fetcher=same_file())
    first = await world.desk.serve(world.request())
    assert await world.left() == 2
    for _ in range(3):
        again = await world.desk.serve(world.request())
        assert (again.was_finished, again.result) == (True, first.result)
    assert await world.left() == 2
    await world.limiter.reserve(BucketId(guild_id=GUILD, member_id=ADA), "f" * 8, 2, LIMITS)
    assert await world.left() == 0
    assert (await world.desk.serve(world.request())).was_finished
    with pytest.raises(QuotaExceeded):
        await world.desk.serve(world.request("minutes"))


@pytest.mark.parametrize(
    "world",
    [
        lambda: World(transcriber=FakeTranscriber(TranscriptionFailed("x"))),
        lambda: World(decoder=FakeDecoder(DecodeFailed("x"))),
        lambda: World(decoder=FakeDecoder(NotAudio("x"))),
        lambda: World(transcriber=FakeTranscriber(ZeroDivisionError())),
    ],
    ids=["transcriber", "decoder", "bad input", "bug"],
)
async def test_what_gives_nothing_costs_nothing(world: Callable[[], World]) -> None:
    here = world()
    with pytest.raises((EarshotError, ZeroDivisionError)):
        await here.desk.serve(here.request())
    assert await here.left() == 3
    (record,) = await here.requests.of_member(GUILD, ADA)
    assert (record.state, record.price) == (RequestState.FAILED, 0)


async def test_a_result_that_no_model_gave_costs_nothing() -> None:
    world = World(model=FakeCompletionModel(CompletionFailed("down")))
    reply = await world.desk.serve(world.request())
    assert reply.result is None
    assert await world.left() == 3


async def test_a_cancelled_request_costs_nothing_and_is_entered_as_interrupted() -> None:
    world = World(transcriber=FakeTranscriber(HANG))
    task = asyncio.create_task(world.desk.serve(world.request()))
    await until(lambda: world.transcriber.calls)
    assert await world.left() == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.left() == 3
    (record,) = await world.requests.of_member(GUILD, ADA)
    assert record.state is RequestState.INTERRUPTED


async def test_a_slip_is_forgiven_although_its_request_is_cancelled_meanwhile() -> None:
    world = World(decoder=FakeDecoder(NotAudio("x")), limiter=HeldLimiter)
    world.limiter.held = "courtesy"
    await cancelled(world, lambda: world.limiter.waiting)
    assert await world.left() == 3


async def test_slips_are_free_but_not_without_end() -> None:
    world = World(decoder=FakeDecoder(NotAudio("x")))
    for _ in range(COURTESY.burst):
        with pytest.raises(NotAudio):
            await world.desk.serve(world.request())
    assert await world.left() == 3
    for _ in range(3):
        with pytest.raises(NotAudio):
            await world.desk.serve(world.request())
    assert await world.left() == 0


async def test_to_use_a_kept_transcript_again_is_free_but_not_without_end() -> None:
    world = World()
    first = await world.desk.serve(world.request())
    source = KeptTranscript(id=first.request.id)
    for _ in range(COURTESY.burst):
        await world.desk.serve(world.request("minutes", source=source))
    assert await world.left() == 2
    with pytest.raises(CourtesyExceeded):
        await world.desk.serve(world.request("minutes", source=source))


async def test_an_operator_in_admin_mode_is_not_limited() -> None:
    world = World()
    asker = Asker(guild_id=GUILD, channel_id=1, member_id=BOB)
    for _ in range(20):
        await world.desk.serve(world.request(asker=asker))
    assert (await world.fair_use.quota(asker)).unlimited


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_the_best_of_a_members_roles_counts_within_the_operators_caps() -> None:
    world = World()
    tiers = (TierSetting(role_id=ROLE, per_hour=1_000, burst=5), TierSetting(role_id=99, per_hour=1_000, burst=9))
    await world.set(per_hour=20.0, tiers=tiers)
    plain = Asker(guild_id=GUILD, channel_id=1, member_id=ADA)
    assert await world.fair_use.limits(plain) == Limits(per_hour=20, burst=3)
    assert await world.fair_use.limits(replace(plain, role_ids=frozenset({ROLE}))) == Limits(per_hour=60, burst=5)


async def test_a_guilds_budget_is_for_all_its_members() -> None:
    world = World()
    await world.set(daily_budget=2)
    await world.desk.serve(world.request())
    await world.desk.serve(world.request(asker=Asker(guild_id=GUILD, channel_id=1, member_id=99)))
    with pytest.raises(QuotaExceeded) as caught:
        await world.desk.serve(world.request())
    assert caught.value.verdict.refused_by == "budget"
    await world.desk.serve(world.request(asker=Asker(guild_id=GUILD + 1, channel_id=1, member_id=ADA)))


async def test_users_outside_guilds_have_buckets_of_their_own_and_one_budget() -> None:
    world = World()
    for user in (1, 2):
        for _ in range(2):
            await world.desk.serve(world.request(asker=Asker(guild_id=None, channel_id=1, member_id=user)))
    with pytest.raises(QuotaExceeded) as caught:
        await world.desk.serve(world.request(asker=Asker(guild_id=None, channel_id=1, member_id=3)))
    assert caught.value.verdict.refused_by == "budget"
    assert await world.left() == 3


# --- overload ---------------------------------------------------------------------------------------------------------


async def test_while_too_much_waits_only_what_is_finished_is_served() -> None:
    world = World(fetcher=FakeFetcher(some_fetched(), some_fetched(), some_fetched(sha256="1" * 64)))
    finished = await world.desk.serve(world.request())
    world.load.wait_s = 700
    assert (await world.desk.serve(world.request())).result == finished.result
    with pytest.raises(Overloaded) as caught:
        await world.desk.serve(world.request())
    assert caught.value.values["wait_s"] == 700
    assert len(world.transcriber.calls) == 1
    assert await world.left() == 2
    assert len(await world.requests.of_member(GUILD, ADA)) == 2, "what was refused is not entered"


async def test_what_is_refused_leaves_nothing_behind() -> None:
    world = World(fetcher=same_file())
    await world.desk.serve(world.request())
    kept = dict(world.store.kept)
    world.load.wait_s = 700
    with pytest.raises(Overloaded):
        await world.desk.serve(world.request("minutes"))
    assert world.store.kept == kept, "its transcript was cached, and would have been found by nobody"
    reply = await world.desk.serve(world.request())
    assert reply.transcript_id in world.store.kept


async def test_to_use_a_kept_transcript_again_is_new_work_unless_its_result_is_cached() -> None:
    world = World()
    first = await world.desk.serve(world.request())
    world.load.wait_s = 700
    source = KeptTranscript(id=first.request.id)
    assert (await world.desk.serve(world.request(source=source))).result == first.result
    with pytest.raises(Overloaded):
        await world.desk.serve(world.request("minutes", source=source))


# --- settings and records ---------------------------------------------------------------------------------------------


async def test_a_guilds_settings_fill_in_what_a_member_left_out() -> None:
    world = World()
    await world.set(default_mode="minutes", language="de", retention_days=2.0)
    reply = await world.desk.serve(world.request("auto"))
    assert reply.mode is not None
    assert (reply.mode.id, world.transcriber.calls[0][1].language) == ("minutes", "de")
    assert reply.request.keep_s == 2 * DAY_S
    await world.set(default_mode="gone")
    reply = await world.desk.serve(world.request("auto"))
    assert reply.mode is not None
    assert reply.mode.id == "summarize"


async def test_nothing_is_cached_for_longer_than_it_is_kept() -> None:
    world = World(fetcher=same_file())
    await world.set(retention_days=600 / DAY_S)
    await world.desk.serve(world.request())
    world.clock.now += 601
    assert not (await world.desk.serve(world.request())).was_finished
    assert (len(world.transcriber.calls), len(world.model.calls)) == (2, 2)


async def test_a_guild_keeps_nothing_for_longer_than_the_operator_does() -> None:
    world = World(days=3)
    await world.set(retention_days=30.0)
    assert (await world.desk.serve(world.request())).request.keep_s == 3 * DAY_S


async def test_guilds_share_cached_work_only_where_the_operator_lets_them() -> None:
    for across, runs in ((False, 2), (True, 1)):
        world = World(fetcher=same_file(), across_guilds=across)
        for guild in (GUILD, GUILD + 1):
            await world.desk.serve(world.request(asker=Asker(guild_id=guild, channel_id=1, member_id=ADA)))
        assert (len(world.transcriber.calls), len(world.model.calls)) == (runs, runs)


async def test_a_request_is_entered_with_what_came_of_it() -> None:
    world = World()
    request = world.request()
    reply = await world.desk.serve(request)
    (record,) = await world.requests.of_member(GUILD, ADA)
    assert (record.state, record.price, record.filename) == (RequestState.DONE, 1, "a.ogg")
    assert record.result is not None
    assert record.result.result() == reply.result
    assert (record.transcript_id, record.mode) == (request.id, reply.mode)
    assert record.audio_sha256 == f"{0:064x}"
    assert len(record.cache_keys) == 2
    assert await world.deliveries.pending(GUILD, ADA) == {request.id}
    await world.desk.delivered(request.id, url="https://discord.com/channels/1/2/3")
    assert await world.deliveries.pending(GUILD, ADA) == frozenset()
    assert (await world.requests.get(request.id)).answer_url == "https://discord.com/channels/1/2/3"
    world.clock.now += 7 * DAY_S + HOUR_S
    assert await world.requests.of_member(GUILD, ADA) == []


async def test_what_lies_in_the_cache_is_entered_before_it_is_there() -> None:
    hanging = World(model=FakeCompletionModel(HANG))
    task = asyncio.create_task(hanging.desk.serve(hanging.request()))
    await until(lambda: hanging.model.calls)
    (record,) = await hanging.requests.of_member(GUILD, ADA)
    assert (record.state, len(record.cache_keys)) == (RequestState.RUNNING, 2), "a crash here leaves nothing unfound"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (record,) = await hanging.requests.of_member(GUILD, ADA)
    assert (record.state, len(record.cache_keys)) == (RequestState.INTERRUPTED, 2)


async def test_a_cached_result_is_entered_with_where_it_lies() -> None:
    world = World(fetcher=same_file())
    await world.desk.serve(world.request())
    world.load.wait_s = 700
    await world.desk.serve(world.request())
    world.load.wait_s = 0
    await world.desk.serve(world.request())
    records = await world.requests.of_member(GUILD, ADA)
    assert len({record.cache_keys for record in records}) == 1
    assert len(records) == 3


async def test_a_cached_result_is_entered_before_its_transcript_is_kept() -> None:
    class Full(FakeTranscriptStore):
        asked = 0

        async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
            self.asked += 1
            if self.asked > 1:
                await asyncio.get_running_loop().create_future()  # nobody fulfils it
            await super().put(request_id, transcript, keep_s=keep_s)

    store = Full()
    world = World(fetcher=same_file(), store=store)
    await world.desk.serve(world.request())
    world.load.wait_s = 700
    task = asyncio.create_task(world.desk.serve(world.request()))
    await until(lambda: store.asked == 2)
    states = [record.state for record in await world.requests.of_member(GUILD, ADA)]
    assert sorted(states) == [RequestState.DONE, RequestState.RUNNING], "a crash here leaves nothing unfound"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    states = [record.state for record in await world.requests.of_member(GUILD, ADA)]
    assert sorted(states) == [RequestState.DONE, RequestState.INTERRUPTED]


async def test_a_request_that_is_cancelled_while_it_pays_leaves_nothing_behind() -> None:
    world = World(limiter=HeldLimiter)
    world.limiter.held = "tokens"
    await cancelled(world, lambda: world.limiter.waiting)
    assert await world.left() == 3
    assert await world.requests.of_member(GUILD, ADA) == []


async def test_a_request_that_is_cancelled_while_it_is_entered_is_interrupted() -> None:
    world = World(requests=HeldRequests)
    world.requests.held = RequestState.RUNNING
    await cancelled(world, lambda: world.requests.waiting)
    (record,) = await world.requests.of_member(GUILD, ADA)
    assert (record.state, record.price) == (RequestState.INTERRUPTED, 0)
    assert await world.left() == 3


async def test_work_that_is_cancelled_once_it_is_done_is_found_and_costs_nothing() -> None:
    world = World(requests=HeldRequests)
    world.requests.held = RequestState.DONE
    await cancelled(world, lambda: world.requests.waiting)
    (record,) = await world.requests.of_member(GUILD, ADA)
    assert (record.state, record.price) == (RequestState.DONE, 0)
    assert record.result is not None
    assert await world.deliveries.pending(GUILD, ADA) == {record.id}, "it is marked as not having reached its member"
    assert await world.left() == 3


async def test_a_store_that_is_away_costs_the_entry_and_nothing_else() -> None:
    class Away(StoredRequests):
        async def put(self, record: object, *, keep_s: float) -> None:
            raise StoreUnavailable(f"{record!r:.10} for {keep_s}")

    world = World(requests=Away)
    assert (await world.desk.serve(world.request())).result is not None


async def test_silence_is_cached_and_charged_once() -> None:
    world = World(fetcher=same_file(), transcriber=FakeTranscriber(a_transcript()))
    await world.desk.serve(world.request())
    await world.desk.serve(world.request())
    assert len(world.transcriber.calls) == 1
    assert await world.left() == 2


async def test_a_refused_file_is_remembered_for_a_while() -> None:
    decoder = FakeDecoder(NotAudio("x"))
    world = World(fetcher=same_file(), decoder=decoder)
    for _ in range(3):
        with pytest.raises(NotAudio):
            await world.desk.serve(world.request())
    assert len(decoder.calls) == 1


async def test_those_who_ask_for_the_same_meanwhile_pay_nothing() -> None:
    world = World(fetcher=same_file())
    askers = [Asker(guild_id=GUILD, channel_id=1, member_id=100 + number) for number in range(20)]
    replies = await asyncio.gather(*(world.desk.serve(world.request(asker=asker)) for asker in askers))
    assert (len(world.transcriber.calls), len(world.model.calls)) == (1, 1)
    assert len({reply.result for reply in replies}) == 1
    left = [await world.left(asker.member_id) for asker in askers]
    assert sorted(left) == [2, *[3] * 19]


# --- health of the stages ---------------------------------------------------------------------------------------------


def seen(world: World) -> dict[tuple[str, str], int]:
    return {(str(subject), str(outcome)): count for (subject, outcome), count in world.stages.totals.items()}


async def test_the_stages_of_an_answer_count_where_the_work_was_done() -> None:
    world = World(fetcher=same_file())
    await world.desk.serve(world.request())
    assert seen(world) == {(stage, "ok"): 1 for stage in ("fetch", "decode", "transcribe", "route", "complete")}
    await world.desk.serve(world.request())
    assert (seen(world)["fetch", "ok"], seen(world)["transcribe", "ok"], seen(world)["complete", "ok"]) == (2, 1, 1)


async def test_an_answer_without_a_result_counts_as_a_failure_of_its_stage() -> None:
    world = World(model=FakeCompletionModel(CompletionFailed("down")))
    await world.desk.serve(world.request())
    assert seen(world)["complete", "temporary"] == 1


async def test_a_failure_counts_and_what_members_got_wrong_is_told_apart() -> None:
    world = World(decoder=FakeDecoder(DecodeFailed("x"), NotAudio("y")))
    for error in (DecodeFailed, NotAudio):
        with pytest.raises(error):
            await world.desk.serve(world.request())
    assert seen(world) == {("fetch", "ok"): 2, ("decode", "permanent"): 1, ("decode", "bad-input"): 1}


async def test_a_file_that_nobody_can_hear_counts_once_however_many_ask_for_it() -> None:
    world = World(fetcher=same_file(), transcriber=FakeTranscriber(TranscriptionFailed("x")))
    askers = [Asker(guild_id=GUILD, channel_id=1, member_id=100 + number) for number in range(20)]
    replies = [world.desk.serve(world.request(asker=asker)) for asker in askers]
    failed = await asyncio.gather(*replies, return_exceptions=True)
    assert all(isinstance(error, TranscriptionFailed) for error in failed)
    assert seen(world)["transcribe", "temporary"] == 1


async def test_where_nothing_is_heard_one_request_a_minute_is_let_through_until_one_succeeds() -> None:
    transcriber = FakeTranscriber(*[TranscriptionFailed("x")] * 6, a_transcript("Hello."))
    world = World(transcriber=transcriber)
    for _ in range(5):
        with pytest.raises(TranscriptionFailed):
            await world.desk.serve(world.request())
    await world.stages.look()
    assert world.stages.is_deaf
    world.load.wait_s = 600
    with pytest.raises(TranscriptionFailed):
        await world.desk.serve(world.request())
    with pytest.raises(Overloaded):
        await world.desk.serve(world.request())
    assert len(transcriber.calls) == 6
    world.clock.now += 60
    await world.desk.serve(world.request())
    await world.stages.look()
    assert not world.stages.is_deaf
    assert str(world.stages.strains[Subject(kind="stage", name="transcribe")]).startswith("transcribe: 6 of 7 failed")


async def test_to_use_a_kept_transcript_again_does_not_take_the_place_of_one_that_is_to_be_heard() -> None:
    world = World(transcriber=FakeTranscriber(a_transcript("Hello."), TranscriptionFailed("x")))
    first = await world.desk.serve(world.request())
    for _ in range(6):
        with pytest.raises(TranscriptionFailed):
            await world.desk.serve(world.request())
    world.clock.now += 5 * 60
    for _ in range(5):
        with pytest.raises(TranscriptionFailed):
            await world.desk.serve(world.request())
    await world.stages.look()
    world.load.wait_s = 600
    with pytest.raises(Overloaded):
        await world.desk.serve(world.request("minutes", source=KeptTranscript(id=first.request.id)))
    with pytest.raises(TranscriptionFailed):
        await world.desk.serve(world.request())


# --- in steps, as a job does it ---------------------------------------------------------------------------------------


ADDRESS = Address(application_id=1, token="secret", token_ends_at=1_700_000_840.0, member_id=ADA, file_limit=1_000)


class Flaky(StoredRequests):
    """Records; the next ``fails`` times, they cannot be kept."""

    fails = 0

    async def put(self, record: RequestRecord, *, keep_s: float) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("away")
        await super().put(record, keep_s=keep_s)


async def entered(world: World, request: Request | None = None) -> RequestRecord:
    taken = await world.desk.take(request or world.request())
    assert taken.refusal is None
    record = world.desk.draft(taken, ADDRESS)
    await world.desk.enter(record)
    return record


async def test_what_is_taken_is_as_the_guild_wants_it_and_its_price_is_reserved() -> None:
    world = World()
    await world.set(default_mode="minutes", language="de", retention_days=2.0)
    taken = await world.desk.take(world.request("dear"))
    assert (taken.price, taken.refusal, await world.left()) == (2, None, 1)
    order = world.desk.draft(taken, ADDRESS).order
    assert order is not None
    assert (order.default_mode, order.keep_s, order.scope) == ("minutes", 2 * DAY_S, f"g{GUILD}")
    assert taken.request.options.language == "de"
    assert await world.requests.of_member(GUILD, ADA) == [], "nothing is entered yet"


async def test_what_is_refused_after_all_costs_nothing_and_is_answered_only_where_it_is_finished() -> None:
    world = World(fetcher=same_file())
    taken = await world.desk.refused(await world.desk.take(world.request()), Overloaded(wait_s=9.0))
    assert await world.left() == 3
    with pytest.raises(Overloaded) as caught:
        await world.desk.answer(taken)
    assert caught.value.values == {"wait_s": 9.0}
    await world.desk.serve(world.request())
    again = await world.desk.refused(await world.desk.take(world.request()), Overloaded())
    assert (await world.desk.answer(again)).was_finished
    assert await world.left() == 2


async def test_a_kept_transcript_has_no_price_to_be_given_back() -> None:
    world = World()
    first = await world.desk.serve(world.request())
    taken = await world.desk.take(world.request(source=KeptTranscript(id=first.request.id)))
    assert (taken.reservation, taken.price) == (None, 0)
    refused = await world.desk.refused(taken, Overloaded())
    assert isinstance(refused.refusal, Overloaded)
    assert await world.left() == 2


async def test_work_is_entered_and_settled_only_when_it_is_concluded() -> None:
    world = World(fetcher=same_file())
    await world.desk.serve(world.request())
    record = await entered(world)
    assert await world.left() == 1
    done = await world.desk.work(record)
    assert done.reply is not None
    assert (done.record.state, done.record.price) == (RequestState.DONE, 0), "it was cached"
    assert await world.requests.get(record.id) == record
    assert await world.left() == 1
    await world.desk.conclude(done.record)
    assert await world.requests.get(record.id) == done.record
    assert await world.left() == 2
    assert record.id in await world.deliveries.pending(GUILD, ADA)


async def test_to_conclude_twice_is_to_conclude_once() -> None:
    world = World()
    done = await world.desk.work(await entered(world, world.request("dear")))
    await world.desk.conclude(done.record)
    await world.desk.serve(world.request())
    assert await world.left() == 0
    await world.desk.conclude(done.record)
    await world.desk.conclude(done.record.model_copy(update={"price": 0}))
    assert await world.left() == 0


async def test_what_could_not_be_concluded_can_be_again() -> None:
    world = World(requests=Flaky)
    done = await world.desk.work(await entered(world))
    world.requests.fails = 1
    with pytest.raises(StoreUnavailable):
        await world.desk.conclude(done.record)
    await world.desk.conclude(done.record)
    assert (await world.requests.get(done.record.id)).state is RequestState.DONE


@pytest.mark.parametrize("error", [TranscriptionFailed("x"), NotAudio("x"), ZeroDivisionError()], ids=repr)
async def test_work_that_fails_ends_its_record_and_raises_nothing(error: Exception) -> None:
    world = World(decoder=FakeDecoder(error))
    done = await world.desk.work(await entered(world))
    assert (done.reply, done.record.state, done.record.price) == (None, RequestState.FAILED, 0)
    assert done.record.cache_keys, "/forget-me finds what is remembered of the failure"
    await world.desk.conclude(done.record)
    assert await world.left() == 3


async def test_work_that_is_cancelled_leaves_its_record_open() -> None:
    world = World(transcriber=FakeTranscriber(HANG))
    record = await entered(world)
    task = asyncio.create_task(world.desk.work(record))
    await until(lambda: world.transcriber.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = await world.requests.get(record.id)
    assert (left.state, left.order, len(left.cache_keys)) == (RequestState.RUNNING, record.order, 1)
    assert await world.left() == 2, "another process goes on with it"


async def test_somebody_is_cancelled_while_a_job_is_put_down_and_it_is_there() -> None:
    world = World(requests=HeldRequests)
    world.requests.held = RequestState.RUNNING
    taken = await world.desk.take(world.request())
    record = world.desk.draft(taken, ADDRESS)
    task = asyncio.create_task(world.desk.enter(record))
    await until(lambda: world.requests.waiting)
    task.cancel()
    await asyncio.sleep(0)
    world.requests.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.requests.get(record.id) == record


@pytest.mark.parametrize("url", [None, "https://discord.com/channels/1/2/3"], ids=["private", "public"])
async def test_once_an_answer_has_arrived_what_it_took_is_gone(url: str | None) -> None:
    world = World(decoder=FakeDecoder(NotAudio("x")))
    done = await world.desk.work(await entered(world))
    await world.desk.conclude(done.record)
    assert done.record.failure
    for _ in range(2):
        assert await world.desk.delivered(done.record.id, url=url)
    record = await world.requests.get(done.record.id)
    assert (record.order, record.address, record.failure, record.answer_url) == (None, None, None, url)
    assert record.state is RequestState.FAILED
    assert await world.deliveries.pending(GUILD, ADA) == frozenset()
    world.clock.now += 7 * DAY_S - 1
    assert await world.requests.of_member(GUILD, ADA)
    world.clock.now += 2
    assert await world.requests.of_member(GUILD, ADA) == [], "it is kept from when it was asked for"


async def test_an_arrival_that_cannot_be_entered_says_so() -> None:
    world = World(requests=Flaky)
    done = await world.desk.work(await entered(world))
    await world.desk.conclude(done.record)
    world.requests.fails = 1
    assert not await world.desk.delivered(done.record.id, url=None)
    assert (await world.requests.get(done.record.id)).address == ADDRESS
    assert await world.desk.delivered(done.record.id, url=None)
    assert (await world.requests.get(done.record.id)).address is None


async def test_an_answer_of_which_nothing_is_known_has_arrived_all_the_same() -> None:
    assert await World().desk.delivered("f" * 16, url=None)
