"""Faults of the HTTP API that a test orders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.simulator.routes import check_known

Condition: TypeAlias = Callable[[Any], bool]


def _any_body(_: object) -> bool:
    return True


@dataclass(eq=False, kw_only=True)
class Fault:
    """What happens to the next ``times`` requests of a route.

    Attributes:
        status: answered instead of the real answer; 429 carries ``retry_after_s``. None: the real answer.
        delay_s: waited before anything else, in seconds.
        drop: the connection is cut instead of an answer; the request has not been carried out.
        lose_answer: the request is carried out, then the connection is cut.
        only: whether it happens to a request with that JSON body; to every one by default.
    """

    method: str
    template: str
    times: int
    status: int | None = None
    retry_after_s: float = 0.0
    of_all: bool = False
    delay_s: float = 0.0
    drop: bool = False
    lose_answer: bool = False
    only: Condition = _any_body


class Faults:
    """The faults that are ordered and not yet used up."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def order(self, fault: Fault) -> Fault:
        """Let it happen.

        Raises:
            ValueError: there is no such route.
        """
        check_known(fault.method, fault.template)
        self._ordered.append(fault)
        return fault

    def rate_limit(
        self, method: str, template: str, *, times: int = 1, retry_after_s: float = 0.2, of_all: bool = False
    ) -> Fault:
        """Answer 429."""
        return self.order(
            Fault(
                method=method,
                template=template,
                times=times,
                status=429,
                retry_after_s=retry_after_s,
                of_all=of_all,
            )
        )

    def fail(
        self, method: str, template: str, *, status: int = 500, times: int = 1, only: Condition = _any_body
    ) -> Fault:
        """Answer with an error of the server."""
        return self.order(Fault(method=method, template=template, times=times, status=status, only=only))

    def delay(self, method: str, template: str, *, seconds: float, times: int = 1) -> Fault:
        """Answer late."""
        return self.order(Fault(method=method, template=template, times=times, delay_s=seconds))

    def drop(
        self, method: str, template: str, *, times: int = 1, carried_out: bool = False, only: Condition = _any_body
    ) -> Fault:
        """Cut the connection, before or after the request is carried out."""
        return self.order(
            Fault(
                method=method,
                template=template,
                times=times,
                drop=not carried_out,
                lose_answer=carried_out,
                only=only,
            )
        )

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._ordered.clear()

    def take(self, method: str, template: str, body: object) -> Fault | None:
        """The fault for this request, by its JSON body, if there is one."""
        for fault in self._ordered:
            if (fault.method, fault.template) == (method, template) and fault.only(body):
                fault.times -= 1
                if not fault.times:
                    self._ordered.remove(fault)
                return fault
        return None
