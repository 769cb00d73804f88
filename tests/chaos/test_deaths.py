"""One process is killed at a moment that is chosen: what it was at is finished by another, and shown once."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bot.adapters.redis import keys
from bot.core.runner import MAX_STARTS
from tests.chaos.ears import POISON
from tests.chaos.house import House, a_house, under_way
from tests.e2e.town import is_final
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.e2e.town import Town
    from tests.simulator.interactions import Interaction

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

SOON_S = 30.0
POST = "/channels/{channel_id}/messages"


async def all_is_delivered(house: House) -> None:
    with house.store.client() as store:
        await until(lambda: store.xlen(keys.outbox()) == 0, within=SOON_S)


async def test_a_job_whose_worker_is_killed_is_done_by_another(own_town: Town) -> None:
    async with a_house(own_town, listens_s=8.0) as house:
        first, second = house.workers
        await second.kill()
        interaction = await house.ask(own_town.ada, own_town.channel, 1)
        await under_way(interaction)
        await second.start()
        await second.until(lambda: second.log.count("ready:") == 2, within=SOON_S, what="the other worker being ready")
        assert house.results(1) == []
        await first.kill()
        assert await house.result(1, within=SOON_S) is interaction.original
        await all_is_delivered(house)
        await first.start()
    assert len(house.results(1)) == 1


async def test_an_answer_that_is_ready_while_the_gateway_is_dead_is_delivered_by_the_next(own_town: Town) -> None:
    async with a_house(own_town, listens_s=2.0, workers=1) as house:
        interaction = await house.ask(own_town.ada, own_town.channel, 1, "summarize")
        await under_way(interaction)
        await house.gateway.kill()
        with house.store.client() as store:
            await until(lambda: store.xlen(keys.outbox()) == 1, within=SOON_S)
        assert house.results(1) == []
        await house.gateway.start()
        assert await house.result(1, within=SOON_S) is interaction.original
        await all_is_delivered(house)
    assert len(house.results(1)) == 1


async def test_a_late_answer_is_not_sent_twice_by_a_gateway_that_dies_amid_its_delivery(own_town: Town) -> None:
    town = own_town
    async with a_house(town, listens_s=2.0, workers=1) as house:
        interaction = await house.ask(town.ada, town.channel, 1)
        await under_way(interaction)
        town.simulator.clock.advance(16 * 60)
        fault = town.simulator.rest.faults.drop("POST", POST, times=10, carried_out=True)
        message = await house.result(1, within=SOON_S)
        await house.gateway.kill()
        town.simulator.rest.faults.clear()
        assert message.channel is town.channel
        assert message is not interaction.original
        with house.store.client() as store:
            assert store.xlen(keys.outbox()) == 1, "nobody has heard that it arrived"
        sent = len(town.simulator.rest.log.matching("POST", POST))
        await house.gateway.start()
        await all_is_delivered(house)
        assert len(town.simulator.rest.log.matching("POST", POST)) > sent
    assert fault is not None
    assert house.results(1) == [message]


# --- poison -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def restarted(house: House) -> AsyncGenerator[list[int]]:
    """Workers that die are started again, as container engines do; gives how each of them ended."""
    deaths: list[int] = []

    async def watch(nth: int) -> None:
        while True:
            deaths.append(await house.workers[nth].exited(within=600))
            await house.workers[nth].start()

    watching = [asyncio.create_task(watch(nth)) for nth in range(len(house.workers))]
    try:
        yield deaths
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def test_a_clip_that_kills_its_worker_is_given_up_and_no_other_job_with_it(own_town: Town) -> None:
    town = own_town

    async def ask(number: int) -> Interaction:
        return await house.ask(town.guild.add_member(f"member {number}"), town.channel, number)

    async with a_house(town, listens_s=0.5, workers=1, WHISPER_CONCURRENCY="3") as house, restarted(house) as deaths:
        asked = await asyncio.gather(*map(ask, (1, POISON, 2, 3)))
        poisoned = await asked[1].reply(is_final, within=90)
        for number in (1, 2, 3):
            await house.result(number, within=SOON_S)
        late = await ask(4)
        assert await house.result(4, within=SOON_S) is late.original
    assert f"I began this {MAX_STARTS} times" in poisoned.text
    assert deaths == [-9] * MAX_STARTS
    assert [len(house.results(number)) for number in (1, 2, 3, 4, POISON)] == [1, 1, 1, 1, 0]


# --- fairness ---------------------------------------------------------------------------------------------------------


async def test_two_guilds_that_flood_keep_no_third_waiting(own_town: Town) -> None:
    town = own_town
    others = [town.simulator.add_guild(name) for name in ("Flood", "Quiet")]
    places = [
        (town.ada, town.channel),
        *((guild.add_member("bob"), guild.add_text_channel("general")) for guild in others),
    ]
    async with a_house(town, listens_s=0.5, workers=1) as house:
        flood = [house.ask(*places[number % 2], number) for number in range(24)]
        await asyncio.gather(*flood)
        before = sum(bool(house.results(number)) for number in range(24))
        await house.ask(*places[2], 100)
        answer = await house.result(100, within=60)
        others_first = sum(any(m.now.at < answer.now.at for m in house.results(number)) for number in range(24))
        await town.simulator.world.changes.until(
            lambda: all(map(house.results, range(24))), timeout_s=60, what=lambda: "the answers of the flood"
        )
    assert others_first - before <= 6, "a turn of each guild, and what was let in or on its way to Discord"
    assert others_first < 18
