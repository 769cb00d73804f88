from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion

from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.errors import (
    CompletionFailed,
    CompletionRateLimited,
    CompletionRefused,
    CompletionUnavailable,
    ErrorKind,
)
from tests.adapters.scripted_link import KEY, SPOKEN, Asked, a_task, asking, tells_no_secret
from tests.llm_server import Fails, Hangs, Sends, Streams
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator


@pytest.fixture
async def asked() -> AsyncGenerator[Asked, None]:
    async with asking() as asked:
        yield asked


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, CompletionRefused),
        (400, "model_not_found", CompletionUnavailable),
        (401, "invalid_api_key", CompletionUnavailable),
        (402, None, CompletionUnavailable),
        (403, None, CompletionUnavailable),
        (404, "model_not_found", CompletionUnavailable),
        (408, None, CompletionFailed),
        (409, None, CompletionFailed),
        (410, None, CompletionUnavailable),
        (413, None, CompletionRefused),
        (418, None, CompletionFailed),
        (422, None, CompletionRefused),
        (429, "rate_limit_exceeded", CompletionRateLimited),
        (429, "insufficient_quota", CompletionUnavailable),
        (500, None, CompletionFailed),
        (503, None, CompletionFailed),
        (529, "overloaded_error", CompletionFailed),
    ],
)
async def test_every_status_has_its_place(
    asked: Asked, status: int, code: str | None, kind: type[CompletionFailed]
) -> None:
    error = await asked.failure(
        Fails(status=status, code=code, message=f"Incorrect API key provided: {KEY}. You sent: {SPOKEN}")
    )

    assert type(error) is kind
    assert str(status) in str(error)
    assert code is None or code in str(error)
    assert len(asked.server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
async def test_how_long_to_wait_is_passed_on(asked: Asked, headers: dict[str, str], wait_s: float | None) -> None:
    error = await asked.failure(Fails(status=429, headers=headers))

    assert isinstance(error, CompletionRateLimited)
    assert error.values.get("retry_after_s") == wait_s


async def test_a_code_that_may_be_a_secret_is_not_told(asked: Asked) -> None:
    assert str(await asked.failure(Fails(status=401, code=KEY))) == "401 AuthenticationError"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", CompletionFailed),
        ("rate_limit_exceeded", CompletionRateLimited),
        ("insufficient_quota", CompletionUnavailable),
        (None, CompletionFailed),
    ],
)
async def test_an_error_in_the_stream_has_its_place_too(
    asked: Asked, code: str | None, kind: type[CompletionFailed]
) -> None:
    event = {"error": {"message": f"{KEY} {SPOKEN}", "code": code}}

    assert type(await asked.failure(Sends(body=f"data: {json.dumps(event)}\n\n".encode()))) is kind


async def test_a_stream_cut_in_the_middle_fails_after_what_came(asked: Asked) -> None:
    error = await asked.failure(Streams(cut=True))

    assert error.kind is ErrorKind.TEMPORARY
    assert asked.shown in ([], ["All"], ["All", "All is"], ["All", "All is", "All is well."])


async def test_a_server_that_is_silent_fails(asked: Asked) -> None:
    asked.server.answers = [Hangs(pieces=("All",))]
    async with openai_client(KEY, asked.server.url, silence_s=0.2) as client:
        with pytest.raises(CompletionFailed, match="Timeout"):
            await OpenAIChatModel(client, "m").complete(a_task(), on_text=lambda _: None)


async def test_no_server_at_all_fails(asked: Asked) -> None:
    async with openai_client(KEY, "http://127.0.0.1:9/v1") as client:
        with pytest.raises(CompletionFailed, match="APIConnectionError from ConnectError") as caught:
            await OpenAIChatModel(client, "m").complete(a_task(), on_text=lambda _: None)
    tells_no_secret(caught.value)


@pytest.mark.parametrize("pieces", [(), ("All ", "is")])
async def test_cancelling_leaves_the_server(asked: Asked, pieces: tuple[str, ...]) -> None:
    asked.server.answers = [Hangs(pieces=pieces)]
    running = asyncio.create_task(asked.model.complete(a_task(), on_text=asked.shown.append))
    await until(lambda: asked.server.requests and (asked.shown or not pieces))

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(asked.server.left.wait(), 5)


# --- every error of the vendor ----------------------------------------------------------------------------------


def every(base: type[Exception]) -> Iterator[type[Exception]]:
    """``base`` and all that descend from it."""
    yield base
    for child in base.__subclasses__():
        yield from every(child)


REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions", headers={"Authorization": KEY})


def instance(kind: type[Exception]) -> Exception:
    """One of ``kind``, as bad as can be: its text holds the key and what was said."""
    message = f"{KEY} {SPOKEN}"
    status = kind.__dict__.get("status_code", 500)
    values = {
        "message": message,
        "request": REQUEST,
        "response": httpx2.Response(status, request=REQUEST, text=message),
        "body": {"message": message},
        "unsent_messages": [message],
        "completion": ChatCompletion(id="1", choices=[], created=0, model=message, object="chat.completion"),
        "symbol": message,
    }
    make: Callable[..., Exception] = kind
    if needed := _needed(kind):
        return make(**{name: values[name] for name in needed})
    try:
        return make(message)
    except TypeError:
        return make()  # it has a text of its own


def _needed(kind: type[Exception]) -> list[str]:
    """The names of the arguments that ``kind`` cannot be made without."""
    try:
        parameters = inspect.signature(kind).parameters
    except ValueError:  # built in, without a signature
        return []
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [name for name, each in parameters.items() if each.default is each.empty and each.kind not in variadic]


class Raises(httpx2.AsyncBaseTransport):
    """A transport that fails, at once or in the middle of a stream."""

    def __init__(self, error: BaseException, *, late: bool) -> None:
        self._error = error
        self._late = late

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._late:
            raise self._error
        return httpx2.Response(
            200, headers={"Content-Type": "text/event-stream"}, stream=_Broken(self._error), request=request
        )


class _Broken(httpx2.AsyncByteStream):
    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:  # pyright: ignore[reportIncompatibleMethodOverride] - a generator
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "All"}}]}\n\n'
        raise self._error


FOREIGN = (
    *every(openai.OpenAIError),
    *every(httpx2.HTTPError),
    *every(httpx2.StreamError),
    httpx2.InvalidURL,
    TimeoutError,
    ConnectionResetError,
    BrokenPipeError,
    OSError,
)


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "in-the-stream"])
@pytest.mark.parametrize("kind", dict.fromkeys(FOREIGN), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_vendor_is_mapped(kind: type[Exception], late: bool) -> None:
    http_client = httpx2.AsyncClient(transport=Raises(instance(kind), late=late))
    client = openai.AsyncOpenAI(api_key=KEY, base_url="http://127.0.0.1/v1", max_retries=0, http_client=http_client)
    async with client:
        with pytest.raises(CompletionFailed) as caught:
            await OpenAIChatModel(client, "m").complete(a_task(), on_text=lambda _: None)
    tells_no_secret(caught.value)
    assert str(caught.value)


def test_the_list_of_errors_is_not_empty() -> None:
    assert len(FOREIGN) > 40
