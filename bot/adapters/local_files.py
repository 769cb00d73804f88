"""Takes files of this machine, which its operator named on the command line, into the spool."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from bot.adapters.intake import check_size
from bot.core.errors import AudioEmpty, FileUnreadable, LinkRefused
from bot.core.models import AudioFile, FetchedAudio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bot.adapters.spool import FileSpool
    from bot.core.models import AudioLink, SpooledAudio

_CHUNK_BYTES = 1 << 20


class LocalFileFetcher:
    """Copies local files; links are refused, as it works offline.

    Args:
        spool: where the copies go.
        max_bytes: larger files are refused.
    """

    def __init__(self, spool: FileSpool, *, max_bytes: int) -> None:
        self._spool = spool
        self._max_bytes = max_bytes

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        """Copy ``source`` into the spool while its hash is computed. Nothing is left there if it fails.

        Raises:
            FileUnreadable, AudioTooLarge, AudioEmpty: whoever named the file can cure it.
            LinkRefused: not a local file.
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        if not isinstance(source, AudioFile):
            raise LinkRefused("a link, where only local files are taken")
        with await asyncio.to_thread(_opened, source.path) as file:
            size = os.fstat(file.fileno()).st_size
            check_size(size, max_bytes=self._max_bytes, found="size of the file")
            with self._spool.draft(expected_bytes=size) as draft:
                while chunk := await asyncio.to_thread(_read, file, source.path):
                    check_size(draft.size + len(chunk), max_bytes=self._max_bytes, found="read so far")
                    await asyncio.to_thread(draft.write, chunk)
                    on_fraction(min(1.0, draft.size / max(size, 1)))
                if draft.size == 0:
                    raise AudioEmpty("no bytes in the file")
                path = draft.keep(draft.sha256)
        return FetchedAudio(path=path, sha256=draft.sha256, size=draft.size, filename=source.path.name)


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or a device would never end, or never begin."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    except ValueError as exc:  # a null byte in the path
        raise FileUnreadable(str(exc), path=str(path), reason=str(exc)) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileUnreadable("not a regular file", path=str(path), reason="not a file")
    return os.fdopen(fd, "rb")


def _read(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(_CHUNK_BYTES)
    except OSError as exc:
        raise _unreadable(exc, path) from exc


def _unreadable(exc: OSError, path: Path) -> FileUnreadable:
    return FileUnreadable(str(exc), path=str(path), reason=exc.strerror or "unreadable")
