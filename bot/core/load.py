"""How much work waits, how long new work would take to be begun, and when to take no more.

The estimate is of this process: audio that waits or is being listened to, over the speed that was measured. Past a
threshold the bot is *read-only*: what is finished is still served, new work is refused with the expected wait. It comes
back by itself at half of the threshold, so that it does not flap.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bot.core.ports import LoadEstimate

ASSUMED_SPEED: Final = 4.0
"""Seconds of audio a second, until something was measured: Whisper base on two processors."""
ASSUMED_LENGTH_S: Final = 60.0
"""Length of audio of which nobody knows it yet, in seconds."""
_WEIGHT: Final = 0.3
"""Of the newest measurement, in the moving average of the speed."""
_LEAST_LENGTH_S: Final = 2.0
"""Shorter audio says nothing of the speed: it pays for what is the same whatever the length."""
LEAVE_SHARE: Final = 0.5


class Work:
    """One piece of audio on its way through; made by `Load.work`."""

    def __init__(self, length_s: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._length_s = ASSUMED_LENGTH_S if length_s is None else length_s
        self._begun: float | None = None
        self._done = 0.0

    def known(self, length_s: float) -> None:
        """Its length turned out to be this."""
        self._length_s = length_s

    def begin(self) -> None:
        """Somebody listens to it from now on."""
        self._begun = self._clock()

    def progress(self, fraction: float) -> None:
        """So much of it is done."""
        self._done = min(max(fraction, 0.0), 1.0)

    @property
    def left_s(self) -> float:
        """Seconds of audio that are left."""
        return self._length_s * (1.0 - self._done)

    @property
    def speed(self) -> float | None:
        """Seconds of audio a second, so far; None where it tells nothing."""
        if self._begun is None:
            return None
        heard, passed = self._length_s * self._done, self._clock() - self._begun
        return heard / passed if heard >= _LEAST_LENGTH_S and passed > 0 else None


class Load:
    """Implements `LoadEstimate` for the transcriptions of this process.

    Args:
        places: how many run at the same time.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, *, places: int, clock: Callable[[], float]) -> None:
        self._places = places
        self._clock = clock
        self._under_way: list[Work] = []
        self._speed = ASSUMED_SPEED

    @property
    def speed(self) -> float:
        """Seconds of audio that one place gets through in a second."""
        return self._speed

    @property
    def waiting(self) -> int:
        """Pieces that wait or are being listened to."""
        return len(self._under_way)

    @contextmanager
    def work(self, length_s: float | None) -> Generator[Work]:
        """Count a piece of audio in, until the block ends; ``length_s`` is what is known of it."""
        work = Work(length_s, self._clock)
        self._under_way.append(work)
        try:
            yield work
        finally:
            self._under_way.remove(work)
            if (speed := work.speed) is not None:
                self._speed += _WEIGHT * (speed - self._speed)

    def expected_wait_s(self) -> float:
        """Seconds until a request that came now would be begun; 0 where a place is free."""
        if len(self._under_way) < self._places:
            return 0.0
        return sum(work.left_s for work in self._under_way) / (self._speed * self._places)


class ReadOnly:
    """Whether new work is refused.

    Args:
        load: says how long new work would wait.
        enter_s: expected wait from which new work is refused; below half of it, it is taken again.
    """

    def __init__(self, load: LoadEstimate, *, enter_s: float) -> None:
        self._load = load
        self._enter_s = enter_s
        self._on = False

    def look(self) -> float | None:
        """The expected wait in seconds while new work is refused; None while it is taken."""
        wait_s = self._load.expected_wait_s()
        self._on = wait_s >= (self._enter_s * LEAVE_SHARE if self._on else self._enter_s)
        return wait_s if self._on else None
