"""Chained Ogg: several streams one after the other in one file, as by ``cat`` or from a radio station.

FFmpeg gives up where the number of channels changes and knows the length of the last link alone; each link by itself
is an ordinary file. A link begins with the pages that begin its streams (RFC 3533, sections 4 and 6).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from bot.adapters.decoder.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PAGE = b"OggS\x00\x02"
"""Capture pattern, version 0, and the flag for the beginning of a stream alone."""
_HEADER_BYTES = 27
_GRANULE_AND_NUMBER = (slice(6, 14), slice(18, 22))
"""The position and the number of a first page are zero; by that it is told from the same six bytes inside a packet."""
_CHUNK_BYTES = 1 << 20


def links(source: BinaryIO) -> list[Section]:
    """The links of an Ogg file, one for most files."""
    size = source.seek(0, os.SEEK_END)
    starts = [0, *(start for start in _link_starts(source) if start)]
    return [Section(source, start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)]


def _link_starts(source: BinaryIO) -> Iterator[int]:
    """Where a first page stands that does not follow another: streams of one link begin together."""
    end_of_last = -1
    for start in _first_pages(source):
        if start != end_of_last:
            yield start
        end_of_last = _end_of_page(source, start)


def _first_pages(source: BinaryIO) -> Iterator[int]:
    position = 0
    while chunk := _read_at(source, position, _CHUNK_BYTES):
        found = chunk.find(_FIRST_PAGE)
        while found >= 0:
            header = _read_at(source, position + found, _HEADER_BYTES)
            if len(header) == _HEADER_BYTES and not any(any(header[field]) for field in _GRANULE_AND_NUMBER):
                yield position + found
            found = chunk.find(_FIRST_PAGE, found + 1)
        position += max(1, len(chunk) - len(_FIRST_PAGE) + 1)  # the pattern may lie across two chunks


def _end_of_page(source: BinaryIO, start: int) -> int:
    segments = _read_at(source, start, _HEADER_BYTES)[-1]
    return start + _HEADER_BYTES + segments + sum(_read_at(source, start + _HEADER_BYTES, segments))


def _read_at(source: BinaryIO, position: int, size: int) -> bytes:
    source.seek(position)
    return source.read(size)
