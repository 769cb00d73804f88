"""One contract for ledgers, wherever they are kept."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

import pytest

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import StoredLedgers
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.documents import RedisDocuments
from bot.core.errors import RecordTooNew, StoreUnavailable
from bot.core.jobs import Lane, LedgerStore
from bot.core.scheduling import LEDGER, Ledger
from tests.core.test_scheduling import NOW, ONE, an_entry, an_id
from tests.fakes import FakeClock, FakeLedgerStore
from tests.redis_servers import SLACK, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.redis_servers import RedisProcess

LANE: Final = Lane.INTERACTIVE
KEY: Final = keys.ledger(LANE)


@pytest.fixture(params=["fake", "in process", *servers()])
async def peers(
    request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]
) -> AsyncIterator[list[LedgerStore]]:
    """Two processes' views of the same ledgers."""
    if request.param == "fake":
        yield [FakeLedgerStore()] * 2
        return
    if request.param == "in process":
        documents = InProcessDocuments(now=FakeClock(NOW))
        yield [StoredLedgers(documents), StoredLedgers(documents)]
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    found = [RedisServer(process.url, role="store", clock=time.monotonic, slack=SLACK) for _ in range(2)]
    yield [StoredLedgers(RedisDocuments(server, now=FakeClock(NOW))) for server in found]
    for server in found:
        await server.aclose()
    assert process.keys_without_ttl() == []


async def test_what_was_changed_is_seen_by_all(peers: list[LedgerStore]) -> None:
    here, there = peers
    assert await here.get(LANE) == Ledger()
    changed = await here.change(LANE, lambda ledger: ledger.announced(ONE).joined(an_entry(1)).admitted_now(NOW)[0])
    assert (await there.get(LANE), changed.is_in(an_id(1))) == (changed, True)
    assert await there.change(LANE, lambda ledger: ledger) == changed
    changed = await there.change(LANE, lambda ledger: ledger.joined(an_entry(2, None, 7, held_s=0.25)))
    assert await here.get(LANE) == changed != Ledger()
    assert await here.get(Lane.RECORDINGS) == Ledger(), "lanes are kept apart"


async def test_all_at_a_time_count(peers: list[LedgerStore]) -> None:
    async def join(number: int) -> None:
        await peers[number % 2].change(LANE, lambda ledger: ledger.joined(an_entry(number, guild=number)))

    await asyncio.gather(*(join(number) for number in range(40)))
    assert sorted((await peers[0].get(LANE)).waiting) == sorted(an_id(number) for number in range(40))


async def test_a_change_that_is_refused_changes_nothing(peers: list[LedgerStore]) -> None:
    before = await peers[0].change(LANE, lambda ledger: ledger.joined(an_entry(1)))

    def refuse(ledger: Ledger) -> Ledger:
        raise PermissionError(len(ledger.waiting))

    with pytest.raises(PermissionError):
        await peers[0].change(LANE, refuse)
    assert await peers[1].get(LANE) == before
    assert await peers[0].change(LANE, lambda ledger: ledger.left(an_id(1))) == Ledger(), "nobody is held up by it"


async def test_what_changes_nothing_is_not_written() -> None:
    clock = FakeClock(NOW)
    ledgers = StoredLedgers(InProcessDocuments(now=clock))
    await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(1)))
    clock.now += keys.LEDGER_S - 1
    await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(1)))
    clock.now += 2
    assert await ledgers.get(LANE) == Ledger(), "it would have lived on"


async def test_what_changes_lives_on() -> None:
    clock = FakeClock(NOW)
    ledgers = StoredLedgers(InProcessDocuments(now=clock))
    for number in range(3):
        await ledgers.change(LANE, lambda ledger, number=number: ledger.joined(an_entry(number)))
        clock.now += keys.LEDGER_S - 1
    assert len((await ledgers.get(LANE)).waiting) == 3


async def test_a_damaged_ledger_is_as_good_as_none_and_one_of_a_later_version_stays() -> None:
    documents = InProcessDocuments(now=FakeClock(NOW))
    ledgers = StoredLedgers(documents)
    await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(1)))
    whole = json.loads(await documents.get(KEY) or b"")
    for damaged in (b"{", json.dumps(whole | {"guilds": [[1, [[2, [["x"]]]]]]}).encode()):
        await documents.put(KEY, damaged, 100.0)
        assert await ledgers.get(LANE) == Ledger()
        changed = await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(2)))
        assert changed.waiting == (an_id(2),)
    newer = json.dumps(whole | {"schema_version": 2}).encode()
    await documents.put(KEY, newer, 100.0)
    with pytest.raises(RecordTooNew):
        await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(3)))
    assert await documents.get(KEY) == newer


async def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    server = RedisServer(f"unix://{tmp_path}/nobody", role="store", clock=time.monotonic)
    ledgers = StoredLedgers(RedisDocuments(server, now=FakeClock(NOW)))
    with pytest.raises(StoreUnavailable):
        await ledgers.get(LANE)
    with pytest.raises(StoreUnavailable):
        await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(1)))
    await server.aclose()


class Restless(InProcessDocuments):
    """Somebody writes after each read."""

    async def get(self, key: str) -> bytes | None:
        raw = await super().get(key)
        await self.put(key, (raw or LEDGER.encode(Ledger())) + b" ", 100.0)
        return raw


async def test_a_ledger_that_never_keeps_still_is_given_up() -> None:
    ledgers = StoredLedgers(Restless(now=FakeClock(NOW)))
    with pytest.raises(StoreUnavailable):
        await ledgers.change(LANE, lambda ledger: ledger.joined(an_entry(1)))
    assert (await ledgers.get(LANE)).waiting == ()
