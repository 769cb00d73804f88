"""Everything is killed at random, over and over, while members ask: every job is answered, once.

``make soak`` is the same at length. A job is a request that is written down. One that was acknowledged by a gateway
that was killed before it could write it down, mostly as the store was away too, is lost as if nobody had
noticed: its member asks again. How many had to is told at the end.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bot.adapters.jobs.docket_jobs import REDELIVERY_S
from bot.adapters.redis import keys
from tests.chaos.ears import number_in
from tests.chaos.house import a_house
from tests.chaos.storm import GATEWAY, Crowd, Storm
from tests.e2e.town import is_final
from tests.redis_servers import servers
from tests.waiting import until

if TYPE_CHECKING:
    from tests.chaos.house import House
    from tests.e2e.town import Town

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(900)]

_SET: Final = os.environ  # noqa: TID251 - how long a soak is, is for whoever runs it
SECONDS: Final = float(_SET.get("SOAK_SECONDS", "22"))
JOBS: Final = int(_SET.get("SOAK_JOBS", "30"))
SEEDS: Final = tuple(map(int, _SET.get("SOAK_SEED", "4").split(",")))

SETTLED_S: Final = 150.0
"""How long the last answer may take after the last kill."""
UNNOTICED_S: Final = 10.0
"""How long a gateway may be at a request that it cannot write down: it answers as soon as it can."""


def written_down(house: House) -> set[int]:
    """The numbers of all recordings for which there is, or was, a job."""
    with house.store.client() as store:
        found: list[Any] = [store.get(key) for key in store.scan_iter(keys.request("*"))]
    return {int(Path(json.loads(record)["filename"]).stem) for record in found if record}


def is_idle(house: House) -> bool:
    """Whether nothing waits to be done, nor to be delivered."""
    with house.store.client() as store:
        ledger: Any = store.get(keys.ledger("interactive"))
        state = json.loads(ledger or "{}")
        return not store.xlen(keys.outbox()) and not state.get("guilds") and not state.get("admitted")


async def nothing_is_left(house: House, storm: Storm, crowd: Crowd) -> list[int]:
    """Wait until all is done that anybody knows of; gives what has to be asked for again."""
    known = written_down(house)

    def went_unnoticed(number: int) -> bool:
        acknowledged = crowd.asked[number].acknowledgement
        assert acknowledged is not None
        return number not in known and storm.killed(GATEWAY, after=acknowledged.at, within=UNNOTICED_S)

    await house.gateway.until(
        lambda: all(house.results(number) or went_unnoticed(number) for number in crowd.asked),
        within=SETTLED_S,
        what="all answers",
    )
    await until(lambda: is_idle(house), within=SETTLED_S)
    return [number for number in crowd.asked if not house.results(number)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_job_is_answered_once_whatever_is_killed(own_town: Town, seed: int) -> None:
    own_town.simulator.add_guild("Others").add_text_channel("general")
    server = sorted(servers())[seed % len(servers())]
    redelivery_s = REDELIVERY_S if "SOAK_SECONDS" in _SET else 6.0
    async with a_house(own_town, listens_s=0.5, redelivery_s=redelivery_s, server=server) as house:
        storm, crowd = Storm(house, seed), Crowd(house)
        again: list[int] = []
        try:
            await asyncio.gather(storm.blow(SECONDS), crowd.ask_all(JOBS, SECONDS))
            again = await nothing_is_left(house, storm, crowd)
            await asyncio.gather(*map(crowd.ask, again))
            assert await nothing_is_left(house, storm, crowd) == []
            assert house.store.keys_without_ttl() == []
        finally:
            found = {number: len(house.results(number)) for number in range(JOBS)}
            sys.stdout.write("\n".join((f"seed {seed}, {server}:", *storm.log, "")))
            for what, which in (
                ("answers", sum(found.values())),
                ("missing", [number for number in found if not found[number]]),
                ("doubled", [number for number in found if found[number] > 1]),
                ("acknowledged in vain", again),
            ):
                sys.stdout.write(f"{what}: {which}\n")
    assert found == dict.fromkeys(range(JOBS), 1)
    for number, interaction in crowd.asked.items():
        (message,) = interaction.messages
        assert is_final(message)
        assert number_in(message.text) == number
