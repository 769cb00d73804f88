"""What the simulator itself sends, held against Discord's schemas.

The checks are put off until somebody asks: they take milliseconds each, which would count as latency of the bot.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.contracts import Contracts
    from tests.simulator.payloads import Json


class Audit:
    """Notes events and answers now, checks them later. Without schemas it does nothing."""

    def __init__(self, contracts: Contracts | None) -> None:
        self._contracts = contracts
        self._events: deque[Json] = deque()
        self._answers: deque[tuple[str, str, int, object]] = deque()
        self._found: list[str] = []

    def event(self, payload: Json) -> None:
        """Note something that went over the gateway."""
        if self._contracts is not None:
            self._events.append(payload)

    def answer(self, method: str, template: str, status: int, body: object) -> None:
        """Note an answer of the HTTP API."""
        if self._contracts is not None:
            self._answers.append((method, template, status, body))

    def report(self, failure: str) -> None:
        """Note that something in the simulator failed."""
        self._found.append(failure)

    def findings(self) -> list[str]:
        """Check what was noted since the last time; gives all that was ever found."""
        if self._contracts is not None:
            while self._events:
                payload = self._events.popleft()
                for problem in self._contracts.received(payload):
                    self._found.append(f"{payload['t'] or payload['op']}: {problem} in {payload['d']}")
            while self._answers:
                method, template, status, body = self._answers.popleft()
                for problem in self._contracts.answer(method, template, status=status, body=body):
                    self._found.append(f"{method} {template} → {status}: {problem} in {body}")
        return self._found
