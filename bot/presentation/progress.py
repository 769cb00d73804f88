"""The message that lives while a request runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

import discord
from loguru import logger

from bot.core.models import Stage
from bot.core.rendering import escape_markdown
from bot.presentation.links import unmasked
from bot.presentation.messages import text
from bot.presentation.network import UNDELIVERED
from bot.presentation.times import about, counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.models import Progress

EDIT_INTERVAL_S: Final = 1.25
"""Seconds between two edits of a message, with a margin over Discord's limit of about one a second."""

_SHOWN_WORDS: Final = 700
_SHOWN_RESULT: Final = 3_500
_BAR: Final = 16


def progress_text(progress: Progress, locale: str) -> str:
    """Stage, share, and the words so far; or the place in the line."""
    if progress.ahead is not None:
        return _place_text(progress.ahead, progress.wait_s, locale)
    stage = text("progress.waiting" if progress.waiting else f"progress.{progress.stage}", locale)
    lines = [f"**{stage}** …"]
    if progress.fraction is not None:
        done = min(max(progress.fraction, 0.0), 1.0)
        filled = round(done * _BAR)
        lines = [f"**{stage}** … {done:.0%}", f"`{'█' * filled}{'░' * (_BAR - filled)}`"]
    if progress.stage is Stage.COMPLETE and progress.result_text:
        lines.append(unmasked(progress.result_text[:_SHOWN_RESULT])[:_SHOWN_RESULT])
    elif progress.transcript_text:
        words = progress.transcript_text
        tail = words if len(words) <= _SHOWN_WORDS else f"… {words[-_SHOWN_WORDS:]}"
        lines.append(f"> {escape_markdown(tail)}")
    return "\n".join(lines)


def _place_text(ahead: int, wait_s: float | None, locale: str) -> str:
    place = text("progress.in_line.next", locale)
    if ahead:
        place = counted("progress.in_line.ahead", ahead, locale)
    wait = [text("progress.in_line.wait", locale, wait=about(wait_s, locale))] if wait_s else []
    return f"**{text('progress.in_line', locale)}** … {', '.join((place, *wait))}"


class ProgressMessage:
    """Shows the newest progress by editing a message, never more often than `EDIT_INTERVAL_S`.

    Use it as an asynchronous context manager; on leaving, no edit is under way any more, and enough time has passed
    for the next one.
    """

    def __init__(self, edit: Callable[[discord.Embed], Awaitable[object]], *, locale: str) -> None:
        self._edit = edit
        self._locale = locale
        self._newest: Progress | None = None
        self._changed = asyncio.Event()
        self._editing = asyncio.Lock()
        self._edited_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    def observe(self, progress: Progress) -> None:
        """Take note of progress; never blocks."""
        self._newest = progress
        self._changed.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._show(), name="progress message")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        async with self._editing:  # an edit that was cut off could arrive after the result
            self._task.cancel()
        await asyncio.wait({self._task})  # however it ended: the result is what counts
        await self._pause()

    async def _show(self) -> None:
        # What ends at once is answered without a flicker: Discord shows "thinking" meanwhile.
        await asyncio.sleep(EDIT_INTERVAL_S)
        shown = ""
        while True:
            await self._changed.wait()
            self._changed.clear()
            assert self._newest is not None
            newest = progress_text(self._newest, self._locale)
            if newest == shown:
                continue
            shown = newest
            embed = discord.Embed(title=text("progress.title", self._locale), description=newest)
            async with self._editing:
                try:
                    await self._edit(embed)
                except UNDELIVERED as exc:
                    # Progress is a courtesy; the result has ways of its own to arrive.
                    logger.debug("progress could not be shown: {!r}", exc)
                self._edited_at = asyncio.get_running_loop().time()
            await asyncio.sleep(EDIT_INTERVAL_S)

    async def _pause(self) -> None:
        if self._edited_at is not None:
            passed = asyncio.get_running_loop().time() - self._edited_at
            await asyncio.sleep(max(0.0, EDIT_INTERVAL_S - passed))
