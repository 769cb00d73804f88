"""The folders and locks by which processes agree on whose servers run."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from bot.adapters.embedded_redis.failures import EmbeddedRedisFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PRIVATE: Final = 0o700
POLL_S: Final = 0.02
_LONGEST_SOCKET: Final = 100
"""Bytes of a socket's path: the kernel's limit is 107 (unix(7)), 103 on macOS."""


def private_folder(folder: Path) -> Path:
    """Make a folder that is its owner's alone; gives its absolute path."""
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE)  # the umask does not decide, nor does whoever made it
    return folder.resolve()


def socket_folder(folder: Path) -> Path:
    """Where the sockets lie: in ``folder``, or if its path is too long for one, in a short one that is as private.

    It is named by the hash of the path, so that all who share the folder find it, and a copy of the folder does not.
    """
    if len(os.fsencode(folder / "store.sock")) <= _LONGEST_SOCKET:
        return folder
    short = Path("/tmp") / f"earshot-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108
    short.mkdir(mode=PRIVATE, exist_ok=True)
    found = short.lstat()
    if found.st_uid != os.geteuid() or found.st_mode != stat.S_IFDIR | PRIVATE:
        raise EmbeddedRedisFailed(f"{short} should be for sockets, and is somebody else's: delete it")
    return short


def try_lock(file: BinaryIO, kind: int) -> bool:
    """Take a lock of flock(2) if it can be had at once; whether it was."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def exclusive(path: Path, within_s: float) -> AsyncGenerator[None]:
    """Hold a lock on ``path`` for as long as the block runs.

    Raises:
        EmbeddedRedisFailed: another process held it for ``within_s`` seconds.
    """
    with path.open("ab") as file:
        try:
            async with asyncio.timeout(within_s):
                while not try_lock(file, fcntl.LOCK_EX):  # noqa: ASYNC110 - another process tells of no event
                    await asyncio.sleep(POLL_S)
        except TimeoutError as exc:
            raise EmbeddedRedisFailed(f"another process holds {path}") from exc
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
