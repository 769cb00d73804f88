"""A link of the chain that asks a server which speaks OpenAI's chat completions: OpenAI itself, or any other.

Protocol: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import httpx2
from openai import (
    APIStatusError,
    AsyncOpenAI,
    BadRequestError,
    OpenAIError,
    UnprocessableEntityError,
    omit,
)

from bot.adapters.openai_errors import mapped
from bot.core.completion import Completion, Form
from bot.core.errors import CompletionFailed, CompletionRefused
from bot.core.models import ModeResult, Note, NoteKey
from bot.core.spending import Usage
from bot.core.structured import FormRefused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk

    from bot.core.completion import CompletionTask
    from bot.core.modes import ModelBlock

OPENAI_URL: Final = "https://api.openai.com/v1"

MAX_ANSWER_CHARS = 131_072
"""Where reading stops, thoughts included: 32,000 tokens, the most that a mode may ask for, of four characters each."""

REASONING_TOKENS = 8_000
"""Added to ``max_completion_tokens``, which counts a reasoning model's thoughts though nobody sees them."""

_CONNECT_S = 10.0

_REASONING_NAME = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])")

_ADAPTABLE = ("max_completion_tokens", "max_tokens", "temperature", "stream_options")
_REFUSES_PARAMETER = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not permitted", re.IGNORECASE
)

_REFUSES_FORM = re.compile(r"response_format|json[_ ](?:schema|object|mode|validate)|parse grammar", re.IGNORECASE)
"""Groq says ``json_validate_failed`` where its model makes no JSON; the last is llama.cpp's."""

_MOST_TOKENS = 1 << 40
"""More of them were never used: a server that says so counts wrongly."""

_THINK_OPEN = "<think>"
_THINK_CLOSE = "</think>"


def reasons(model: str) -> bool:
    """Whether a model thinks before it speaks, as far as its name tells."""
    return _REASONING_NAME.match(model) is not None


def openai_client(api_key: str | None, base_url: str | None, *, silence_s: float = 60.0) -> AsyncOpenAI:
    """Make the client that all links to one server share; its owner closes it.

    It never retries: trying again is the chain's policy. A server of one's own often needs no key, so with
    ``base_url`` alone a stand-in is sent. Whoever has neither should have no such links: OpenAI answers none of them.

    Args:
        api_key: sent as a bearer token.
        base_url: up to and with ``/v1``; OpenAI's own if None.
        silence_s: how long the server may be silent, in seconds. The limit of a whole answer is the chain's.
    """
    return AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or OPENAI_URL,
        max_retries=0,
        timeout=httpx2.Timeout(silence_s, connect=min(silence_s, _CONNECT_S)),
    )


