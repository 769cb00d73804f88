"""Brings audio into the spool that another process has fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from bot.core.errors import BadInput, FetchFailed, SpoolFailed, SpoolFull
from bot.core.models import SpooledAudio

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.jobs import AudioDepot
    from bot.core.models import AudioFile, AudioLink, FetchedAudio
    from bot.core.ports import AudioFetcher


class DepotFetcher:
    """Withdraws what is in the depot; all else is for the fetcher behind it.

    Args:
        depot: where the other process left it.
        behind: fetches links, also those of audio that the depot no longer has, or cannot give.
    """

    def __init__(self, depot: AudioDepot, behind: AudioFetcher) -> None:
        self._depot = depot
        self._behind = behind

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        """Bring ``source`` into the spool.

        Raises:
            LinkRefused, LinkExpired, FileUnreadable, AudioTooLarge, AudioEmpty: whoever asked can cure it.
            FetchFailed: the network did not play along.
            SpoolFull, SpoolFailed: no room on the disk, or it or the depot does not work.
        """
        if not isinstance(source, SpooledAudio):
            return await self._behind.fetch(source, on_fraction=on_fraction)
        failure: SpoolFailed | None = None
        try:
            audio = await self._depot.withdraw(source)
        except SpoolFull:
            raise
        except SpoolFailed as exc:
            logger.warning("the depot does not work, so the link is fetched again: {}", exc)
            failure, audio = exc, None
        if audio is None:
            return await self._again(source.link, failure, on_fraction)
        on_fraction(1.0)
        return audio

    async def _again(
        self, link: AudioLink, failure: SpoolFailed | None, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        try:
            return await self._behind.fetch(link, on_fraction=on_fraction)
        except (BadInput, FetchFailed) as exc:
            if failure is None:
                raise
            raise failure from exc  # it may pass, and the audio lie there still
