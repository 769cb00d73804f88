from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import pytest
import stamina

from bot.core.orders import Address
from bot.presentation.courier import TOKEN_LIFE_S, Arrival, Courier, PartialAnswer, Placeholder, Undelivered
from bot.presentation.replies import Answer, TextFile
from tests.modes import SUMMARIZE
from tests.presentation.guildhall import GUILD
from tests.presentation.retrying import ID, a_partial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.core.models import Reply

NONCE = "0123456789abcdef"
RESULT = Answer(title="Summary", description="It is about courage.", transcript_id=NONCE)
URL = "https://discord.com/channels/1/2/3"
LIMIT = 1_000
"""The largest file in bytes that the fake channel takes."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Way:
    """One way to a message's place: ``fails`` are raised one after another, then it works."""

    fails: list[Exception] = field(default_factory=list[Exception])
    tried: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    arrived: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def __call__(self, content: str | None = None, **given: Any) -> Any:
        files: list[discord.File] = given.get("attachments") or given.get("files") or []
        # Read to the end, as an upload does: what is sent again has to be opened again.
        sent = {**given, "content": content, "files": {file.filename: file.fp.read() for file in files}}
        self.tried.append(sent)
        if self.fails:
            raise self.fails.pop(0)
        self.arrived.append(sent)
        return SimpleNamespace(id=1, jump_url=URL)


class FakeChannel:
    """A channel, as far as an answer is concerned."""

    def __init__(self) -> None:
        self.way = Way()

    async def send(self, content: str | None = None, **given: Any) -> Any:
        return await self.way(content, **given)

    def get_partial_message(self, message_id: int, /) -> Any:
        def to_reference(*, fail_if_not_exists: bool) -> tuple[int, bool]:
            return message_id, fail_if_not_exists

        return SimpleNamespace(id=message_id, jump_url=URL, to_reference=to_reference)


class DoorPlaceholder(Placeholder):
    """A placeholder that is edited in a way of its own."""

    way: Way

    async def edit(self, **content: Any) -> Any:
        return await self.way(**content)


