"""What every way into the spool has in common: how much may come, and what is said when it is too much."""

from __future__ import annotations

from bot.core.errors import AudioTooLarge

_MIB = 1 << 20


def check_size(size: int | None, *, max_bytes: int, found: str) -> None:
    """Refuse what is larger than the limit.

    Args:
        size: in bytes, None where nobody knows yet.
        max_bytes: the limit.
        found: where the size comes from, for the log.

    Raises:
        AudioTooLarge: it is larger.
    """
    if size is not None and size > max_bytes:
        raise AudioTooLarge(f"{found}: {size} bytes", limit_mb=max_bytes / _MIB)
