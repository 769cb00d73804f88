"""What the child gives up before it touches a file: the parts that every POSIX system has, and Linux's own."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from bot.adapters.decoder import seccomp

if TYPE_CHECKING:
    from bot.adapters.decoder.report import Orders

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 16
_BYTES_PER_SAMPLE = 4
_NICENESS = 10
"""Members are to be answered first; what they posted can wait a moment."""
_CPU_GRACE_S = 5
"""Between SIGXCPU, which the parent recognises, and SIGKILL."""
_SLACK_BYTES = 16 << 20
"""What the decoder may write beyond the longest audio before it notices."""


def confine(orders: Orders) -> bool:
    """Limit this process, for good; everything it needs must be imported and open.

    Returns:
        Whether system calls are filtered as well. Limits that a system does not know are left out (macOS has no use
        for ``RLIMIT_AS``); the number of processes is not limited by ``RLIMIT_NPROC``, which counts everything that
        runs under the same user, but by the filter.
    """
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, orders.cpu_s, grace=_CPU_GRACE_S)
    _limit(resource.RLIMIT_AS, orders.memory_bytes)
    _limit(resource.RLIMIT_FSIZE, orders.max_samples * _BYTES_PER_SAMPLE + _SLACK_BYTES)
    _limit(resource.RLIMIT_NOFILE, max(_OPEN_FILES, orders.sink_fd + 1))
    if sys.platform != "linux":
        return False
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != orders.parent_pid:
        sys.exit("the parent is gone")
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return seccomp.install()


def _limit(what: int, value: int, *, grace: int = 0) -> None:
    """Set a limit, or keep a lower one that is in force already; the hard limit lies ``grace`` above."""
    _, highest = resource.getrlimit(what)
    soft, hard = value, value + grace
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (soft, hard))
