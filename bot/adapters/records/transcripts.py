"""Transcripts, compressed: speech in JSON shrinks to about a quarter.

A packed transcript is a byte that says how it is packed (1: one zstd frame of JSON), and the rest.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Final

import zstandard
from loguru import logger

from bot.adapters.records.forgotten import FORGOTTEN, FORGOTTEN_S
from bot.adapters.records.ids import ID
from bot.adapters.redis import keys
from bot.core.errors import NotFound, RecordInvalid, RecordTooNew, StoreUnavailable, TranscriptNotKept
from bot.core.records import MAX_RECORD_BYTES, TRANSCRIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.adapters.documents import Documents
    from bot.core.models import Transcript

_ZSTD: Final = b"\x01"
_LAST_PACKING: Final = 15
"""Later versions may use bytes up to this one; what begins with another is damaged."""
_LEVEL: Final = 3
_MAX_WINDOW: Final = MAX_RECORD_BYTES
"""What a reader may need in memory, in bytes. Whoever packs as much as may be written needs no more."""


class StoredTranscripts:
    """`bot.core.ports.TranscriptStore`, and `bot.core.privacy.MemberTranscripts`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def put(self, request_id: str, transcript: Transcript, *, keep_s: float) -> None:
        """Keep ``transcript`` for so many seconds; one of the same id is replaced.

        Raises:
            TranscriptNotKept: there is no room or no way to write, it is too large, or it was deleted meanwhile.
        """
        try:
            raw = await asyncio.to_thread(_packed, transcript)
            kept = await self._documents.put(_key(request_id), raw, keep_s, unless=FORGOTTEN)
        except (StoreUnavailable, RecordInvalid, NotFound) as exc:
            raise TranscriptNotKept(str(exc)) from exc
        if not kept:
            raise TranscriptNotKept(f"transcript {request_id} was deleted meanwhile")

    async def get(self, request_id: str) -> Transcript:
        """Give it back.

        Raises:
            NotFound: there is none of that id, or it is damaged.
            RecordTooNew: a later version of the bot wrote it.
            StoreUnavailable: it cannot be looked up now.
        """
        raw = await self._documents.get(_key(request_id))
        if raw is None or raw == FORGOTTEN:
            raise NotFound(f"transcript {request_id}")
        try:
            return await asyncio.to_thread(_unpacked, raw)
        except RecordTooNew:
            raise
        except RecordInvalid as exc:
            logger.warning("transcript {} cannot be read: {}", request_id, exc)
            raise NotFound(f"transcript {request_id}") from exc

    async def delete(self, *request_ids: str) -> None:
        """Forget them for good.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        await self._documents.overwrite(_keys(request_ids), FORGOTTEN, FORGOTTEN_S)

    async def kept(self, request_ids: Sequence[str]) -> int:
        """How many of them there are.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        return sum(size > len(FORGOTTEN) for size in await self._documents.sizes(_keys(request_ids)))


def _key(request_id: str) -> str:
    if not ID.fullmatch(request_id):
        raise NotFound("not an id of a transcript")
    return keys.transcript(request_id)


def _keys(request_ids: Sequence[str]) -> list[str]:
    return [keys.transcript(request_id) for request_id in request_ids if ID.fullmatch(request_id)]


def _packed(transcript: Transcript) -> bytes:
    return _ZSTD + zstandard.ZstdCompressor(level=_LEVEL).compress(TRANSCRIPT.encode(transcript))


def _unpacked(raw: bytes) -> Transcript:
    """Read a packed transcript, whatever it is: little that claims to become much is given up at the limit.

    Raises:
        RecordTooNew: it is packed as a later version does it, or is of one.
        RecordInvalid: it is damaged.
    """
    packing = raw[0] if raw else 0
    if _ZSTD[0] < packing <= _LAST_PACKING:
        raise RecordTooNew(f"transcript: packing {packing}", what="Transcript", found=packing, known=_ZSTD[0])
    if packing != _ZSTD[0]:
        raise RecordInvalid("transcript: packed in no known way")
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(BytesIO(raw[1:]))
        content = reader.read(MAX_RECORD_BYTES + 1)
    except zstandard.ZstdError as exc:
        raise RecordInvalid(f"transcript: {exc}") from exc
    return TRANSCRIPT.decode(content)
