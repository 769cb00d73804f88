"""A circuit breaker (Nygard, "Release It!", 2007): a server that does not answer is not asked again by everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 2
"""Silent calls in a row after which a server counts as gone. One may be a hiccup of this process."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 4.0


class Breaker:
    """Lets calls through while the server answers, then one now and then to see whether it is back.

    Args:
        name: of what is behind it, for its errors.
        clock: seconds on a clock that never goes back.
        on_change: told once when the server is gone, with why, and once when it is back, with None.
    """

    def __init__(self, name: str, *, clock: Callable[[], float], on_change: Callable[[str | None], None]) -> None:
        self._name = name
        self._clock = clock
        self._on_change = on_change
        self._silent = 0
        self._why: str | None = None
        self._wait_s = FIRST_WAIT_S
        self._next_try = 0.0
        self._failed_at = float("-inf")

    @property
    def why(self) -> str | None:
        """Why calls are refused; None while they are let through."""
        return self._why

    def check(self) -> float:
        """Let a call through, or refuse it; gives the time at which it begins.

        Raises:
            StoreUnavailable: the server is gone, and somebody else sees, or has just seen, whether it is back.
        """
        now = self._clock()
        if self._why is not None:
            if now < self._next_try:
                raise StoreUnavailable(f"{self._name}: {self._why}")
            self._next_try = now + self._wait_s  # this call is the one that sees
        return now

    def succeeded(self) -> None:
        """A call was answered."""
        self._silent = 0
        if self._why is not None:
            self._why, self._wait_s = None, FIRST_WAIT_S
            self._on_change(None)

    def failed(self, why: str, *, at_once: bool, began: float = float("inf")) -> None:
        """A call was not answered.

        Args:
            why: in a few words.
            at_once: there is nobody to answer, rather than silence.
            began: what `check` gave for it. One that was under way when another failed says nothing new: a hiccup of
                this process strikes all at once.
        """
        if began < self._failed_at and not (at_once and self._why is None):
            return
        self._failed_at = self._clock()
        if self._why is not None:
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            self._next_try = self._failed_at + self._wait_s
            return
        self._silent += 1
        if at_once or self._silent >= PATIENCE:
            self._why = why
            self._next_try = self._failed_at + self._wait_s
            self._on_change(why)
