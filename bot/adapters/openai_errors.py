"""The errors of OpenAI's client in the terms of the core."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openai import APIConnectionError, APIError, APIStatusError, ContentFilterFinishReasonError

from bot.core.errors import CompletionFailed, CompletionRateLimited, CompletionRefused, CompletionUnavailable

if TYPE_CHECKING:
    import httpx2

_UNAVAILABLE_STATUS = frozenset({401, 402, 403, 404, 410})
_UNAVAILABLE_CODE = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "model_not_found", "model_deprecated"}
)
_RATE_LIMIT_STATUS = 429
_RATE_LIMIT_CODE = frozenset({"rate_limit_exceeded", "rate_limit_error", "tokens", "requests"})
_REFUSED_STATUS = frozenset({400, 413, 422})


def mapped(exc: Exception) -> CompletionFailed:
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
