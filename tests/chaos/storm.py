"""Kills at random, by a schedule that a seed decides; and a crowd that asks all the while."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Final

from tests.chaos.house import started_again

if TYPE_CHECKING:
    from tests.chaos.house import House
    from tests.redis_servers import RedisProcess
    from tests.simulator.interactions import Interaction
    from tests.simulator.process import BotProcess

LIVES_S: Final = (4.0, 12.0)
"""How long a process lives until it is killed."""
AWAY_S: Final = (0.0, 2.0)
GATEWAY: Final = "gateway"


class Storm:
    """Kills processes of a house with SIGKILL, and starts each again after a while."""

    def __init__(self, house: House, seed: int) -> None:
        self.log: list[str] = []
        self._deaths: list[tuple[str, float]] = []
        self._random = Random(seed)
        self._victims: dict[str, BotProcess | RedisProcess] = {
            GATEWAY: house.gateway,
            **{f"worker {nth}": worker for nth, worker in enumerate(house.workers)},
            "store": house.store,
            "cache": house.cache,
        }

    async def blow(self, seconds: float) -> None:
        """Go on for so long, and leave everything running."""
        async with asyncio.TaskGroup() as group:
            for name in self._victims:
                group.create_task(self._hunt(name, Random(self._random.random()), seconds))

    def killed(self, name: str, *, after: float, within: float) -> bool:
        """Whether that process was killed so soon after a time of ``time.monotonic``."""
        return any(victim == name and 0 <= at - after <= within for victim, at in self._deaths)

    async def _hunt(self, name: str, random: Random, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        began, victim = clock(), self._victims[name]
        while (lives_s := random.uniform(*LIVES_S)) < seconds - (clock() - began):
            await asyncio.sleep(lives_s)
            if (death := victim.kill()) is not None:
                await death
            away_s = random.uniform(*AWAY_S)
            self._deaths.append((name, clock()))
            self.log.append(f"{clock() - began:6.1f} s: {name}, away for {away_s:.1f} s")
            await asyncio.sleep(away_s)
            await started_again(victim)


class Crowd:
    """Members of two guilds, who ask for what nobody has asked before, a recording after the other."""

    def __init__(self, house: House) -> None:
        town = house.town
        other = town.simulator.world.guilds[max(town.simulator.world.guilds)]
        self.asked: dict[int, Interaction] = {}
        """The last interaction by which each recording was asked for."""
        self._house = house
        self._places = [
            (guild.add_member(name), channel)
            for guild in (town.guild, other)
            for channel in guild.channels.values()
            for name in ("ann", "bob")
        ]

    async def ask(self, number: int) -> None:
        """Ask for a recording, until the bot acknowledges that."""
        member, channel = self._places[number % len(self._places)]
        command = "transcribe" if number % 5 else "summarize"
        self.asked[number] = await self._house.ask(member, channel, number, command)

    async def ask_all(self, jobs: int, seconds: float) -> None:
        """Ask for so many recordings over so many seconds."""

        async def in_turn(number: int) -> None:
            await asyncio.sleep(number * seconds / jobs)
            await self.ask(number)

        await asyncio.gather(*map(in_turn, range(jobs)))
