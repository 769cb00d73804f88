"""Redis goes and comes back, also without its data: members are answered all the same, and limits hold."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from bot.presentation.progress import EDIT_INTERVAL_S
from tests import audio
from tests.e2e.town import COMMANDS, PATIENCE_S, Town, answer, fields
from tests.models import model_folder
from tests.redis_servers import RedisProcess, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from tests.redis_servers import Role
    from tests.simulator.cdn import Attachment
    from tests.simulator.interactions import Interaction
    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

ROLES: tuple[Role, ...] = ("store", "cache")
BURST, PER_HOUR = 3, 60
EVERY_S = 0.25
"""Seconds between two commands of a crowd."""
AWAY = "cannot be reached"


# --- Redis ------------------------------------------------------------------------------------------------------------


class OwnRedis:
    """A store and a cache of a test's own, not started yet."""

    def __init__(self, folder: Path, store: Role) -> None:
        binary = next(iter(servers().values()))
        self._folders = {role: folder / role for role in ROLES}
        self.store = RedisProcess(binary, store, self._folders["store"])
        self.cache = RedisProcess(binary, "cache", self._folders["cache"])
        self.settings = {"REDIS_STORE_URL": self.store.url, "REDIS_CACHE_URL": self.cache.url}

    def start_empty(self) -> None:
        for role, server in zip(ROLES, (self.store, self.cache), strict=True):
            shutil.rmtree(self._folders[role], ignore_errors=True)
            self._folders[role].mkdir(parents=True)
            server.start()

    def kill(self) -> None:
        self.store.kill()
        self.cache.kill()


@contextmanager
def own_redis(town: Town, *, store: Role = "store") -> Generator[OwnRedis]:
    """Servers to be killed; ``store`` says whose settings the store has."""
    own = OwnRedis(town.data_dir / "own", store)
    try:
        yield own
    finally:
        own.store.close()
        own.cache.close()


# --- what an operator sees --------------------------------------------------------------------------------------------


