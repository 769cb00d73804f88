"""How long is waited for a server, and what is said when it does not come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited, in seconds.

    Args:
        start_s: until a server answers.
        loading_s: until it has read what it kept, while it answers that it is at it.
        stop_s: until it has ended; then it is killed.
        unreachable_s: until one that lives without a socket is ended: whatever cleans folders has deleted it.
        watch_s: until it is seen again whether they live.
    """

    start_s: float = 10.0
    loading_s: float = 60.0
    stop_s: float = 10.0
    unreachable_s: float = 2.0
    watch_s: float = 1.0

    @property
    def lock_s(self) -> float:
        """Until another process has started or stopped the servers."""
        return self.loading_s + 4 * self.stop_s


class EmbeddedRedisFailed(Exception):
    """A server could not be started; the text is one sentence for the operator, and names its log."""
