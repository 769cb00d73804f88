"""A link of the chain that asks a server which speaks OpenAI's chat completions: OpenAI itself, or any other.

Protocol: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import httpx2
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncOpenAI,
    BadRequestError,
    ContentFilterFinishReasonError,
    OpenAIError,
    UnprocessableEntityError,
    omit,
)

from bot.core.completion import Completion
from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable
from bot.core.models import ModeResult, Note, NoteKey

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

_ADAPTABLE = ("max_completion_tokens", "max_tokens", "temperature")
_REFUSES_PARAMETER = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not permitted", re.IGNORECASE
)

_UNAVAILABLE_STATUS = frozenset({401, 402, 403, 404, 410})
_UNAVAILABLE_CODE = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "model_not_found", "model_deprecated"}
)
_RATE_LIMIT_STATUS = 429
_RATE_LIMIT_CODE = frozenset({"rate_limit_exceeded", "rate_limit_error", "tokens", "requests"})
_REFUSED_STATUS = frozenset({400, 413, 422})

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

        Thoughts between ``<think>`` and ``</think>``, as local reasoning models give them, are left out.

        Raises:
            CompletionFailed: there is no usable answer. Its text never holds what the server said, which may repeat
                the key or members' words.
        """
        answer = _Answer()
        async with aclosing(self._growing(answer, task)) as growing:
            async for text in growing:
                on_text(text)
        on_text(answer.text)
        notes = (Note(key=NoteKey.RESULT_CUT),) if answer.cut else ()
        return Completion(model=self._name, result=ModeResult(format="markdown", text=answer.text), notes=notes)

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
            raise _mapped(exc) from None
        # JSON or UTF-8 that is none, or too deep; chunks of another shape, which the client does not check.
        except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as exc:
            raise CompletionFailed(f"the stream cannot be read ({type(exc).__name__})") from None
        answer.check()

    async def _open(self, task: CompletionTask) -> AsyncStream[ChatCompletionChunk]:
        while True:
            sent = self._parameters(task.mode.model)
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
                )
            except (BadRequestError, UnprocessableEntityError) as exc:
                refused = _refused_parameter(exc, sent)
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
        return parameters


class _Answer:
    """An answer while it comes in."""

    def __init__(self) -> None:
        self.text = ""
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


def _refused_parameter(exc: APIStatusError, sent: dict[str, Any]) -> str | None:
    """The parameter that a 400 or 422 complains of, if it is one that can be left out."""
    words = f"{exc.code} {exc.message} {exc.body}"
    if not _REFUSES_PARAMETER.search(words):
        return None
    return next((name for name in _ADAPTABLE if name in sent and (name == exc.param or name in words)), None)


# --- errors -----------------------------------------------------------------------------------------------------


def _mapped(exc: Exception) -> CompletionFailed:
    """``exc`` in the terms of the core. Only its class, status and code are told, never its message."""
    if isinstance(exc, APIStatusError):
        return _mapped_status(exc)
    if isinstance(exc, ContentFilterFinishReasonError):
        return CompletionRefused("the answer was filtered")
    if isinstance(exc, APIError) and not isinstance(exc, APIConnectionError):
        return _mapped_code(exc)
    origin = f" from {type(exc.__cause__).__name__}" if exc.__cause__ else ""
    return CompletionFailed(f"{type(exc).__name__}{origin}")


def _mapped_status(exc: APIStatusError) -> CompletionFailed:
    code = _code(exc)
    detail = " ".join(part for part in (str(exc.status_code), type(exc).__name__, code) if part)
    if exc.status_code in _UNAVAILABLE_STATUS or code in _UNAVAILABLE_CODE:
        return CompletionUnavailable(detail)
    if exc.status_code == _RATE_LIMIT_STATUS:
        wait_s = _retry_after(exc.response.headers)
        return CompletionRateLimited(detail) if wait_s is None else CompletionRateLimited(detail, retry_after_s=wait_s)
    if exc.status_code in _REFUSED_STATUS:
        return CompletionRefused(detail)
    return CompletionFailed(detail)


def _mapped_code(exc: APIError) -> CompletionFailed:
    """An error without a status of its own: one that the stream brings after a good beginning."""
    code = _code(exc)
    detail = f"{type(exc).__name__} {code}".strip()
    if code in _UNAVAILABLE_CODE:
        return CompletionUnavailable(detail)
    return CompletionRateLimited(detail) if code in _RATE_LIMIT_CODE else CompletionFailed(detail)


def _code(exc: APIError) -> str:
    """The provider's code if it looks like one; a key, or a sentence, does not."""
    code = exc.code or exc.type or ""
    return code if re.fullmatch(r"[a-z_]{1,40}", code) else ""


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the provider asks to wait; None where it does not say so in a number."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
