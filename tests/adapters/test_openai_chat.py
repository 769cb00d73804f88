from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from bot.adapters.openai_chat import MAX_ANSWER_CHARS, REASONING_TOKENS, OpenAIChatModel, openai_client
from bot.core.errors import CompletionFailed, CompletionRefused, ErrorKind
from bot.core.models import NoteKey
from bot.core.spending import Usage
from tests.adapters.scripted_link import KEY, SPOKEN, Asked, a_task, asking, tells_no_secret
from tests.llm_server import Fails, Hangs, Sends, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.llm_server import Answer


@pytest.fixture
async def asked() -> AsyncGenerator[Asked, None]:
    async with asking() as asked:
        yield asked


# --- answers ----------------------------------------------------------------------------------------------------


async def test_the_prompt_and_the_limits_are_sent(asked: Asked) -> None:
    completion = await asked.answer()

    assert completion.result.text == "All is well."
    assert completion.notes == ()
    assert asked.shown == ["All", "All is", "All is well.", "All is well."]
    assert asked.server.requests == [
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "Sum up."}, {"role": "user", "content": SPOKEN}],
            "stream": True,
            "max_tokens": 500,
            "temperature": 0.2,
            "stream_options": {"include_usage": True},
        }
    ]
    assert asked.server.keys == [f"Bearer {KEY}"]


async def test_a_server_of_ones_own_needs_no_key(asked: Asked) -> None:
    async with openai_client(None, asked.server.url) as client:
        await OpenAIChatModel(client, "m").complete(a_task(), on_text=lambda _: None)

    assert asked.server.keys == ["Bearer none"]


async def test_without_an_address_it_is_openais_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.example/v1")

    async with openai_client(KEY, None) as client:
        assert str(client.base_url) == "https://api.openai.com/v1/"
        assert client.max_retries == 0


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
async def test_other_ends_are_ends(asked: Asked, finish: str) -> None:
    assert (await asked.answer(Streams(finish=finish))).notes == ()


async def test_an_answer_that_the_limit_cut_is_noted(asked: Asked) -> None:
    completion = await asked.answer(Streams(finish="length"))

    assert [note.key for note in completion.notes] == [NoteKey.RESULT_CUT]


async def test_reading_stops_at_the_limit(asked: Asked) -> None:
    completion = await asked.answer(Streams(pieces=["x" * 4_096] * 100, finish="stop"))

    assert len(completion.result.text) == MAX_ANSWER_CHARS
    assert [note.key for note in completion.notes] == [NoteKey.RESULT_CUT]


async def test_a_server_that_never_ends_is_left_at_the_limit(asked: Asked) -> None:
    completion = await asked.answer(Hangs(pieces=["x" * MAX_ANSWER_CHARS]))

    assert len(completion.result.text) == MAX_ANSWER_CHARS
    await asyncio.wait_for(asked.server.left.wait(), 5)


