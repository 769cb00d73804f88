"""/forget-me: what is kept of a member, and that nothing of it is left in either server once it is forgotten."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import zstandard

from tests import audio
from tests.e2e.company import WORDS, Company, a_company
from tests.e2e.town import COMMANDS, PATIENCE_S, ROOT, Town, a_town, answer
from tests.llm_server import Streams, scripted_llm
from tests.redis_servers import RedisProcess, a_server
from tests.simulator.errors import Refused
from tests.simulator.messages import nested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis

    from tests.simulator.interactions import Interaction
    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

MINUTE = (ROOT / "benchmarks" / "corpus" / "minute.ogg").read_bytes()
BEGINNING = "keep this short"
FILENAME = "very-private.ogg"
SUMMARY = "a summary that is nobody else's business"
SHARED_S = 60
"""How long what others share of a request stays at most, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A town, its bot, and the two servers that it keeps everything in."""

    town: Town
    bot: BotProcess
    store: RedisProcess
    cache: RedisProcess

    def found(self, *needles: str) -> list[str]:
        """Where one of ``needles`` stands in a key or a value of either server."""
        wanted = [needle.lower().encode() for needle in needles]
        with self.store.client() as store, self.cache.client() as cache:
            return [
                key
                for client in (store, cache)
                for key, content in contents(client).items()
                if any(needle in content for needle in wanted)
            ]


def contents(client: redis.Redis) -> dict[str, bytes]:
    """All there is in a server, in lower case: by key, the key itself with its value; what is compressed is opened."""
    found: dict[str, bytes] = {}
    keys: list[Any] = list(client.scan_iter(count=1_000))
    for key in keys:
        parts: list[Any] = []
        match client.type(key):
            case b"hash":
                fields: Any = client.hgetall(key)
                parts += [part for pair in fields.items() for part in pair]
            case b"list":
                parts += list(client.lrange(key, 0, -1))  # pyright: ignore[reportArgumentType] - its type is of both kinds of clients
            case b"zset":
                parts += list(client.zrange(key, 0, -1))  # pyright: ignore[reportArgumentType] - as above
            case b"stream":
                entries: Any = client.xrange(key)
                parts += [part for _, fields in entries for pair in fields.items() for part in pair]
            case b"set":
                parts += list(client.smembers(key))  # pyright: ignore[reportArgumentType] - as above
            case b"none":
                continue
            case kind:
                assert kind == b"string", f"{key!r} is a {kind!r}, which nobody looks into here"
                parts.append(client.get(key) or b"")
        found[key.decode()] = b"\n".join([key, *map(opened, parts)]).lower()
    return found


def opened(value: bytes) -> bytes:
    """A value with whatever is compressed in it."""
    at = value.find(b"\x28\xb5\x2f\xfd")  # how a frame of zstd begins
    if at < 0:
        return value
    return value[:at] + zstandard.ZstdDecompressor().stream_reader(BytesIO(value[at:])).read()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    with ExitStack() as stack:
        store, cache = (stack.enter_context(a_server(role)) for role in ("store", "cache"))
        async with scripted_llm() as llm, a_town(tmp_path_factory.mktemp("data")) as town:
            llm.answers = (Streams(pieces=[f"This is {SUMMARY}."]),)
            own_servers = {"REDIS_STORE_URL": store.url, "REDIS_CACHE_URL": cache.url}
            async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="local,template", **own_servers) as bot:
                await bot.ready(commands=COMMANDS)
                yield Scene(town=town, bot=bot, store=store, cache=cache)
        assert store.keys_without_ttl() == []
        assert cache.keys_without_ttl() == []


@pytest_asyncio.fixture(loop_scope="session")
async def company(scene: Scene) -> Company:
    for server in (scene.store, scene.cache):
        with server.client() as client:
            client.flushall()
    return await a_company(scene.town)


async def press(member: Member, message: Message, label: str = "Delete all of it") -> Message:
    """Press a button below the question, and see what stands in its place."""
    pressed = await member.click(message, label=label)
    return await pressed.reply(lambda shown: "Shall I delete" not in shown.text)


def shared_news_apart(scene: Scene, keys: list[str]) -> list[str]:
    """``keys`` without what those who wait for the same recording share, which ends within a minute."""
    with scene.store.client() as store:
        brief = {key for key in keys if "{flight:" in key and 0 < int(store.ttl(key)) <= SHARED_S}  # pyright: ignore[reportArgumentType] - as above
    return [key for key in keys if key not in brief]


async def test_who_has_nothing_kept_is_told_so(company: Company) -> None:
    told = await company.ask(company.bob, "forget-me")
    assert told.ephemeral
    assert "I keep nothing of what you asked me for here" in told.text
    assert told.components == ()


async def test_what_is_kept_is_counted_and_all_of_it_is_forgotten(scene: Scene, company: Company) -> None:
    bob = company.bob
    posted = await company.ask(bob, "transcribe", audio=company.clip(name=FILENAME))
    await company.ask(bob, "summarize", audio=company.clip("second", name=FILENAME), private=True)
    helped = await company.ask(company.helper, "transcribe", audio=company.clip("third", name="public.ogg"))
    damaged = scene.town.simulator.cdn.upload(FILENAME, b"not a sound\n" * 50, content_type="audio/ogg")
    await company.ask(bob, "summarize", audio=damaged)
    before = scene.found(WORDS, SUMMARY, FILENAME)
    for kind in ("earshot:request:", "earshot:transcript:", "earshot-cache:t1:", "earshot-cache:c1:"):
        assert any(key.startswith(kind) for key in before), f"{kind} holds what was said, or this test shows nothing"
    assert any(str(bob.id) in key for key in scene.found("member:"))

    asked = await company.ask(bob, "forget-me")
    assert "2 transcripts, 1 result made of such" in asked.text
    assert "The oldest is of <t:" in asked.text
    assert "Messages that I posted in channels" in asked.text
    assert set(before) <= set(scene.found(WORDS, SUMMARY, FILENAME)), "asking deletes nothing"
    done = await press(bob, asked)
    assert done is asked
    assert "Deleted: 2 transcripts, 1 result made of such" in done.text
    assert done.components == (), "there is nothing more to keep or to delete"

    assert shared_news_apart(scene, scene.found(SUMMARY, FILENAME)) == []
    left = shared_news_apart(scene, scene.found(WORDS))
    assert sorted(key.rsplit(":", 1)[0] for key in left) == ["earshot-cache:t1", "earshot:transcript"], (
        f"what the helper asked for stays, and nothing else: {left}"
    )
    assert scene.found("public.ogg"), "the helper's request is untouched"
    assert "You have none here yet" in (await company.ask(bob, "results list")).text
    assert "I keep nothing" in (await company.ask(bob, "forget-me")).text
    redo = await answer(await bob.choose(posted, redo_of(posted), ["summarize"]))
    assert "no longer kept" in redo.text
    redone = await answer(await company.helper.choose(helped, redo_of(helped), ["summarize"]))
    assert SUMMARY in redone.text


def redo_of(message: Message) -> str:
    return next(part["custom_id"] for part in nested(message.components) if ":redo:" in part.get("custom_id", ""))


async def test_only_here_and_only_ones_own_is_forgotten(scene: Scene, company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name=FILENAME))
    other = await a_company(scene.town, "Others")
    there = other.guild.join(company.bob.user)
    await other.ask(there, "transcribe", audio=other.clip(name="elsewhere.ogg"))
    await press(company.bob, await company.ask(company.bob, "forget-me"))
    assert scene.found(FILENAME) == []
    assert "elsewhere.ogg" in (await other.ask(there, "results list")).text
    assert "1 transcript, 0 results" in (await other.ask(there, "forget-me")).text


async def test_who_thinks_better_of_it_keeps_everything(scene: Scene, company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name=FILENAME))
    before = scene.found(WORDS, FILENAME)
    asked = await company.ask(company.bob, "forget-me")
    await press(company.bob, asked, "Keep it")
    assert "All right: I delete nothing" in asked.text
    assert asked.components == ()
    with pytest.raises(Refused):
        await company.bob.click(asked, label="Delete all of it")
    assert scene.found(WORDS, FILENAME) == before
    assert FILENAME in (await company.ask(company.bob, "results list")).text


async def test_while_the_cache_is_silent_nothing_is_forgotten_by_half(scene: Scene, company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name=FILENAME))
    asked = await company.ask(company.bob, "forget-me")
    since = len(scene.bot.lines)
    scene.cache.pause()
    try:
        refused = await press(company.bob, asked)
        assert "can't reach my memory" in refused.text
        assert FILENAME in (await company.ask(company.bob, "results list")).text
    finally:
        scene.cache.resume()
    await scene.bot.until(
        lambda: any("the cache is back" in line for line in scene.bot.lines[since:]), within=15, what="the cache"
    )
    assert scene.found(WORDS, FILENAME)
    pressed = await company.bob.click(refused, label="Delete all of it")
    done = await pressed.reply(lambda shown: "Deleted: 1 transcript" in shown.text)
    assert done.components == ()
    assert shared_news_apart(scene, scene.found(WORDS, FILENAME)) == []


async def test_nobody_else_can_press_it(scene: Scene, company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name=FILENAME))
    asked = await company.ask(company.bob, "forget-me")
    for other in (company.helper, company.moderator):
        with pytest.raises(Refused, match="does not see that message"):
            await other.click(asked, label="Delete all of it")
    # Discord hides the question from others; should it ever not, the bot checks too.
    asked.seen_by = None
    for label in ("Delete all of it", "Keep it"):
        pressed = await company.helper.click(asked, label=label)
        refused = await pressed.reply(lambda message: message is not asked)
        assert "Only the one who asked may press that" in refused.text
        assert refused.ephemeral
    assert "Shall I delete all of it?" in asked.text
    assert FILENAME in (await company.ask(company.bob, "results list")).text


async def test_what_runs_while_its_member_is_forgotten_leaves_nothing(scene: Scene, company: Company) -> None:
    clip = scene.town.simulator.cdn.upload(FILENAME, audio.retold(MINUTE, "under way"), content_type="audio/ogg")
    interaction = await company.bob.slash(company.channel, "summarize", audio=clip)
    await begun(interaction)
    asked = await company.ask(company.bob, "forget-me")
    assert "0 transcripts, 0 results" in asked.text
    assert "The oldest is of <t:" in asked.text, "a request that runs is something that is kept"
    await press(company.bob, asked)
    assert interaction.acknowledgement is not None
    message = await answer(interaction)
    assert message.text == "This was deleted, as asked."
    assert message.components == ()
    # The last that a request does is to note that its answer arrived.
    assert "You have none here yet" in (await company.ask(company.bob, "results list")).text
    assert "I keep nothing" in (await company.ask(company.bob, "forget-me")).text
    assert shared_news_apart(scene, scene.found(BEGINNING, SUMMARY, FILENAME)) == []
    assert [key for key in scene.found("member:", "deliveries:") if str(company.bob.id) in key] == []


async def begun(interaction: Interaction) -> None:
    """Wait until the first words are shown, and the rest is still to come."""
    await interaction.reply(lambda message: BEGINNING in message.text.lower(), within=PATIENCE_S)
