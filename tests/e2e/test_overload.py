"""More work than can be done soon: what is refused, what goes on, who is told, and that it ends by itself."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests import audio
from tests.e2e.company import WORDS, Company, a_company
from tests.e2e.town import COMMANDS, PATIENCE_S, ROOT, Town, a_town, answer, fields, is_final, menu_id
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from tests.simulator.interactions import Interaction
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

MINUTE = (ROOT / "benchmarks" / "corpus" / "minute.ogg").read_bytes()
MEETING = (ROOT / "benchmarks" / "corpus" / "meeting.ogg").read_bytes()
END = "nothing gets lost"
WHISPER_CHILD = "bot.adapters.whisper.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A town whose bot is at its limit as soon as it has something to do, and the address of its health."""

    town: Town
    bot: BotProcess
    health: str

    async def load(self, *, ready: bool = True) -> dict[str, Any]:
        """What ``/readyz`` says of the load; the bot has to be ready all the while, unless something else is not."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.health}/readyz") as response:
            told = await response.json()
            assert told["ready"] or not ready
            assert (response.status == HTTPStatus.OK) is told["ready"]
            return told["parts"]["load"]

    async def presence(self, status: str) -> dict[str, Any]:
        """Wait until the bot says that it is ``status``; the newest presence."""
        presences = self.town.simulator.gateway.presences
        return await self.town.simulator.world.changes.until(
            lambda: presences[-1] if presences and presences[-1]["status"] == status else None,
            timeout_s=PATIENCE_S,
            what=lambda: f"{status}; there is {presences}",
        )

    def whisper_processes(self) -> list[psutil.Process]:
        children = psutil.Process(self.bot.pid).children(recursive=True)
        return [child for child in children if is_whisper(child)]


def is_whisper(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # or a zombie, which is one of those
        return any(WHISPER_CHILD in word for word in process.cmdline())
    return False


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with a_town(tmp_path_factory.mktemp("data")) as town, town.process(OVERLOAD_WAIT_MINUTES="0.01") as bot:
        line = await bot.logged("health is served on", within=30)
        await bot.ready(commands=COMMANDS)
        await bot.logged("ready:")
        scene = Scene(town=town, bot=bot, health=f"http://127.0.0.1:{line.rpartition(':')[2]}")
        await scene.presence("online")
        yield scene


@pytest_asyncio.fixture(loop_scope="session")
async def company(scene: Scene) -> Company:
    return await a_company(scene.town)


@asynccontextmanager
async def at_the_limit(scene: Scene, company: Company) -> AsyncGenerator[Interaction]:
    """The bot listens to a minute of talk, and gets no further until the block ends."""
    data = audio.retold(MINUTE, "for long")
    clip = scene.town.simulator.cdn.upload("minute.ogg", data, content_type="audio/ogg")
    interaction = await company.helper.slash(company.channel, "transcribe", audio=clip)
    await scene.presence("idle")
    processes = scene.whisper_processes()
    assert processes
    for process in processes:
        process.suspend()
    try:
        yield interaction
    finally:
        for process in processes:
            process.resume()


def is_refused(message: Message) -> bool:
    return "I am at my limit" in message.text


def is_answered(interaction: Interaction) -> bool:
    return any(not message.loading and is_final(message) for message in interaction.messages)


async def test_at_the_limit_new_work_is_refused_and_all_else_goes_on(scene: Scene, company: Company) -> None:
    bob = company.bob
    known = await company.ask(bob, "transcribe", audio=company.clip("known"))
    tokens = (await company.ask(bob, "quota")).text.splitlines()[1]
    await scene.presence("online")
    async with at_the_limit(scene, company) as interaction:
        refused = await company.ask(bob, "transcribe", audio=company.clip("new"))
        assert is_refused(refused)
        assert "New work would have to wait about a minute" in refused.text
        assert "Your tokens are untouched" in refused.text
        for what in ("cache", "/results", "/quota", "/help"):
            assert what in fields(refused)["What still works"]
        posted = company.channel.post(bob, attachments=[company.clip("new")])
        assert is_refused(await answer(await bob.message_command(company.channel, "Summarise", posted)))

        cached = await company.ask(bob, "transcribe", audio=company.clip("known"))
        assert cached.embeds[0]["description"] == known.embeds[0]["description"]
        assert "costs nothing" in fields(cached)["Took"]
        assert (await company.ask(bob, "quota")).text.splitlines()[1] == tokens
        listed = (await company.ask(bob, "results list")).embeds[0]["description"].splitlines()
        assert len(listed) == 2, "what was refused is no result"
        assert "I listen" in (await (await bob.slash(company.channel, "help")).reply()).text
        assert "Settings of this server" in (await company.set("show")).text
        (file,) = (await answer(await bob.choose(known, menu_id(known, "files"), ["txt"]))).attachments
        assert WORDS in file.data.decode().lower()

        load = await scene.load()
        assert load["state"] == "degraded"
        assert "new work would wait" in load["detail"]
        (activity,) = (await scene.presence("idle"))["activities"]
        assert activity["state"] == "At my limit: finished results only"
        assert not is_answered(interaction), "or none of this was shown at the limit"
    assert END in (await answer(interaction)).text.lower(), "what was begun is finished"
    assert (await scene.presence("online"))["activities"] == []
    assert (await scene.load())["state"] == "ok"
    assert WORDS in (await company.ask(bob, "transcribe", audio=company.clip("new"))).text.lower()


async def test_it_ends_too_when_the_work_fails(scene: Scene, company: Company) -> None:
    clip = scene.town.simulator.cdn.upload("meeting.ogg", MEETING, content_type="audio/ogg")
    interaction = await company.helper.slash(company.channel, "transcribe", audio=clip)
    await scene.presence("idle")
    assert is_refused(await company.ask(company.bob, "transcribe", audio=company.clip("new")))

    def failed() -> bool:
        for process in scene.whisper_processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return is_answered(interaction)

    await until(failed, within=PATIENCE_S)
    assert "made my transcriber crash" in (await answer(interaction)).text
    await scene.presence("online")
    # The model that was killed while it was loaded counts as failed until it is loaded again.
    assert (await scene.load(ready=False))["state"] == "ok"
    assert WORDS in (await company.ask(company.bob, "transcribe", audio=company.clip("new"))).text.lower()