async def test_one_huge_piece_is_cut_too(asked: Asked) -> None:
    completion = await asked.answer(Streams(pieces=["x" * 3_000_000]))

    assert len(completion.result.text) == MAX_ANSWER_CHARS


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("<think>", "so ", "hard", "</think>", "\n\nAll ", "well."), "All well."),
        (("<th", "ink>a</th", "ink>All well."), "All well."),
        (("it came without its beginning</think>All well.",), "All well."),
        (("  \n<think></think>All well.",), "All well."),
        (("All <think> well.",), "All <think> well."),
        (
            (
                "<thin",
                " ice is dangerous.",
            ),
            "<thin ice is dangerous.",
        ),
    ],
)
async def test_thoughts_are_left_out(asked: Asked, pieces: tuple[str, ...], text: str) -> None:
    completion = await asked.answer(Streams(pieces=pieces))

    assert completion.result.text == text
    if "</think>" in "".join(pieces) and "<th" in pieces[0]:
        assert set(asked.shown) <= {"All", "All well."}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Streams(pieces=()), "the answer was empty"),
        (Streams(pieces=(" ", "\n")), "the answer was empty"),
        (Streams(pieces=("<think>still at it",), finish="length"), "the answer was empty, cut at the output limit"),
        (Streams(finish=None), "the stream ended before the answer did"),
        (Sends(body=b""), "the stream ended before the answer did"),
        (Sends(body=b'{"choices": []}', content_type="application/json"), "the stream ended before the answer did"),
        (Sends(body=b"data: {broken\n\n"), "the stream cannot be read (JSONDecodeError)"),
        (Sends(body=b"data: \xff\xfe\n\n"), "the stream cannot be read (UnicodeDecodeError)"),
        (Sends(body=b"<html>Welcome to the hotel's network</html>"), "the stream ended before the answer did"),
    ],
)
async def test_what_is_no_answer_is_a_failure(asked: Asked, answer: Answer, reason: str) -> None:
    error = await asked.failure(answer)

    assert str(error) == reason
    assert error.kind is ErrorKind.TEMPORARY


@pytest.mark.parametrize(
    "chunk",
    [
        "42",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"choices": 7}',
        '{"choices": "text"}',
        '{"choices": [7]}',
        '{"choices": [{}]}',
        '{"choices": [{"delta": null}]}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"content": ["a"]}}]}',
        '{"choices": [{"delta": {"content": "a"}, "finish_reason": {"a": 1}}]}',
        '{"choices": {"a": 1}}',
    ],
)
async def test_chunks_of_another_shape_do_no_harm(asked: Asked, chunk: str) -> None:
    asked.server.answers = [Sends(body=f"data: {chunk}\n\ndata: [DONE]\n\n".encode())]

    try:
        completion = await asked.model.complete(a_task(), on_text=asked.shown.append)
    except CompletionFailed as exc:
        tells_no_secret(exc)
    else:
        assert completion.result.text


@pytest.mark.parametrize("finish", ["content_filter"])
async def test_a_filtered_answer_is_refused(asked: Asked, finish: str) -> None:
    assert isinstance(await asked.failure(Streams(finish=finish)), CompletionRefused)


async def test_a_refusal_is_one(asked: Asked) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"refusal": "I cannot help with that."}}]}

    assert isinstance(await asked.failure(Sends(body=f"data: {json.dumps(chunk)}\n\n".encode())), CompletionRefused)


# --- parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o1", "o3", "o4-mini", "gpt-5", "gpt-5-nano", "openai/o3-mini"])
async def test_reasoning_models_are_known_by_name(asked: Asked, name: str) -> None:
    asked.use(name)
    await asked.answer()

    (sent,) = asked.server.requests
    assert sent["max_completion_tokens"] == 500 + REASONING_TOKENS
    assert not sent.keys() & {"max_tokens", "temperature"}


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-3.5-turbo", "olmo-7b", "llama3", "org/model-o3"])
async def test_others_are_not_taken_for_such(asked: Asked, name: str) -> None:
    asked.use(name)
    await asked.answer()

    assert asked.server.requests[0].keys() >= {"max_tokens", "temperature"}


async def test_a_mode_without_a_temperature_sends_none(asked: Asked) -> None:
    await asked.answer(temperature=None)

    assert "temperature" not in asked.server.requests[0]


OPENAI_REFUSES_LIMIT = Fails(
    status=400,
    code="unsupported_parameter",
    param="max_tokens",
    message="Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
)
OPENAI_REFUSES_TEMPERATURE = Fails(
    status=400,
    code="unsupported_value",
    param="temperature",
    message="Unsupported value: 'temperature' does not support 0.2 with this model.",
)


