"""Transport compression of the gateway.

Source: https://discord.com/developers/docs/events/gateway#transport-compression
"""

from __future__ import annotations

import zlib
from typing import Protocol

import zstandard


class Compressor(Protocol):
    """One stream of compressed messages, for the life of a connection."""

    def compress(self, text: str) -> str | bytes:
        """What goes into one websocket message: text stays text, compressed data is binary."""
        ...


class NoCompression:
    """Text as it is."""

    def compress(self, text: str) -> str | bytes:
        """Give ``text`` back."""
        return text


class ZlibStream:
    """One zlib stream; each message ends with Z_SYNC_FLUSH (00 00 FF FF)."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def compress(self, text: str) -> str | bytes:
        """Compress with what came before as context."""
        return self._stream.compress(text.encode()) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """One zstd frame; each message is flushed, so that it can be read at once."""

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor().compressobj()

    def compress(self, text: str) -> str | bytes:
        """Compress with what came before as context."""
        return self._stream.compress(text.encode()) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


COMPRESSORS: dict[str | None, type[NoCompression | ZlibStream | ZstdStream]] = {
    None: NoCompression,
    "zlib-stream": ZlibStream,
    "zstd-stream": ZstdStream,
}
