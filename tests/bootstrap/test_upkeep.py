"""What a process does beside its work: it comes back by itself, and what fails in it ends nothing."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.redis import keys
from bot.adapters.spool import FileSpool
from bot.api.metrics import metrics_page
from bot.bootstrap.processes import Heartbeats, every
from bot.bootstrap.state import open_state
from bot.bootstrap.upkeep import (
    CACHE,
    STAGES,
    STATE_PARTS,
    STORE,
    StateWatch,
    StrainedLoad,
    clean_up,
    stage_readings,
    watch_stages,
)
from bot.core.errors import TranscriptionFailed
from bot.core.health import Health, State
from bot.core.load import Load, ReadOnly
from bot.core.stage_health import Outcome, Subject
from bot.settings import Settings
from tests.fakes import FakeClock
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator
    from pathlib import Path

    from bot.adapters.documents import Entry
    from bot.bootstrap.state import BotState
    from tests.redis_servers import RedisProcess


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What is logged from ERROR up."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="ERROR")
    yield found
    logger.remove(sink)


@pytest.fixture
async def state(own_store: RedisProcess, own_cache: RedisProcess) -> AsyncGenerator[BotState]:
    settings = Settings.from_env({"REDIS_STORE_URL": own_store.url, "REDIS_CACHE_URL": own_cache.url})
    async with open_state(settings) as opened:
        yield opened


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Upkeep under way, until the block ends."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class FaultyHealth(Health):
    """Does not take the first report."""

    faulty = True

    def report(self, part: str, state: State, detail: str = "") -> None:
        if self.faulty:
            self.faulty = False
            raise ZeroDivisionError
        super().report(part, state, detail)


class FaultyDocuments(InProcessDocuments):
    """Does not take anything into an index."""

    async def add(self, entry: Entry) -> None:
        raise ZeroDivisionError(entry)


class FaultySpool(FileSpool):
    """Cannot be swept."""

    def sweep(self) -> int:
        raise ZeroDivisionError


async def test_what_fails_is_told_and_done_again(errors: list[str]) -> None:
    rounds = 0

    async def fail_first() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise ZeroDivisionError

    async with running(every(0.001, fail_first)) as task:
        await until(lambda: rounds > 3)
        assert not task.done()
    assert task.cancelled()
    assert errors == ["upkeep failed; the next try is in 0 s"]


async def test_a_store_that_was_set_right_is_well_again(
    own_store: RedisProcess, state: BotState, errors: list[str]
) -> None:
    health = Health(STATE_PARTS, FakeClock())
    watch = StateWatch(state, health)
    own_store.stop()
    await watch.check()  # it is away, so that nothing can be said of it
    own_store.start()
    with own_store.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        async with running(watch.run()):
            await until(lambda: health.parts[STORE].state is State.FAILED)
            assert "allkeys-lru" in health.parts[STORE].detail
            assert not health.ready
            client.config_set("maxmemory-policy", "noeviction")
            await until(lambda: health.parts[STORE].state is State.OK)
            assert health.ready
    assert len(errors) == 1, "told once, however often it was looked at"


async def test_a_look_at_the_servers_that_fails_is_followed_by_another(state: BotState, errors: list[str]) -> None:
    health = FaultyHealth(STATE_PARTS, FakeClock())
    async with running(StateWatch(state, health).run()):
        await until(lambda: health.ready)
    assert health.parts[CACHE].state is State.OK
    assert len(errors) == 1


async def test_a_heartbeat_that_fails_does_not_end_the_process(errors: list[str]) -> None:
    clock = FakeClock()
    async with running(Heartbeats(FaultyDocuments(now=clock), clock).beat("worker", "me")) as task:
        await until(lambda: errors or task.done())
        assert not task.done()


async def test_what_is_cleaned_up_is_counted_whatever_becomes_of_the_disk(
    own_store: RedisProcess, state: BotState, tmp_path: Path, errors: list[str]
) -> None:
    watch = StateWatch(state, Health(STATE_PARTS, FakeClock()))

    def counted() -> dict[str, float]:
        return {reading.labels["what"]: reading.value for reading in watch.readings() if "what" in reading.labels}

    assert counted() == {"scanned": 0, "mended": 0, "deleted": 0}
    with own_store.client() as client:
        client.set(keys.request("1"), "without an end")
        async with running(clean_up(state, FaultySpool(tmp_path), is_worker=True)):
            await until(lambda: counted()["mended"] == 1)
            assert counted()["scanned"] == 2, "the lease, too"
        assert not client.exists(keys.lease("cleanup"))
    assert len(errors) == 1


async def test_strained_stages_are_told_and_end_new_work_until_one_succeeds(
    own_store: RedisProcess, own_cache: RedisProcess, state: BotState
) -> None:
    settings = Settings.from_env({"REDIS_STORE_URL": own_store.url, "REDIS_CACHE_URL": own_cache.url})
    clock = FakeClock()
    health = Health((STAGES,), clock)
    watch = StateWatch(state, Health(STATE_PARTS, clock))
    read_only = ReadOnly(StrainedLoad((Load(places=1, clock=clock),), watch, state.stages, full_s=600), enter_s=600)
    async with open_state(settings) as other, running(watch_stages(state.stages, health)):
        await until(lambda: health.ready)
        assert read_only.look() is None
        for _ in range(5):
            other.stages.failed(TranscriptionFailed("x"), about=None)
        await other.stages.look()
        await until(lambda: health.parts[STAGES].state is State.DEGRADED)
        assert health.parts[STAGES].detail.startswith("transcribe: 5 of 5 failed (100%) in 5 minutes, mostly temporary")
        assert health.ready
        assert read_only.look() == 600
        state.stages.note(Subject(kind="stage", name="transcribe"), Outcome.OK, 1.0)
        await until(lambda: read_only.look() is None)


async def test_figures_of_stages_and_models_make_a_page(state: BotState) -> None:
    for _ in range(5):
        state.stages.note(Subject(kind="model", name='a "b"'), Outcome.RATE_LIMIT, 0.75)
        state.stages.failed(TranscriptionFailed("x"), about=None)
    await state.stages.look()
    page = metrics_page(lambda: stage_readings(state.stages)).decode().splitlines()
    for line in (
        'earshot_model_attempts_total{class="rate-limit",model="a \\"b\\""} 5.0',
        'earshot_model_seconds{class="rate-limit",model="a \\"b\\"",quantile="0.5",window="5m"} 0.75',
        'earshot_model_seconds{class="rate-limit",model="a \\"b\\"",quantile="0.95",window="60m"} 0.975',
        'earshot_stage_attempts_total{class="temporary",stage="transcribe"} 5.0',
        'earshot_stage_failure_share{stage="transcribe",window="60m"} 1.0',
        'earshot_stage_failure_share{stage="decode",window="5m"} 0.0',
        'earshot_stage_strained{stage="transcribe"} 1.0',
    ):
        assert line in page
