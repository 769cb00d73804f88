"""A program for `test_decoder_confinement`: it confines itself as the decoder's child does, and tries to break out.

Its argument are the orders as JSON. It prints, as JSON, whether system calls are filtered and what came of each try:
``"done"`` or the name of the error.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.decoder.report import Orders
from bot.adapters.decoder.sandbox import confine

if TYPE_CHECKING:
    from collections.abc import Callable

_PTRACE_ATTACH = 16


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _raise_the_limit_on_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _fill_memory() -> None:
    bytearray(1 << 31)


def _write_too_much(fd: int) -> None:
    os.lseek(fd, 1 << 32, os.SEEK_SET)
    os.write(fd, b"x")


def _tries(orders: Orders) -> dict[str, Callable[[], object]]:
    parent, sink = orders.parent_pid, orders.sink_fd
    return {
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open("stolen", os.O_WRONLY | os.O_CREAT),
        "delete a file": lambda: Path("here").unlink(),
        "list a folder": lambda: os.scandir("/"),
        "connect": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "connect locally": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "start a process": _fork,
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "start a thread": threading.Thread(target=int).start,
        "signal the parent": lambda: os.kill(parent, 0),
        "trace the parent": lambda: _call("ptrace", _PTRACE_ATTACH, parent, 0, 0),
        "raise a limit": _raise_the_limit_on_memory,
        "fill the memory": _fill_memory,
        "write too much": lambda: _write_too_much(sink),
        "write a little": lambda: (os.lseek(sink, 0, os.SEEK_SET), os.write(sink, b"fine")),
    }


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, "?")
    except (MemoryError, RuntimeError, ValueError) as exc:
        return type(exc).__name__
    return "done"


def main() -> None:
    """Confine, try everything, print."""
    orders = Orders(**json.loads(sys.argv[1]))
    tries = _tries(orders)
    filtered = confine(orders)
    outcomes = {name: _outcome(attempt) for name, attempt in tries.items()}
    sys.stdout.write(json.dumps({"filtered": filtered, "outcomes": outcomes}))


if __name__ == "__main__":
    main()