class Street:
    """A placeholder, and the three ways on which an answer can go."""

    def __init__(self, *, private: bool = False, has_channel: bool = True, reply_to: int | None = None) -> None:
        self.clock = Clock()
        self.edit = Way()
        self.channel = FakeChannel()
        self.direct = Way()
        self.told: list[tuple[str, PartialAnswer]] = []
        client: Any = SimpleNamespace(
            get_partial_messageable=self.get_partial_messageable, create_dm=self.create_dm, dispatch=self.dispatch
        )
        address = Address(
            application_id=1,
            token="token",
            token_ends_at=self.clock.now + TOKEN_LIFE_S,
            reply_to=reply_to,
            guild_id=GUILD,
            channel_id=2 if has_channel else None,
            member_id=42,
            private=private,
            file_limit=LIMIT,
        )
        self.placeholder = DoorPlaceholder(client, address, now=self.clock)
        self.placeholder.way = self.edit
        self.arrival: Arrival | Undelivered | None = None

    def get_partial_messageable(self, channel_id: int, *, guild_id: int | None) -> FakeChannel:
        assert (channel_id, guild_id) == (2, GUILD)
        return self.channel

    async def create_dm(self, user: discord.abc.Snowflake) -> Any:
        assert user.id == 42
        return SimpleNamespace(send=self.direct)

    def dispatch(self, event: str, answer: PartialAnswer) -> None:
        self.told.append((event, answer))

    async def deliver(self, answer: Answer = RESULT) -> tuple[int, int, int]:
        """How often the answer arrived: in the placeholder, in the channel, with the member alone."""
        self.arrival = await Courier(lambda: (SUMMARIZE,)).deliver(self.placeholder, answer, nonce=NONCE)
        return len(self.edit.arrived), len(self.channel.way.arrived), len(self.direct.arrived)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Try again at once."""
    stamina.set_testing(True, attempts=10, cap=True)
    yield
    stamina.set_testing(False)


def refusal(status: int, code: int) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="")
    kind = {403: discord.Forbidden, 404: discord.NotFound, 503: discord.DiscordServerError}.get(
        status, discord.HTTPException
    )
    return kind(response, {"code": code, "message": "no"})


ENDED = refusal(401, 50_027)


@pytest.mark.parametrize(
    ("private", "passed_s", "arrived"),
    [
        (False, 0.0, (1, 0, 0)),
        (False, TOKEN_LIFE_S, (1, 0, 0)),
        (False, TOKEN_LIFE_S + 0.1, (0, 1, 0)),
        (True, TOKEN_LIFE_S, (1, 0, 0)),
        (True, TOKEN_LIFE_S + 0.1, (0, 0, 1)),
    ],
)
async def test_an_answer_goes_into_the_placeholder_while_its_token_lives(
    private: bool, passed_s: float, arrived: tuple[int, int, int]
) -> None:
    street = Street(private=private)
    street.clock.now += passed_s
    assert await street.deliver() == arrived
    assert len(street.edit.tried) == arrived[0], "an ended token is not tried"
    assert isinstance(street.arrival, Arrival)
    assert street.arrival.url == (None if private else URL), "only what others see has a link"


def test_the_token_is_trusted_for_less_than_discord_lets_it_live() -> None:
    assert 13 * 60 <= TOKEN_LIFE_S < 15 * 60


async def test_progress_is_shown_while_it_can_be() -> None:
    street = Street()
    await street.placeholder.show(discord.Embed(description="soon"))
    street.clock.now += TOKEN_LIFE_S + 1
    await street.placeholder.show(discord.Embed(description="never"))
    assert [sent["embed"].description for sent in street.edit.arrived] == ["soon"]


async def test_a_new_message_pings_the_member_alone_and_cannot_come_twice() -> None:
    street = Street()
    street.clock.now += TOKEN_LIFE_S + 1
    await street.deliver()
    (sent,) = street.channel.way.arrived
    # As the client sends it: what is not said here, it forbids.
    mentions = discord.AllowedMentions.none().merge(sent["allowed_mentions"])
    assert sent["content"] == "<@42>"
    assert sent["nonce"] == NONCE
    assert mentions.to_dict() == {"parse": [], "users": [42]}
    assert sent["embed"].description == RESULT.description
    assert [item.custom_id for item in sent["view"].children] == [f"earshot:files:{NONCE}", f"earshot:redo:{NONCE}"]


@pytest.mark.parametrize(
    "failure",
    [ENDED, refusal(404, 10_015), refusal(503, 0), refusal(400, 50_035)],
    ids=["token ended", "unknown webhook", "unavailable", "refused"],
)
@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_what_the_placeholder_does_not_take_goes_another_way(private: bool, failure: Exception) -> None:
    street = Street(private=private)
    street.edit.fails = [failure] * 20
    assert await street.deliver() == ((0, 0, 1) if private else (0, 1, 0))


async def test_an_answer_that_is_not_taken_in_the_channel_goes_to_the_member() -> None:
    street = Street()
    street.clock.now += TOKEN_LIFE_S + 1
    street.channel.way.fails = [refusal(403, 50_013)]
    assert await street.deliver() == (0, 0, 1)
    assert street.direct.arrived[0]["embed"].description == RESULT.description


async def test_a_member_who_cannot_be_reached_at_all_ends_nothing() -> None:
    street = Street()
    street.edit.fails, street.channel.way.fails, street.direct.fails = (
        [ENDED],
        [refusal(403, 50_001)],
        [refusal(403, 50_007)],
    )
    assert await street.deliver() == (0, 0, 0)
    assert len(street.direct.tried) == 1
    assert isinstance(street.arrival, Undelivered)
    assert not street.arrival.temporary, "whoever tries again is refused again"


async def test_a_placeholder_that_was_deleted_is_answered_by_nothing() -> None:
    street = Street()
    street.edit.fails = [refusal(404, 10_008)]
    assert await street.deliver() == (0, 0, 0)
    assert (street.channel.way.tried, street.direct.tried) == ([], [])


@pytest.mark.parametrize(
    "failure", [aiohttp.ServerDisconnectedError(), ConnectionResetError(104, "reset"), TimeoutError()], ids=repr
)
async def test_a_network_that_fails_is_tried_again_with_whole_files(failure: Exception) -> None:
    street = Street()
    street.edit.fails = [failure, failure]
    answer = Answer(description="see the file", files=(TextFile(name="summary.md", content=b"all of it"),))
    assert await street.deliver(answer) == (1, 0, 0)
    assert [sent["files"] for sent in street.edit.tried] == [{"summary.md": b"all of it"}] * 3


async def test_a_network_that_stays_away_is_given_up() -> None:
    street = Street()
    for way in (street.edit, street.channel.way, street.direct):
        way.fails = [aiohttp.ServerDisconnectedError()] * 20
    assert await street.deliver() == (0, 0, 0)
    assert all(1 < len(way.tried) < 10 for way in (street.edit, street.channel.way, street.direct))
    assert isinstance(street.arrival, Undelivered)
    assert street.arrival.temporary, "it is worth another try"


@pytest.mark.parametrize("late", [False, True], ids=["placeholder", "new message"])
async def test_files_over_the_limit_stay_behind_and_the_answer_says_so(late: bool) -> None:
    street = Street()
    street.clock.now += TOKEN_LIFE_S + 1 if late else 0
    files = (
        TextFile(name="fits.txt", content=b"x" * LIMIT),
        TextFile(name="large.txt", content=b"x" * (LIMIT + 1)),
    )
    await street.deliver(Answer(description="two files", files=files))
    (sent,) = street.channel.way.arrived if late else street.edit.arrived
    assert list(sent["files"]) == ["fits.txt"]
    assert "too large" in sent["embed"].fields[-1].value


async def test_files_within_the_limit_are_not_said_to_be_too_large() -> None:
    street = Street()
    await street.deliver(Answer(description="one file", files=(TextFile(name="fits.txt", content=b"x" * LIMIT),)))
    (sent,) = street.edit.arrived
    assert not sent["embed"].fields


# --- where nobody asked -------------------------------------------------------------------------------------------


async def test_what_nobody_asked_for_is_a_reply_that_pings_nobody() -> None:
    street = Street(reply_to=7)
    assert await street.deliver() == (0, 1, 0)
    (sent,) = street.channel.way.arrived
    assert (sent["content"], sent["reference"], sent["mention_author"], sent["nonce"]) == (
        None,
        (7, True),
        False,
        NONCE,
    )
    assert sent["allowed_mentions"].to_dict() == {"parse": []}
    assert isinstance(street.arrival, Arrival)
    assert street.arrival.url == URL


@pytest.mark.parametrize("refused", [(400, 50_035), (403, 50_013), (404, 10_003)])
async def test_where_that_cannot_be_posted_nothing_is(refused: tuple[int, int]) -> None:
    street = Street(reply_to=7)
    street.channel.way.fails = [refusal(*refused)]
    assert await street.deliver() == (0, 0, 0)
    assert street.direct.tried == []
    assert street.arrival == Arrival(url=None), "nobody waits for it"


# --- what is not all that was asked for ---------------------------------------------------------------------------


def incomplete(reply: Reply) -> Answer:
    return Answer(description="extract", transcript_id=NONCE, request_id=NONCE, incomplete=reply)


@pytest.mark.parametrize("late", [False, True], ids=["placeholder", "new message"])
async def test_the_client_hears_of_an_answer_of_which_more_can_be_made(late: bool) -> None:
    street = Street()
    street.clock.now += TOKEN_LIFE_S + 1 if late else 0
    reply = a_partial()
    await street.deliver(incomplete(reply))
    ((event, told),) = street.told
    assert event == "partial_answer"
    assert (told.reply, told.message.id, told.locale, told.limit) == (reply, 1, "en-US", LIMIT)


@pytest.mark.parametrize("why", ["whole", "private", "outside", "no channel"])
async def test_the_client_hears_of_nothing_that_it_could_not_come_back_to(why: str) -> None:
    street = Street(private=why == "private", has_channel=why != "no channel")
    answer = incomplete(a_partial(guild_id=None if why == "outside" else GUILD))
    await street.deliver(RESULT if why == "whole" else answer)
    assert len(street.edit.arrived) == 1
    assert street.told == []


async def test_below_such_an_answer_stands_the_button() -> None:
    street = Street()
    await street.deliver(incomplete(a_partial()))
    (sent,) = street.edit.arrived
    button, *menus = sent["view"].children
    assert (button.custom_id, button.item.label) == (f"earshot:retry:{ID}", "Retry: Summary")
    assert len(menus) == 2
