from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.adapters.in_process.progress_bus import InProcessProgressBus
from bot.core.entries import begun
from bot.core.errors import NotAudio, Overloaded, QuotaExceeded, StoreUnavailable
from bot.core.models import AudioLink, Cached, Reply, Stage, StageReport, StageStatus
from bot.core.orders import Order
from bot.core.quotas import Verdict
from bot.core.records import GuildSettings
from bot.presentation.automatic import AT_A_TIME, IN_LINE, REFUSED, AutomaticTranscripts, rights_in
from bot.presentation.messages import keys
from bot.presentation.moderation import AccessPolicy
from bot.presentation.settings_editor import TO_POST
from bot.presentation.watches import Watches
from cogs.automatic import Automatic
from tests.fakes import HANG, a_transcript
from tests.presentation.guildhall import ADA, CHANNEL, GUILD, HELPERS, FakeSettingsStore, a_member
from tests.waiting import until

if TYPE_CHECKING:
    from bot.core.models import Request, Transcript
    from bot.core.orders import Address
    from bot.core.records import RequestRecord

FORBIDDEN: Any = SimpleNamespace(status=403, reason="no")
SAID = a_transcript("Hello [x](https://evil.example) @everyone.", language="de")
JOB = object()
"""Stands for an answer that a job makes."""
BROKE = QuotaExceeded(
    Verdict(allowed=False, cost=1, remaining=0, retry_after_s=9, full_at=9, now=0, refused_by="bucket")
)


class FakeDispatch:
    """Answers with a transcript, raises, or does not answer until it is let."""

    def __init__(self, reply: Transcript | Exception | object = SAID) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        self.addresses: list[Address] = []
        self.forwarded: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.open = asyncio.Event()

    async def accept(self, request: Request, address: Address) -> Reply | RequestRecord:
        self.requests.append(request)
        self.addresses.append(address)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.reply is HANG:
                await self.open.wait()
        finally:
            self.under_way -= 1
        if isinstance(self.reply, Exception):
            raise self.reply
        if self.reply is JOB:
            return begun(request, price=1, now=1.0, order=Order.of(request), address=address)
        return Reply(
            request=request,
            transcript=SAID if self.reply is HANG else self.reply,  # pyright: ignore[reportArgumentType] - see above
            transcript_id=request.id,
            mode=None,
            routing=None,
            result=None,
            model=None,
            stages={Stage.TRANSCRIBE: StageReport(status=StageStatus.OK, seconds=1.0)},
            cached=Cached(),
        )

    async def forward(self, record: RequestRecord) -> None:
        self.forwarded.append(record.id)


class FakeAnswers:
    """Remembers what it brought."""

    def __init__(self) -> None:
        self.brought: list[tuple[Reply, Address]] = []

    async def bring(self, reply: Reply, address: Address) -> None:
        self.brought.append((reply, address))


