"""The bot as its service groups, each to be killed: a gateway, workers, a store and a cache."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.ears import number_in, recording
from tests.e2e.town import COMMANDS, is_final
from tests.redis_servers import RedisProcess, servers
from tests.simulator.changes import NotSeen
from tests.simulator.process import BotProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from tests.e2e.town import Town
    from tests.redis_servers import Role
    from tests.simulator.channels import Channel
    from tests.simulator.interactions import Interaction
    from tests.simulator.members import Member
    from tests.simulator.messages import Message

ACKNOWLEDGED_S = 3.5
"""Discord's deadline, and a little more."""
MOST_ASKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """All processes of a bot in ``town``; the first of them is the gateway."""

    town: Town
    store: RedisProcess
    cache: RedisProcess
    gateway: BotProcess
    workers: Sequence[BotProcess]

    async def ask(self, member: Member, channel: Channel, number: int, command: str = "transcribe") -> Interaction:
        """Have a recording heard; a member whom the bot does not notice, as it is down, asks again."""
        simulator = self.town.simulator
        audio = simulator.cdn.upload(f"{number}.wav", recording(number), content_type="audio/wav")
        for _ in range(MOST_ASKS):
            interaction = await member.slash(channel, command, audio=audio)
            with suppress(NotSeen):
                await interaction.acknowledged(within=ACKNOWLEDGED_S)
                return interaction
        raise NotSeen(f"the bot never noticed that it was asked for recording {number}. Its log:\n{self.gateway.log}")

    def results(self, number: int) -> list[Message]:
        """Everything, wherever it is, that shows what was heard in a recording."""
        channels = self.town.simulator.world.channels.values()
        messages = (message for channel in channels for message in channel.messages.values())
        return [m for m in messages if not m.deleted and is_final(m) and number_in(m.text) == number]

    async def result(self, number: int, *, within: float) -> Message:
        """The one message that shows what was heard in a recording, as soon as there is one."""
        found = await self.town.simulator.world.changes.until(
            lambda: self.results(number), timeout_s=within, what=lambda: f"the result of recording {number}"
        )
        (message,) = found
        return message


@asynccontextmanager
async def a_house(
    town: Town,
    *,
    listens_s: float,
    redelivery_s: float = 6.0,
    workers: int = 2,
    server: str | None = None,
    gateway_lanes: str = "none",
    **settings: str,
) -> AsyncGenerator[House]:
    """A house at work.

    Args:
        town: where it stands.
        listens_s: how long every recording takes to be heard, in seconds.
        redelivery_s: how long a job of a worker that was killed waits for another one, give or take a third.
        workers: how many there are, in processes of their own.
        server: which Redis; the first that there is, if none is named.
        gateway_lanes: the jobs that the gateway does.
        settings: more of all processes, by the names of their variables.
    """
    kind = server or next(iter(servers()))
    async with AsyncExitStack() as stack:
        store, cache = (_redis(town, kind, role, stack) for role in ("store", "cache"))
        urls = {"REDIS_STORE_URL": store.url, "REDIS_CACHE_URL": cache.url}

        def process(command: str, lanes: str) -> BotProcess:
            return town.process(
                (sys.executable, "-m", "tests.chaos", command, str(listens_s), str(redelivery_s)),
                **urls,
                **settings,
                JOB_LANES=lanes,
            )

        house = House(
            town=town,
            store=store,
            cache=cache,
            gateway=process("run", gateway_lanes),
            workers=[process("worker", "interactive") for _ in range(workers)],
        )
        for each in (house.gateway, *house.workers):
            await stack.enter_async_context(each)
        await house.gateway.ready(commands=COMMANDS)
        for worker in house.workers:
            await worker.logged("ready:", within=60)
        yield house


def _redis(town: Town, kind: str, role: Role, stack: AsyncExitStack) -> RedisProcess:
    folder = town.data_dir / role
    folder.mkdir()
    server = RedisProcess(servers()[kind], role, folder)
    stack.callback(server.close)
    return server.start()


async def under_way(interaction: Interaction) -> None:
    """Wait until a recording is listened to."""
    await interaction.reply(lambda message: "**Listening**" in message.text, within=30)


async def started_again(victim: BotProcess | RedisProcess) -> None:
    """Start what was killed."""
    if isinstance(victim, BotProcess):
        await victim.start()
    else:
        await asyncio.to_thread(victim.start)