async def test_what_a_model_refuses_is_left_out_from_then_on(asked: Asked) -> None:
    asked.use("alias")

    await asked.answer(OPENAI_REFUSES_LIMIT, OPENAI_REFUSES_TEMPERATURE, Streams())
    always = {"model", "messages", "stream", "stream_options"}
    assert [sorted(sent.keys() - always) for sent in asked.server.requests] == [
        ["max_tokens", "temperature"],
        ["max_completion_tokens", "temperature"],
        ["max_completion_tokens"],
    ]

    await asked.answer(Streams())
    assert len(asked.server.requests) == 1
    assert "temperature" not in asked.server.requests[0]


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "Unrecognized request argument supplied: temperature"}}',
        '{"detail": [{"type": "extra_forbidden", "loc": ["body", "temperature"], "msg": "Extra inputs"}]}',
        '"unknown field temperature"',
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_other_servers_say_it_in_other_words(asked: Asked, status: int, body: str) -> None:
    await asked.answer(Fails(status=status, body=body), Streams())

    assert "temperature" not in asked.server.requests[1]


async def test_a_server_that_refuses_everything_is_not_asked_for_ever(asked: Asked) -> None:
    error = await asked.failure(Fails(status=400, message="unsupported: max_tokens max_completion_tokens temperature"))

    assert isinstance(error, CompletionRefused)
    assert len(asked.server.requests) == 4


async def test_a_400_about_something_else_is_not_tried_again(asked: Asked) -> None:
    long = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens."
    error = await asked.failure(Fails(status=400, code="context_length_exceeded", param="messages", message=long))

    assert isinstance(error, CompletionRefused)
    assert str(error) == "400 BadRequestError context_length_exceeded"
    assert len(asked.server.requests) == 1


# --- usage ------------------------------------------------------------------------------------------------------


async def test_what_an_answer_took_comes_with_it(asked: Asked) -> None:
    completion = await asked.answer(Streams(usage=(120, 7)))

    assert completion.usage == Usage(input_tokens=120, output_tokens=7)
    assert (await asked.answer(Streams())).usage is None


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "Unrecognized request argument supplied: stream_options"}}',
        '{"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}',
        '"stream_options: not here, please"',
    ],
)
async def test_a_server_that_does_not_tell_it_answers_all_the_same(asked: Asked, status: int, body: str) -> None:
    completion = await asked.answer(Fails(status=status, body=body), Streams())

    assert completion.result.text == "All is well."
    assert ["stream_options" in sent for sent in asked.server.requests] == [True, False]
    await asked.answer(Streams())
    assert "stream_options" not in asked.server.requests[0]


@pytest.mark.parametrize(
    "usage",
    [
        "null",
        "7",
        '"many"',
        "[1, 2]",
        "{}",
        '{"prompt_tokens": 5}',
        '{"prompt_tokens": "5", "completion_tokens": 1}',
        '{"prompt_tokens": -5, "completion_tokens": 1}',
        '{"prompt_tokens": 1.5, "completion_tokens": 1}',
        '{"prompt_tokens": 1, "completion_tokens": 1' + "0" * 40 + "}",
    ],
)
async def test_a_usage_that_is_none_does_no_harm(asked: Asked, usage: str) -> None:
    said = '{"choices": [{"index": 0, "delta": {"content": "Yes."}, "finish_reason": "stop"}]}'
    body = f'data: {said}\n\ndata: {{"choices": [], "usage": {usage}}}\n\ndata: [DONE]\n\n'

    completion = await asked.answer(Sends(body=body.encode()))

    assert (completion.result.text, completion.usage) == ("Yes.", None)


async def test_of_a_usage_that_is_told_on_and_on_the_last_one_counts(asked: Asked) -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], "usage": usage}
        for text, finish, usage in (
            ("Yes", None, {"prompt_tokens": 5, "completion_tokens": 1}),
            (".", "stop", {"prompt_tokens": 5, "completion_tokens": 2}),
        )
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)

    assert (await asked.answer(Sends(body=body.encode()))).usage == Usage(input_tokens=5, output_tokens=2)
