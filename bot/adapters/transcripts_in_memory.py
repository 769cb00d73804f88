"""Transcripts that are gone with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.core.errors import NotFound

if TYPE_CHECKING:
    from bot.core.models import Transcript


class TranscriptsInMemory:
    """For a process that answers once, and should leave nothing behind."""

    def __init__(self) -> None:
        self._kept: dict[str, Transcript] = {}

    async def put(self, request_id: str, transcript: Transcript) -> None:
        """Keep ``transcript`` while the process runs."""
        self._kept[request_id] = transcript

    async def get(self, request_id: str) -> Transcript:
        """Give it back.

        Raises:
            NotFound: none of that id is kept.
        """
        try:
            return self._kept[request_id]
        except KeyError:
            raise NotFound(f"transcript {request_id}") from None
