"""How attempts ended, for a bot whose one process is all there is."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from bot.core.stage_health import MINUTE_S, Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class InProcessStageCounts:
    """`bot.core.ports.StageCounts`.

    Args:
        now: Unix time in seconds.
        keep_s: how long a minute's counts are kept, in seconds.
    """

    def __init__(self, *, now: Callable[[], float], keep_s: float) -> None:
        self._now = now
        self._keep_s = keep_s
        self._minutes: defaultdict[int, dict[str, dict[Attempt, int]]] = defaultdict(dict)

    async def put(self, process: str, minutes: Mapping[int, Mapping[Attempt, int]]) -> None:
        """What ``process`` has counted in these minutes so far."""
        for minute, counts in minutes.items():
            self._minutes[minute][process] = dict(counts)

    async def read(self, minutes: Iterable[int]) -> dict[int, Mapping[Attempt, int]]:
        """What all have counted in each of these minutes."""
        over = (self._now() - self._keep_s) // MINUTE_S
        for minute in [minute for minute in self._minutes if minute < over]:
            del self._minutes[minute]
        found: dict[int, Mapping[Attempt, int]] = {}
        for minute in minutes:
            total = found[minute] = Counter[Attempt]()
            for counts in self._minutes.get(minute, {}).values():
                total.update(counts)
        return found