class OpenAIChatModel:
    """One model of an OpenAI-compatible server.

    Models differ in the parameters that they take. What a name tells is used at once: reasoning models take no
    ``temperature``, and ``max_completion_tokens`` for ``max_tokens``. What a server refuses is left out from then on.

    Args:
        client: made by `openai_client`.
        model: the server's name of the model.
        name: the link's in the chain; the model's if None.
        reasoning: whether it thinks before it speaks; by its name if None.
    """

    def __init__(
        self, client: AsyncOpenAI, model: str, *, name: str | None = None, reasoning: bool | None = None
    ) -> None:
        self._client = client
        self._model = model
        self._name = name or model
        thinks = reasons(model) if reasoning is None else reasoning
        self._refused: set[str] = {"temperature", "max_tokens"} if thinks else set()

    @property
    def name(self) -> str:
        """As it stands in the chain."""
        return self._name

    @property
    def cacheable(self) -> bool:
        """Its answers cost time and money."""
        return True

    async def complete(self, task: CompletionTask, *, on_text: Callable[[str], None]) -> Completion:
        """Stream an answer to ``task``'s prompt.

        Thoughts between ``<think>`` and ``</think>``, as local reasoning models give them, are left out. Of a schema,
        only what ``task.form`` can say of it is sent; the prompt has the rest.

        Raises:
            FormRefused: the server does not take ``task.form``.
            CompletionFailed: there is no usable answer. Its text never holds what the server said, which may repeat
                the key or members' words.
        """
        answer = _Answer()
        async with aclosing(self._growing(answer, task)) as growing:
            async for text in growing:
                on_text(text)
        on_text(answer.text)
        notes = (Note(key=NoteKey.RESULT_CUT),) if answer.cut else ()
        result = ModeResult(format="markdown", text=answer.text)
        return Completion(model=self._name, result=result, notes=notes, usage=answer.usage)

    async def _growing(self, answer: _Answer, task: CompletionTask) -> AsyncGenerator[str, None]:
        """Fill ``answer`` and yield its text whenever there is more; vendors' errors end here."""
        try:
            async with await self._open(task) as stream:
                async for chunk in stream:
                    if answer.add(chunk):
                        yield answer.text
                    if answer.full:
                        break
        # Not "from exc": a log would show the server's answer, and the request with the key and what was said.
        except (OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as exc:
            raise mapped(exc) from None
        # JSON or UTF-8 that is none, or too deep; chunks of another shape, which the client does not check.
        except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as exc:
            raise CompletionFailed(f"the stream cannot be read ({type(exc).__name__})") from None
        answer.check()

    async def _open(self, task: CompletionTask) -> AsyncStream[ChatCompletionChunk]:
        while True:
            sent = self._parameters(task.mode.model) | _response_format(task)
            try:
                return await self._client.chat.completions.create(
                    model=self._model,
                    messages=[
                        {"role": "system", "content": task.prompt.system},
                        {"role": "user", "content": task.prompt.user},
                    ],
                    stream=True,
                    max_completion_tokens=sent.get("max_completion_tokens", omit),
                    max_tokens=sent.get("max_tokens", omit),
                    temperature=sent.get("temperature", omit),
                    stream_options=sent.get("stream_options", omit),
                    response_format=sent.get("response_format", omit),
                )
            except (BadRequestError, UnprocessableEntityError) as exc:
                refused = _refused_parameter(exc, sent)
                if refused is None and "response_format" in sent and _REFUSES_FORM.search(_words(exc)):
                    raise FormRefused(f"{exc.status_code}, {task.form} is not taken") from None
                if refused is None:
                    raise
                self._refused.add(refused)

    def _parameters(self, model: ModelBlock) -> dict[str, Any]:
        """What the model takes, as far as is known. Each refusal makes it shorter, so `_open` comes to an end."""
        limits = {
            "max_tokens": model.max_output_tokens,
            "max_completion_tokens": model.max_output_tokens + REASONING_TOKENS,
        }
        name = next((name for name in limits if name not in self._refused), None)
        parameters: dict[str, Any] = {name: limits[name]} if name else {}
        if model.temperature is not None and "temperature" not in self._refused:
            parameters["temperature"] = model.temperature
        if "stream_options" not in self._refused:
            parameters["stream_options"] = {"include_usage": True}
        return parameters


class _Answer:
    """An answer while it comes in."""

    def __init__(self) -> None:
        self.text = ""
        self.usage: Usage | None = None
        self._raw = ""
        self._finish: str | None = None

    @property
    def full(self) -> bool:
        """Whether more of it is not worth reading."""
        return len(self._raw) >= MAX_ANSWER_CHARS

    @property
    def cut(self) -> bool:
        """Whether it ends before the model had said all."""
        return self._finish == "length" or self.full

    def add(self, chunk: ChatCompletionChunk) -> bool:
        """Take in ``chunk``; True if there is more to show.

        Raises:
            CompletionRefused: the model refuses to answer.
        """
        self.usage = _usage(chunk) or self.usage  # the newest: some count on from chunk to chunk
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        if choice.delta.refusal:
            raise CompletionRefused("the model refuses to answer")
        self._finish = choice.finish_reason or self._finish
        self._raw = (self._raw + (choice.delta.content or ""))[:MAX_ANSWER_CHARS]
        before, self.text = self.text, _without_thoughts(self._raw)
        return self.text not in ("", before)

    def check(self) -> None:
        """See whether this is an answer, now that the stream has ended.

        Raises:
            CompletionFailed: it is none.
        """
        if self._finish == "content_filter":
            raise CompletionRefused("the answer was filtered")
        if self._finish is None and not self.cut:
            raise CompletionFailed("the stream ended before the answer did")
        if not self.text:
            raise CompletionFailed("the answer was empty" + (", cut at the output limit" if self.cut else ""))


def _without_thoughts(raw: str) -> str:
    """What is to be shown of ``raw``. Some servers swallow the opening mark, so the closing one alone counts too."""
    _, closed, answer = raw.partition(_THINK_CLOSE)
    if closed:
        return answer.strip()
    answer = raw.strip()
    return "" if answer.startswith(_THINK_OPEN) or _THINK_OPEN.startswith(answer) else answer


def _usage(chunk: ChatCompletionChunk) -> Usage | None:
    """What a chunk says of the tokens; nothing of it was checked by the client."""
    given: tuple[object, ...] = tuple(
        getattr(chunk.usage, name, None) for name in ("prompt_tokens", "completion_tokens")
    )
    match given:
        case (int(read), int(written)) if 0 <= read < _MOST_TOKENS and 0 <= written < _MOST_TOKENS:
            return Usage(input_tokens=read, output_tokens=written)
        case _:
            return None


def _response_format(task: CompletionTask) -> dict[str, Any]:
    if task.schema is None or task.form is Form.TEXT:
        return {}
    if task.form is Form.JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "answer", "schema": task.schema.definition, "strict": task.schema.is_strict}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _words(exc: APIStatusError) -> str:
    return f"{exc.code} {exc.param} {exc.message} {exc.body}"


def _refused_parameter(exc: APIStatusError, sent: dict[str, Any]) -> str | None:
    """The parameter that a 400 or 422 complains of, if it is one that can be left out."""
    words = _words(exc)
    if "stream_options" in sent and "stream_options" in words:  # never missed, whatever the words
        return "stream_options"
    if not _REFUSES_PARAMETER.search(words):
        return None
    return next((name for name in _ADAPTABLE if name in sent and (name == exc.param or name in words)), None)
