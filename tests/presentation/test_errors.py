"""From what goes wrong to what the member reads, and from what they read to the cause in the log."""

from __future__ import annotations

import inspect
import io
import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import pytest
import stamina
from loguru import logger

from bot import log
from bot.core.errors import (
    DecodeFailed,
    EarshotError,
    NotAudio,
    NotFound,
    StoreUnavailable,
    TranscriptNotKept,
    reference_of,
)
from bot.presentation.courier import Undelivered
from bot.presentation.messages import text
from bot.presentation.moderation import NotModerator
from bot.presentation.network import UNDELIVERED
from bot.presentation.replies import Answer
from bot.presentation.requests import Ask
from tests.adapters.test_openai_errors import every
from tests.presentation.guildhall import Counter, a_member, an_interaction
from tests.presentation.test_courier import Street

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bot.core.models import AudioLink

ID = "0" * 16  # a Counter's only one
REFERENCE = reference_of(ID)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Try again at once."""
    stamina.set_testing(True, attempts=2, cap=True)
    yield
    stamina.set_testing(False)


# --- the reference ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["text", "json"])
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What an operator sees who logs warnings alone."""
    root = logging.getLogger()  # noqa: TID251 - configuring changes it
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.configure(level="WARNING", log_format=request.param, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logger.remove()


async def answer_to(error: BaseException) -> Answer:
    counter = Counter()

    async def make() -> Answer:
        logger.info("of no interest")
        raise error

    await counter.reception.hand_over(an_interaction(a_member()), make)
    return counter.answer


def found(logged: io.StringIO) -> str:
    """What grep finds of the log, and what comes with it."""
    lines = [line for line in logged.getvalue().splitlines() if REFERENCE in line]
    assert all(json.loads(line)["reference"] == REFERENCE for line in lines if line.startswith("{"))
    return logged.getvalue() if lines else ""


def raised_from(error: EarshotError, cause: Exception) -> EarshotError:
    try:
        raise error from cause
    except EarshotError as exc:
        return exc


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("store: gone"),
        DecodeFailed("killed by SIGSEGV"),
        NotFound("request 12"),
        TranscriptNotKept("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_has_a_reference_that_leads_to_its_cause(logged: io.StringIO, error: EarshotError) -> None:
    answer = await answer_to(raised_from(error, OSError("the cause of it")))
    assert answer.description == text(error.key)
    assert answer.footer is not None
    assert REFERENCE in answer.footer
    assert error.detail in found(logged)
    assert "the cause of it" in found(logged)
    assert "the cause of it" not in str(answer)


async def test_a_slip_of_the_program_is_a_friendly_sentence_and_a_traceback(logged: io.StringIO) -> None:
    answer = await answer_to(ZeroDivisionError("password=hunter2"))
    assert answer.description == text("error.unexpected")
    assert answer.footer is not None
    assert REFERENCE in answer.footer
    assert "hunter2" not in str(answer)
    assert "ZeroDivisionError: password=hunter2" in found(logged)
    assert "Traceback" in found(logged)


@pytest.mark.parametrize("error", [NotAudio("text"), NotModerator()], ids=lambda error: type(error).__name__)
async def test_what_a_member_can_cure_needs_no_reference(logged: io.StringIO, error: EarshotError) -> None:
    answer = await answer_to(error)
    assert answer.footer is None
    assert logged.getvalue() == "", "nothing for an operator"


async def test_whoever_is_interrupted_gets_a_reference_too(logged: io.StringIO) -> None:
    counter = Counter()
    await counter.reception.aclose(within_s=0)

    async def make() -> Answer:
        raise AssertionError("nothing begins any more")

    await counter.reception.hand_over(an_interaction(a_member()), make)
    assert counter.answer.description == text("error.interrupted")
    assert REFERENCE in (counter.answer.footer or "")
    assert "before it began" in found(logged)


# --- discord.py ---------------------------------------------------------------------------------------------------


def discord_error(kind: type[Exception]) -> Exception:
    values: dict[str, Any] = {
        "response": SimpleNamespace(status=500, reason="no"),
        "message": {"code": 0, "message": "no"},
        "socket": SimpleNamespace(close_code=4000),
        "shard_id": 0,
        "interaction": SimpleNamespace(),
        "retry_after": 1.0,
    }
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:  # built in, without a signature
        return kind("no")
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]
    if needed or not parameters:  # GatewayNotFound has a text of its own
        return kind(**{name: values[name] for name in needed})
    return kind("no")


DISCORD = dict.fromkeys(
    [
        *(kind for kind in every(discord.DiscordException) if kind.__module__ == "discord.errors"),
        *(aiohttp.ClientError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ServerTimeoutError),
        *(OSError, ConnectionResetError, TimeoutError),
    ]
)
each_of_discord = pytest.mark.parametrize("kind", DISCORD, ids=lambda kind: kind.__name__)


def test_the_list_of_discords_errors_is_not_empty() -> None:
    assert {"HTTPException", "DiscordServerError", "RateLimited", "InteractionResponded"} <= {
        k.__name__ for k in DISCORD
    }


def failing(error: Exception) -> Callable[..., Any]:
    async def fail(*_args: object, **_given: object) -> None:
        raise error

    return fail


@each_of_discord
async def test_an_answer_that_discord_refuses_in_every_way_ends_nothing(kind: type[Exception]) -> None:
    error = discord_error(kind)
    street = Street()
    for way in (street.edit, street.channel.way, street.direct):
        way.fails = [error] * 20
    assert await street.deliver(Answer(description="hello")) == (0, 0, 0)
    assert isinstance(street.arrival, Undelivered)


@each_of_discord
async def test_an_interaction_that_cannot_be_acknowledged_ends_nothing(
    kind: type[Exception], logged: io.StringIO
) -> None:
    counter = Counter()

    async def make() -> Answer:
        raise AssertionError("nobody waits for it")

    interaction = an_interaction(a_member(), response=SimpleNamespace(defer=failing(discord_error(kind))))
    await counter.reception.hand_over(interaction, make)
    assert counter.courier.answers == []
    assert "could not be acknowledged" in found(logged)


@each_of_discord
async def test_a_message_that_discord_does_not_give_is_worth_another_try(
    kind: type[Exception], logged: io.StringIO
) -> None:
    counter = Counter()

    async def find() -> AudioLink:
        raise discord_error(kind)

    await counter.reception.listen(an_interaction(a_member()), find, Ask(mode=None, private=True))
    assert counter.answer.description == text("error.discord_failed")
    assert REFERENCE in (counter.answer.footer or "")
    assert kind.__name__ in found(logged)


@each_of_discord
def test_whoever_else_asks_discord_expects_it(kind: type[Exception]) -> None:
    assert issubclass(kind, UNDELIVERED)  # progress, presence and automatic transcripts have tests of their own
