"""Every request that the bot made of the HTTP API, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.simulator.routes import check_known

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(eq=False, kw_only=True)
class LoggedRequest:
    """One request.

    Attributes:
        at: when it arrived, `time.monotonic` seconds; ``answered_at`` likewise.
        template: the route, ``/channels/{channel_id}/messages``; empty where there is none.
        files: names and sizes in bytes of what was uploaded.
        status: of the answer; None while there is none, or where the connection was cut.
    """

    at: float
    method: str
    path: str
    template: str = ""
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    files: Mapping[str, int] = field(default_factory=dict[str, int])
    status: int | None = None
    answer: Any = None
    answered_at: float | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} → {self.status}"


class RequestLog:
    """All requests, in the order of their arrival."""

    def __init__(self) -> None:
        self.all: list[LoggedRequest] = []

    def matching(self, method: str | None = None, template: str | None = None) -> list[LoggedRequest]:
        """The requests of a method and a route (``"/channels/{channel_id}/messages"``).

        Raises:
            ValueError: there is no such route.
        """
        check_known(method, template)
        return [r for r in self.all if method in {None, r.method} and template in {None, r.template}]

    def gaps(self, requests: list[LoggedRequest]) -> list[float]:
        """Seconds between one arrival and the next."""
        return [later.at - earlier.at for earlier, later in pairwise(requests)]
