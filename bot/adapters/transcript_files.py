"""Kept transcripts: a JSON file each, deleted when its time is over."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Final

from loguru import logger
from pydantic import ValidationError

from bot.core.errors import NotFound, TranscriptNotKept
from bot.core.models import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ID: Final = re.compile(r"[0-9a-f]{8,64}")
"""Ids come back from Discord in buttons: only what we made ourselves becomes a file's name."""

_OURS: Final = re.compile(r"[0-9a-f]{8,64}\.(json|part)")


class TranscriptFiles:
    """A folder of transcripts.

    Args:
        folder: where they lie; made when it is missing.
        max_age_s: seconds after which a transcript is no longer given out, and is deleted by `sweep`.
        now: Unix time in seconds.
    """

    def __init__(self, folder: Path, *, max_age_s: float, now: Callable[[], float]) -> None:
        self._folder = folder
        self._max_age_s = max_age_s
        self._now = now
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def put(self, request_id: str, transcript: Transcript) -> None:
        """Keep ``transcript``; a second one of the same id replaces the first.

        Raises:
            TranscriptNotKept: it cannot be written.
        """
        path = self._path(request_id)
        content = transcript.model_dump_json().encode()
        try:
            await asyncio.to_thread(_write, path, content)
        except OSError as exc:
            raise TranscriptNotKept(str(exc)) from exc

    async def get(self, request_id: str) -> Transcript:
        """Give a transcript back.

        Raises:
            NotFound: none of that id is kept, or it is damaged.
        """
        path = self._path(request_id)
        try:
            content = await asyncio.to_thread(self._read, path)
            return Transcript.model_validate_json(content)
        except FileNotFoundError:
            raise NotFound(f"transcript {request_id}") from None
        except (OSError, ValidationError) as exc:
            logger.warning("transcript {} cannot be read: {}", request_id, exc)
            raise NotFound(f"transcript {request_id}") from exc

    async def sweep(self) -> int:
        """Delete what is too old; the number of files deleted."""
        return await asyncio.to_thread(self._sweep)

    def _path(self, request_id: str) -> Path:
        if not _ID.fullmatch(request_id):
            raise NotFound("not an id of a transcript")
        return self._folder / f"{request_id}.json"

    def _read(self, path: Path) -> bytes:
        if self._is_old(path):
            raise FileNotFoundError
        return path.read_bytes()

    def _is_old(self, path: Path) -> bool:
        return self._now() - path.stat().st_mtime > self._max_age_s

    def _sweep(self) -> int:
        deleted = 0
        for path in self._folder.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            try:
                if self._is_old(path):
                    path.unlink()
                    deleted += 1
            except FileNotFoundError:
                continue
        return deleted


def _write(path: Path, content: bytes) -> None:
    # Renamed when it is whole: a crash leaves no half transcript behind.
    half = path.with_suffix(".part")
    with open(half, "wb", opener=_private) as file:
        file.write(content)
    half.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
