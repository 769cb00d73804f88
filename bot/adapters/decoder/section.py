"""A part of a file, as a file of its own."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Section(io.RawIOBase):
    """The bytes of ``source`` from ``start`` to ``end``. ``size`` is their number."""

    def __init__(self, source: BinaryIO, start: int, end: int) -> None:
        super().__init__()
        self.size = end - start
        self._source = source
        self._start = start
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position; one before the beginning, which hostile files ask for, is the beginning."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` as far as there is something."""
        view = memoryview(buffer)
        wanted = min(len(view), self.size - self._position)
        if wanted <= 0:
            return 0
        self._source.seek(self._start + self._position)
        data = self._source.read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
