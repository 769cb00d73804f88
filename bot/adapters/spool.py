"""The spool: a private folder where audio lies while it is worked on.

Nothing that a member named becomes a path: a file is called by the hash of its bytes and a unique suffix. A file is
written as a draft and gets its name when it is whole, so that whoever sees a named file sees all of it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from loguru import logger

from bot.core.errors import SpoolFailed, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bot.core.models import DecodedAudio, FetchedAudio

_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HASH = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(r"draft-[0-9a-f]{32}|[0-9a-f]{64}-[0-9a-f]{32}")
"""The names that the spool gives; nothing else in its folder is ever deleted."""

MIB = 1 << 20


class Draft:
    """A file of the spool while it is written. Not for several writers at a time.

    Made by `FileSpool.draft`. Closing waits for a write that is under way in another thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = sha256()
        self._size = 0
        self._kept = False
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE)
        self._file = os.fdopen(fd, "wb")

    @property
    def size(self) -> int:
        """Bytes written through `write`."""
        return self._size

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes written through `write`."""
        return self._digest.hexdigest()

    def fileno(self) -> int:
        """The descriptor, for a child process that writes the file in our place."""
        return self._file.fileno()

    def write(self, data: bytes) -> None:
        """Append ``data``; it blocks on the disk.

        Raises:
            SpoolFull, SpoolFailed: the disk has no room, or does not work.
        """
        with _disk_errors_told():
            self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def keep(self, digest: str) -> Path:
        """Name the file after ``digest`` and keep it beyond its draft.

        Args:
            digest: hexadecimal SHA-256 of the encoded audio that the file is, or was made from.

        Raises:
            SpoolFull, SpoolFailed: the disk has no room for what was still buffered, or does not work.
        """
        if _HASH.fullmatch(digest) is None:
            msg = "a file of the spool is named by a SHA-256 digest"
            raise ValueError(msg)
        path = self._path.with_name(f"{digest}-{uuid4().hex}")
        with _disk_errors_told():
            self._file.close()
            self._path.rename(path)
        self._kept = True
        return path

    def discard(self) -> None:
        """Close the file, and delete it unless it was kept."""
        with suppress(OSError):  # what is thrown away need not reach the disk
            self._file.close()
        if not self._kept:
            _delete(self._path)


class FileSpool:
    """A spool in a folder of the file system.

    Args:
        root: the folder; made if it is missing. Several processes may share it.
        max_age_s: `sweep` deletes what is older, in seconds. Longer than any work takes.
        reserve_bytes: room that stays free on the disk, for everything else that lives there.
    """

    def __init__(self, root: Path, *, max_age_s: float = 86_400, reserve_bytes: int = 256 * MIB) -> None:
        root.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        root.chmod(_PRIVATE_FOLDER)  # the umask does not decide, nor does whoever made it
        self._root = root.resolve()
        self._max_age_s = max_age_s
        self._reserve_bytes = reserve_bytes

    @property
    def root(self) -> Path:
        """The folder, as an absolute path."""
        return self._root

    @contextmanager
    def draft(self, *, expected_bytes: int = 0) -> Generator[Draft]:
        """Start a file; it is deleted at the end of the block unless `Draft.keep` was called.

        Args:
            expected_bytes: how large it will be, as far as is known.

        Raises:
            SpoolFull, SpoolFailed: so much would not fit, or the disk does not work.
        """
        with _disk_errors_told():
            self._check_room(expected_bytes)
            draft = Draft(self._root / f"draft-{uuid4().hex}")
        try:
            yield draft
        finally:
            draft.discard()

    def release(self, audio: FetchedAudio | DecodedAudio) -> None:
        """Delete what is no longer needed; doing it twice is harmless.

        Raises:
            ValueError: the file is not one of this spool.
        """
        if audio.path.parent != self._root or _OURS.fullmatch(audio.path.name) is None:
            msg = f"not a file of the spool: {audio.path}"
            raise ValueError(msg)
        _delete(audio.path)

    def sweep(self) -> int:
        """Delete what an earlier process left behind; returns how many files.

        Ages are told by the file system's own clock: the time stamp of a file that is made for it.
        """
        probe = Draft(self._root / f"draft-{uuid4().hex}")  # on a full disk too: this is what makes room
        try:
            now = os.fstat(probe.fileno()).st_mtime
        finally:
            probe.discard()
        deleted = 0
        for path in self._root.iterdir():
            if _OURS.fullmatch(path.name) is None:
                continue
            with suppress(FileNotFoundError):  # another process may sweep, or release, at the same time
                if now - path.lstat().st_mtime > self._max_age_s:
                    path.unlink()
                    deleted += 1
        if deleted:
            logger.info("deleted {} left-over files from the spool", deleted)
        return deleted

    def _check_room(self, expected_bytes: int) -> None:
        free = shutil.disk_usage(self._root).free
        if free - expected_bytes < self._reserve_bytes:
            raise SpoolFull(
                f"{expected_bytes} bytes are wanted, {free} are free, {self._reserve_bytes} stay free: {self._root}"
            )


def _delete(path: Path) -> None:
    """Delete a file, and if the disk does not play along, leave it to a later sweep: what was made of it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("a file of the spool could not be deleted: {}", exc)


@contextmanager
def _disk_errors_told() -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise (SpoolFull if exc.errno in _NO_ROOM else SpoolFailed)(str(exc)) from exc
