"""Rate limits: buckets with headers, and the global one.

Source: https://discord.com/developers/docs/topics/rate-limits
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator.routes import check_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.clock import Clock
    from tests.simulator.payloads import Json

_MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: float


DEFAULT = Limit(requests=50, seconds=1.0)
GLOBAL = Limit(requests=50, seconds=1.0)

_USUAL: dict[tuple[str, str], Limit] = {
    ("POST", "/channels/{channel_id}/messages"): Limit(requests=5, seconds=5.0),
    ("PATCH", "/channels/{channel_id}/messages/{message_id}"): Limit(requests=5, seconds=5.0),
    ("DELETE", "/channels/{channel_id}/messages/{message_id}"): Limit(requests=5, seconds=1.0),
    ("POST", "/webhooks/{webhook_id}/{webhook_token}"): Limit(requests=5, seconds=2.0),
    ("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"): Limit(requests=5, seconds=5.0),
    ("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"): Limit(requests=5, seconds=5.0),
}
"""Discord does not publish figures; these are what its answers usually say."""


@dataclass(slots=True)
class _Bucket:
    limit: Limit
    used: int = 0
    resets_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass, and the headers of its answer. ``retry_after_s`` is set where it may not."""

    headers: Mapping[str, str]
    retry_after_s: float | None = None
    of_all: bool = False

    def body(self) -> Json:
        """The body of the 429."""
        return {
            "message": "You are being rate limited.",
            "retry_after": round(self.retry_after_s or 0.0, 3),
            "global": self.of_all,
            "code": 0,
        }


class RateLimits:
    """The buckets. ``hits`` counts the 429s that they gave."""

    def __init__(self, clock: Clock) -> None:
        self.hits = 0
        self._clock = clock
        self._limits = dict(_USUAL)
        self._buckets: dict[tuple[str, ...], _Bucket] = {}
        self._global = _Bucket(GLOBAL)

    def set(self, method: str, template: str, *, requests: int, seconds: float) -> None:
        """Limit a route, for each channel, guild or token it names.

        Raises:
            ValueError: there is no such route.
        """
        check_known(method, template)
        self._limits[method, template] = Limit(requests=requests, seconds=seconds)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[:2] != (method, template)}

    def check(self, method: str, template: str, params: Mapping[str, str]) -> Verdict:
        """Count a request."""
        if not template.startswith(("/interactions", "/webhooks")):  # those are exempt from the global limit
            wait = self._take(self._global)
            if wait is not None:
                self.hits += 1
                return refusal(wait, of_all=True)
        key = (method, template, *(params[name] for name in _MAJOR if name in params))
        bucket = self._buckets.setdefault(key, _Bucket(self._limits.get((method, template), DEFAULT)))
        wait = self._take(bucket)
        headers = self._headers(bucket, method, template)
        if wait is None:
            return Verdict(headers=headers)
        self.hits += 1
        return Verdict(headers={**headers, **refusal(wait).headers}, retry_after_s=wait)

    def _take(self, bucket: _Bucket) -> float | None:
        """Use one request; the seconds to wait where there is none left."""
        now = self._clock.monotonic()
        if now >= bucket.resets_at:
            bucket.used, bucket.resets_at = 0, now + bucket.limit.seconds
        if bucket.used >= bucket.limit.requests:
            return bucket.resets_at - now
        bucket.used += 1
        return None

    def _headers(self, bucket: _Bucket, method: str, template: str) -> dict[str, str]:
        after = max(0.0, bucket.resets_at - self._clock.monotonic())
        return {
            "X-RateLimit-Limit": str(bucket.limit.requests),
            "X-RateLimit-Remaining": str(bucket.limit.requests - bucket.used),
            "X-RateLimit-Reset": f"{self._clock.now().timestamp() + after:.3f}",
            "X-RateLimit-Reset-After": f"{after:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(f"{method} {template}".encode()).hexdigest()[:32],
        }


def refusal(retry_after_s: float, *, of_all: bool = False) -> Verdict:
    """A 429. ``Via`` tells Discord's own from those of the network before it; clients look for it."""
    headers = {
        "Retry-After": str(math.ceil(retry_after_s)),
        "X-RateLimit-Scope": "global" if of_all else "user",
        "Via": "1.1 google",
    }
    if of_all:
        headers["X-RateLimit-Global"] = "true"
    return Verdict(headers=headers, retry_after_s=retry_after_s, of_all=of_all)