class FakeMessage:
    """A message as the gateway tells of it: what is used of it, and what is done with it."""

    def __init__(self, message_id: int = 1, **more: Any) -> None:
        self.id = message_id
        self.author: Any = a_member(ADA, HELPERS)
        self.guild: Any = SimpleNamespace(id=GUILD, preferred_locale="en-US", filesize_limit=1_000)
        self.channel: Any = SimpleNamespace(id=CHANNEL)
        self.flags = discord.MessageFlags(voice=True)
        self.attachments: list[Any] = [
            SimpleNamespace(
                url="https://cdn.discordapp.com/voice-message.ogg",
                filename="voice-message.ogg",
                size=100,
                duration=3.5,
                content_type="audio/ogg",
            )
        ]
        self.message_snapshots: list[Any] = []
        self.reactions: list[str] = []
        self.fails: Exception | None = None
        vars(self).update(more)

    async def add_reaction(self, emoji: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.reactions.append(emoji)


class Channel:
    """A guild in which voice messages of one channel are written down."""

    def __init__(self, dispatch: FakeDispatch | None = None, policy: AccessPolicy | None = None) -> None:
        self.dispatch = dispatch or FakeDispatch()
        self.watches = Watches(InProcessProgressBus())
        self.answers = FakeAnswers()
        self.store = FakeSettingsStore(kept={GUILD: GuildSettings(guild_id=GUILD, automatic_channels=(CHANNEL,))})
        self._ids = iter(range(1_000))
        requests: Any = self.dispatch
        answers: Any = self.answers
        self.transcripts = AutomaticTranscripts(
            requests,
            self.watches,
            answers,
            self.store,
            policy or AccessPolicy(),
            new_id=lambda: f"{next(self._ids):016x}",
        )

    async def post(self, message: FakeMessage) -> FakeMessage:
        posted: Any = message
        await self.transcripts.take(posted)
        return message


async def test_a_voice_message_is_answered_with_what_was_said() -> None:
    channel = Channel()
    await channel.post(FakeMessage())
    (request,) = channel.dispatch.requests
    assert (request.mode, request.private) == (None, False)
    assert request.source == AudioLink(
        url="https://cdn.discordapp.com/voice-message.ogg", filename="voice-message.ogg", size=100, declared_s=3.5
    )
    assert request.asker is not None
    assert (request.asker.guild_id, request.asker.channel_id, request.asker.member_id) == (GUILD, CHANNEL, ADA)
    assert request.asker.role_ids == {GUILD, HELPERS}, "its author pays, as their roles allow"
    ((reply, address),) = channel.answers.brought
    assert reply.request.id == request.id
    assert (address.reply_to, address.channel_id, address.guild_id) == (1, CHANNEL, GUILD)
    assert (address.file_limit, address.locale, address.token) == (1_000, "en-US", "")


async def test_of_a_job_the_answer_comes_by_itself() -> None:
    channel = Channel(FakeDispatch(JOB))
    task = asyncio.create_task(channel.post(FakeMessage()))
    await until(lambda: channel.dispatch.forwarded)
    (request_id,) = channel.dispatch.forwarded
    assert [record.id for record in channel.watches.unheard_of] == [request_id]
    assert not task.done(), "it keeps its place in the guild's line"
    await channel.watches.make_way(request_id)
    await task
    assert channel.answers.brought == []


@pytest.mark.parametrize(
    "message",
    [
        {"flags": discord.MessageFlags()},
        {"channel": SimpleNamespace(id=CHANNEL + 1)},
        {"guild": None},
        {"guild": SimpleNamespace(id=GUILD + 1)},
        {"author": SimpleNamespace(bot=True, id=ADA)},
        {"author": SimpleNamespace(bot=False, id=ADA)},
    ],
    ids=["a file", "another channel", "no guild", "another guild", "a bot", "no member"],
)
async def test_what_nobody_wants_written_down_is_not(message: dict[str, Any]) -> None:
    channel = Channel()
    posted = await channel.post(FakeMessage(**message))
    assert channel.dispatch.requests == []
    assert posted.reactions == []


async def test_a_guild_that_is_not_allowed_is_not_even_looked_up() -> None:
    channel = Channel(policy=AccessPolicy(allowed_guilds=frozenset({1})))
    channel.store.fails = AssertionError("it was looked up")
    await channel.post(FakeMessage())
    assert channel.dispatch.requests == []


async def test_a_thread_is_part_of_its_channel() -> None:
    thread: Any = object.__new__(discord.Thread)
    thread.id, thread.parent_id = CHANNEL + 5, CHANNEL
    channel = Channel()
    await channel.post(FakeMessage(channel=thread))
    assert channel.dispatch.requests


async def test_a_message_that_comes_twice_is_answered_once() -> None:
    channel = Channel()
    for _ in range(3):
        await channel.post(FakeMessage())
    await channel.post(FakeMessage(2))
    assert len(channel.dispatch.requests) == 2


async def test_two_at_the_same_moment_are_one() -> None:
    channel = Channel()
    await asyncio.gather(channel.post(FakeMessage()), channel.post(FakeMessage()))
    assert len(channel.dispatch.requests) == 1


@pytest.mark.parametrize("error", [BROKE, Overloaded(wait_s=600.0)], ids=["quota", "overload"])
async def test_a_refusal_is_a_reaction_and_no_more(error: Exception) -> None:
    channel = Channel(FakeDispatch(error))
    message = await channel.post(FakeMessage())
    assert (channel.answers.brought, message.reactions) == ([], [REFUSED])
    closed = FakeMessage(fails=discord.Forbidden(FORBIDDEN, "no"))
    await Channel(FakeDispatch(error)).post(closed)
    assert closed.reactions == []


async def test_other_failures_are_not_seen() -> None:
    channel = Channel(FakeDispatch(NotAudio()))
    message = await channel.post(FakeMessage())
    assert (channel.answers.brought, message.reactions) == ([], [])
    channel = Channel()
    channel.store.fails = StoreUnavailable()
    message = await channel.post(FakeMessage())
    assert (channel.dispatch.requests, channel.answers.brought, message.reactions) == ([], [], [])


async def test_a_guild_has_a_few_at_a_time_and_a_line_that_ends() -> None:
    dispatch = FakeDispatch(HANG)
    channel = Channel(dispatch)
    messages = [FakeMessage(number) for number in range(AT_A_TIME + IN_LINE + 3)]
    tasks = [asyncio.create_task(channel.post(message)) for message in messages]
    await until(lambda: sum(bool(message.reactions) for message in messages) == 3)
    await until(lambda: len(dispatch.requests) == AT_A_TIME)
    dispatch.open.set()
    await asyncio.gather(*tasks)
    assert dispatch.most_under_way == AT_A_TIME
    assert len(channel.answers.brought) == AT_A_TIME + IN_LINE
    assert [message.reactions for message in messages[-3:]] == [[REFUSED]] * 3
    await channel.post(FakeMessage(10_000))
    assert len(dispatch.requests) == AT_A_TIME + IN_LINE + 1, "and afterwards there is room again"


async def test_other_guilds_do_not_wait() -> None:
    dispatch = FakeDispatch(HANG)
    channel = Channel(dispatch)
    other = GUILD + 1
    channel.store.kept[other] = GuildSettings(guild_id=other, automatic_channels=(CHANNEL,))
    elsewhere = SimpleNamespace(id=other, preferred_locale="en-US", filesize_limit=1_000)
    posted = [FakeMessage(number) for number in range(AT_A_TIME + 1)] + [FakeMessage(99, guild=elsewhere)]
    tasks = [asyncio.create_task(channel.post(message)) for message in posted]
    await until(lambda: len(dispatch.requests) == AT_A_TIME + 1)
    assert any(request.asker and request.asker.guild_id == other for request in dispatch.requests)
    dispatch.open.set()
    await asyncio.gather(*tasks)


def test_a_voice_channel_takes_the_right_to_connect_and_has_no_threads() -> None:
    voice: Any = object.__new__(discord.VoiceChannel)
    text: Any = object.__new__(discord.TextChannel)
    assert set(rights_in(voice)) ^ set(rights_in(text)) == {"connect", "send_messages_in_threads"}
    assert "connect" in rights_in(voice)
    assert all(f"right.{right}" in keys() for right in (*rights_in(voice), *rights_in(text), *TO_POST))


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_operator_has_to_allow_it(allowed: bool) -> None:
    channel = Channel()
    message: Any = FakeMessage()
    await Automatic(channel.transcripts, automatic_allowed=allowed).on_message(message)
    assert bool(channel.dispatch.requests) is allowed
