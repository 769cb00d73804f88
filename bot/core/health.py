"""Whether the parts of the process are well, and since when."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class State(StrEnum):
    """Only ``failed`` and ``starting`` keep a process from being ready; ``degraded`` says that it does less."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """How one part is; ``since`` is a Unix time in seconds."""

    state: State
    since: float
    detail: str = ""


class Health:
    """What the parts of this process last said of themselves."""

    def __init__(self, parts: tuple[str, ...], now: Callable[[], float]) -> None:
        self._now = now
        self._parts = {part: PartHealth(state=State.STARTING, since=now()) for part in parts}

    def report(self, part: str, state: State, detail: str = "") -> None:
        """Take note; ``since`` moves only when the state changes."""
        known = self._parts[part]
        since = known.since if known.state is state else self._now()
        self._parts[part] = PartHealth(state=state, since=since, detail=detail)

    @property
    def parts(self) -> Mapping[str, PartHealth]:
        """All parts by name."""
        return dict(self._parts)

    @property
    def ready(self) -> bool:
        """Whether every part works."""
        return all(part.state in {State.OK, State.DEGRADED} for part in self._parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A figure of this process, for its operator; counters only grow."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    value: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