class Operator:
    """Looks at a bot's pages."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def parts(self) -> tuple[int, dict[str, Any]]:
        """The status of /readyz, and its parts."""
        async with self._session.get(f"{self._base}/readyz") as response:
            return response.status, (await response.json())["parts"]

    async def figure(self, name: str, role: str) -> float:
        async with self._session.get(f"{self._base}/metrics") as response:
            page = await response.text()
        found = re.search(rf'^{name}{{role="{role}"}} (\S+)$', page, re.MULTILINE)
        assert found is not None, page
        return float(found[1])

    async def sees(self, state: str, *, of: tuple[Role, ...] = ROLES, status: int = 200, within: float = 10.0) -> None:
        """Wait until the servers are in ``state``; /readyz answers with ``status`` all the time that they are."""
        async with asyncio.timeout(within):
            while True:
                answered, parts = await self.parts()
                if all(parts[role]["state"] == state for role in of):
                    break
                await asyncio.sleep(0.05)
        assert answered == status, parts
        for role in of:
            assert await self.figure("earshot_redis_up", role) == float(state != "degraded")


@asynccontextmanager
async def a_bot(town: Town, own: OwnRedis, **settings: str) -> AsyncGenerator[tuple[BotProcess, Operator]]:
    """The bot, at work, and the way to look at it."""
    quick = str(model_folder("tiny.en"))
    async with town.process(WHISPER_MODEL=quick, **own.settings, **settings) as bot, aiohttp.ClientSession() as session:
        await bot.ready(commands=COMMANDS)
        (line,) = lines(bot, "health is served on")
        operator = Operator(session, f"http://127.0.0.1:{line.rpartition(':')[2]}")
        async with asyncio.timeout(PATIENCE_S):
            while (await operator.parts())[0] != 200:  # noqa: ASYNC110 - the page has no event
                await asyncio.sleep(0.05)
        yield bot, operator


def lines(bot: BotProcess, *words: str) -> list[str]:
    return [line for line in bot.lines if all(word in line for word in words)]


def nothing_went_wrong(bot: BotProcess) -> None:
    assert "Traceback" not in bot.log
    assert lines(bot, " ERROR ") == []


# --- what members do --------------------------------------------------------------------------------------------------


@cache
def phrase() -> bytes:
    """Three seconds of speech, which are soon heard."""
    return audio.encode(audio.speech()[: 3 * 16_000], audio.Recipe(container="ogg", codec="libopus"))


def upload(town: Town, data: bytes) -> Attachment:
    return town.simulator.cdn.upload("clip.ogg", data, content_type="audio/ogg")


def new_clip(town: Town, title: object) -> Attachment:
    return upload(town, audio.retold(phrase(), f"{title}"))


async def use(town: Town, member: Member, command: str, clip: Attachment | None = None) -> Interaction:
    if clip is None:
        return await member.slash(town.channel, command)
    return await member.slash(town.channel, command, audio=clip)


class Use(NamedTuple):
    member: Member
    command: str
    interaction: Interaction


class Crowd:
    """Members who come and go, one every `EVERY_S`: most want the same clip, some are greedy for new ones."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._clip = upload(town, phrase())
        self._neighbours = [town.guild.add_member(f"neighbour {number}") for number in range(8)]
        self.greedy = [town.ada]
        self.uses: list[Use] = []

    @property
    def members(self) -> list[Member]:
        return [*self._neighbours, *self.greedy]

    @asynccontextmanager
    async def about(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as tasks:
            coming = tasks.create_task(self._come())
            yield
            coming.cancel()

    async def came(self, count: int) -> None:
        """Wait until so many more have come."""
        before = len(self.uses)
        await until(lambda: len(self.uses) >= before + count, within=PATIENCE_S)

    async def _come(self) -> None:
        for number in itertools.count():
            neighbour = self._neighbours[number % len(self._neighbours)]
            greedy = self.greedy[number // 5 % len(self.greedy)]
            match number % 5:
                case 0 | 2:
                    await self._use(neighbour, "summarize", self._clip)
                case 1:
                    await self._use(greedy, "quota")
                case 3:
                    await self._use(neighbour, "help")
                case _:
                    await self._use(greedy, "summarize", new_clip(self._town, number))
            await asyncio.sleep(EVERY_S)

    async def _use(self, member: Member, command: str, clip: Attachment | None = None) -> None:
        self.uses.append(Use(member, command, await use(self._town, member, command, clip)))


def outcome(command: str, message: Message) -> str:
    """What came of a command: "paid", "free" or "refused"; "shown" of one that needs no tokens."""
    if command == "help":
        assert "I listen" in message.text
        return "shown"
    if command == "quota":
        assert f"of {BURST}** tokens left" in message.text
        return "shown"
    if "out of tokens" in message.text:
        return "refused"
    assert "ask not" in message.text.lower() or "fellow americans" in message.text.lower()
    return "free" if "costs nothing" in fields(message)["Took"] else "paid"


async def beyond_its_work(interaction: Interaction) -> float:
    """Seconds from a command to its answer, without those of its work, and without the distance to an edit before."""
    message = await answer(interaction)
    work_s = float(fields(message).get("Took", "0 s").split(" ", 1)[0])
    showed_progress = any("On it …" in version.text for version in message.versions)
    return message.now.at - interaction.dispatched_at - work_s - showed_progress * EDIT_INTERVAL_S


# --- away under load --------------------------------------------------------------------------------------------------


async def test_members_are_answered_and_limits_hold_while_redis_goes_and_comes_back_empty(own_town: Town) -> None:
    town = own_town
    crowd = Crowd(town)
    late = town.guild.add_member("late")
    with own_redis(town) as own:
        own.start_empty()
        async with a_bot(town, own, RATE_BURST=str(BURST), RATE_PER_HOUR=str(PER_HOUR)) as (bot, operator):
            await operator.sees("ok")
            async with crowd.about():
                await crowd.came(20)
                own.kill()
                crowd.greedy.append(late)
                await operator.sees("degraded")
                await crowd.came(40)  # ten seconds
                await operator.sees("degraded")
                await asyncio.to_thread(own.start_empty)
                await operator.sees("ok")
                await crowd.came(16)
                own.kill()
                await operator.sees("degraded")
                await crowd.came(10)
                await asyncio.to_thread(own.start_empty)
                await operator.sees("ok")
                await crowd.came(10)
            answers = [(each, outcome(each.command, await answer(each.interaction))) for each in crowd.uses]
            failures = [await operator.figure("earshot_redis_failures_total", role) for role in ROLES]
            assert await bot.terminate() == 0

    outcomes = {what for _, what in answers}
    assert outcomes == {"paid", "free", "refused", "shown"}
    passed_s = crowd.uses[-1].interaction.dispatched_at - crowd.uses[0].interaction.dispatched_at
    for member in crowd.members:
        paid = sum(each.member is member and what == "paid" for each, what in answers)
        assert paid <= BURST + passed_s * PER_HOUR / 3_600, member.user.name
        assert paid >= BURST or member not in crowd.greedy, "nor is anybody shut out"
    nothing_went_wrong(bot)
    assert min(failures) > 0
    for role in ROLES:
        assert len(lines(bot, f"the {role} {AWAY}")) == len(lines(bot, f"the {role} is back")) == 2
    assert len(lines(bot, " WARNING ")) == 4, "a line for each time that one goes, and no more"


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strikes", ["before", "amid"])
async def test_a_store_that_falls_silent_keeps_nobody_waiting(own_town: Town, strikes: str) -> None:
    town = own_town
    with own_redis(town) as own:
        own.start_empty()
        async with a_bot(town, own) as (bot, operator):
            clip = upload(town, phrase())
            await answer(await use(town, town.ada, "summarize", clip))
            if strikes == "before":
                own.store.pause()
                first = await use(town, town.ada, "summarize", clip)
            else:
                first = await use(town, town.ada, "summarize", new_clip(town, "amid"))
                await first.acknowledged()
                own.store.pause()
            waits = [await beyond_its_work(first)]
            for command, audio_file in (("quota", None), ("help", None), ("summarize", clip)):
                waits.append(await beyond_its_work(await use(town, town.ada, command, audio_file)))
            await operator.sees("degraded", of=("store",))
            message = await answer(await use(town, town.ada, "summarize", new_clip(town, "silent")))
            assert outcome("summarize", message) == "paid"
            own.store.resume()
            await operator.sees("ok")
            waits.append(await beyond_its_work(await use(town, town.ada, "summarize", clip)))
        assert max(waits) < 2, waits
    nothing_went_wrong(bot)
    assert len(lines(bot, " WARNING ")) == len(lines(bot, "the store is back")) == 1


# --- at the start -----------------------------------------------------------------------------------------------------


async def test_it_starts_without_redis_and_picks_it_up(own_town: Town) -> None:
    town = own_town
    with own_redis(town) as own:
        async with a_bot(town, own) as (bot, operator):
            await operator.sees("degraded")
            clip = upload(town, phrase())
            without = await answer(await use(town, town.ada, "summarize", clip))
            assert outcome("summarize", without) == "paid"
            assert "could not be kept" in without.text
            await asyncio.to_thread(own.start_empty)
            await operator.sees("ok")
            kept = await answer(await use(town, town.ada, "summarize", clip))
            assert "could not be kept" not in kept.text
            again = await answer(await use(town, town.ada, "summarize", clip))
            assert outcome("summarize", again) == "free"
    nothing_went_wrong(bot)


async def test_a_store_that_evicts_is_refused_at_the_start(own_town: Town) -> None:
    with own_redis(own_town, store="cache") as own:
        own.start_empty()
        async with own_town.process(**own.settings) as bot:
            assert await bot.exited() == 2
    (line,) = lines(bot, " ERROR ")
    assert "REDIS_STORE_URL" in line
    assert "set `maxmemory-policy noeviction` in its redis.conf" in line
    assert "Traceback" not in bot.log


async def test_a_store_that_turns_out_to_evict_is_told_of(own_town: Town) -> None:
    town = own_town
    with own_redis(town, store="cache") as own:
        async with a_bot(town, own) as (bot, operator):
            await operator.sees("degraded")
            await asyncio.to_thread(own.start_empty)
            await operator.sees("failed", of=("store",), status=503)
            _, parts = await operator.parts()
            assert "set `maxmemory-policy noeviction`" in parts["store"]["detail"]
            assert "I listen" in (await answer(await use(town, town.ada, "help"))).text
    (line,) = lines(bot, " ERROR ")
    assert "set `maxmemory-policy noeviction`" in line


async def test_what_is_wrong_with_the_store_is_said_once_though_the_cache_is_away(own_town: Town) -> None:
    with own_redis(own_town) as own:
        own.start_empty()
        with own.store.client() as client:
            client.config_set("appendonly", "no")
        own.cache.kill()
        async with a_bot(own_town, own) as (bot, operator):
            await operator.sees("degraded", of=("cache",))
            async with asyncio.timeout(20):
                while await operator.figure("earshot_redis_failures_total", "cache") < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    assert len(lines(bot, "set `appendonly yes`")) == 1
    assert len(lines(bot, f"the cache {AWAY}")) == 1
