"""A depot in a folder that all processes see: of this machine, or of a volume that several mount.

Where the file system allows it, nothing is copied: a file that is handed over gets a second name. So either side may
delete its own without the other's noticing, and a job that runs twice has two files.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, Final
from uuid import uuid4

from loguru import logger

from bot.adapters.spool import FileSpool
from bot.core.errors import SpoolFailed, SpoolFull
from bot.core.models import FetchedAudio, SpooledAudio

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bot.core.models import AudioLink

DAY_S: Final = 86_400.0

NAME: Final = re.compile(r"[0-9a-f]{64}-[0-9a-f]{32}")
"""What a depot calls its files: their hash and their key, as the spool does. Nothing else is ever touched."""

_CHUNK_BYTES: Final = 1 << 20
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SharedFolderDepot:
    """Audio in a folder that is as private as the spool: all processes have to run as the same user.

    Args:
        root: the folder; made if it is missing. It may be the spool's own.
        spool: where withdrawn audio goes. On the same file system, nothing is copied.
        max_age_s: `sweep` deletes what nobody has deposited or withdrawn for so many seconds.
    """

    def __init__(self, root: Path, spool: FileSpool, *, max_age_s: float = DAY_S) -> None:
        self._folder = FileSpool(root, max_age_s=max_age_s)
        self._spool = spool

    async def deposit(self, audio: FetchedAudio, link: AudioLink) -> SpooledAudio:
        """Hand audio over; the local file stays the caller's to release.

        Raises:
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        with _disk_errors_told():
            path = _linked(audio.path, audio.sha256, self._folder)
            if path is None:
                path = await _copied(audio.path, audio.sha256, audio.size, self._folder)
        if path is None:
            raise SpoolFailed("a file of the spool is not what it was")
        return SpooledAudio(key=path.name.rpartition("-")[2], sha256=audio.sha256, size=audio.size, link=link)

    async def withdraw(self, audio: SpooledAudio) -> FetchedAudio | None:
        """Bring it into this process' spool, as a file of the caller's own; None where it is gone, or not what it was.

        Raises:
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        name = name_of(audio)
        if name is None:
            return None
        with _disk_errors_told():
            try:
                path = await self._taken(self._folder.root / name, audio)
            except FileNotFoundError:
                return None
        return as_fetched(audio, path)

    async def discard(self, audio: SpooledAudio) -> None:
        """Delete what was deposited; doing it twice is harmless."""
        name = name_of(audio)
        if name is not None:
            path = self._folder.root / name
            file = FetchedAudio(path=path, sha256=audio.sha256, size=audio.size, filename=audio.link.filename)
            await asyncio.to_thread(self._folder.release, file)

    async def sweep(self) -> int:
        """Delete what nobody will ask for any more; how many files.

        Raises:
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        with _disk_errors_told():
            return await asyncio.to_thread(self._folder.sweep)

    async def _taken(self, source: Path, audio: SpooledAudio) -> Path | None:
        path = _linked(source, audio.sha256, self._spool)
        if path is None:
            return await _copied(source, audio.sha256, audio.size, self._spool)
        is_whole = False
        try:
            is_whole = await _is_whole(path, audio)
        finally:
            if not is_whole:
                path.unlink(missing_ok=True)
        return path if is_whole else None


def name_of(audio: SpooledAudio) -> str | None:
    """What a depot calls ``audio``; None where that is no name of a depot's."""
    name = f"{audio.sha256}-{audio.key}"
    if NAME.fullmatch(name) is not None:
        return name
    logger.warning("audio was asked for by a name that no depot gives")
    return None


def as_fetched(audio: SpooledAudio, path: Path | None) -> FetchedAudio | None:
    """Withdrawn audio, as it was fetched at first; where there is no ``path``, as it was damaged, the log is told."""
    if path is None:
        logger.warning("audio in the depot is not what it was, and counts as gone: {}", audio.sha256)
        return None
    link = audio.link
    return FetchedAudio(
        path=path, sha256=audio.sha256, size=audio.size, filename=link.filename, declared_s=link.declared_s
    )


def _linked(source: Path, digest: str, into: FileSpool) -> Path | None:
    """Give a file a second name in ``into``, or None where that cannot be: then a copy can, or tells why not.

    Two file systems may be in the way, one without links, or a file of another user's.
    """
    path = into.root / f"{digest}-{uuid4().hex}"  # as the spool names its own
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:
        return None
    with suppress(OSError):  # it is in use: no sweep should find it old
        os.utime(path, follow_symlinks=False)
    return path


async def _copied(source: Path, digest: str, size: int, into: FileSpool) -> Path | None:
    """Copy a file; None where it is not of that digest and size."""
    file = _opened(source)
    if file is None:
        return None
    with file, into.draft(expected_bytes=size) as draft:
        while draft.size <= size and (chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES)):
            await asyncio.to_thread(draft.write, chunk)
        return draft.keep(digest) if (draft.size, draft.sha256) == (size, digest) else None


async def _is_whole(path: Path, audio: SpooledAudio) -> bool:
    file = _opened(path)
    if file is None:
        return False
    digest, size = sha256(), 0
    with file:
        while size <= audio.size and (chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES)):
            await asyncio.to_thread(digest.update, chunk)
            size += len(chunk)
    return (size, digest.hexdigest()) == (audio.size, audio.sha256)


def _opened(path: Path) -> BinaryIO | None:
    """Open a regular file; None where it is something else. A symbolic link is not followed, a pipe not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            return None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb", buffering=0)


@contextmanager
def _disk_errors_told() -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise (SpoolFull if exc.errno in _NO_ROOM else SpoolFailed)(str(exc)) from exc
