from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.models import Progress, Stage
from bot.presentation.progress import EDIT_INTERVAL_S, ProgressMessage, progress_text
from tests.waiting import until


class Edits:
    """Takes edits, and remembers when they began."""

    def __init__(self, *, fails: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.seen: list[tuple[float, str]] = []
        self.under_way = 0
        self._fails = fails

    async def __call__(self, embed: discord.Embed) -> None:
        self.under_way += 1
        self.begun.set()
        try:
            for _ in range(100):  # long enough for others to get in between
                await asyncio.sleep(0)
            self.seen.append((asyncio.get_running_loop().time(), embed.description or ""))
            if self._fails is not None:
                raise self._fails
        finally:
            self.under_way -= 1


_GONE: Any = SimpleNamespace(status=503, reason="gone")


async def test_the_newest_is_shown_and_edits_keep_their_distance() -> None:
    edits = Edits()
    async with ProgressMessage(edits, locale="en-US") as progress:
        for step in range(1_000):
            progress.observe(Progress(stage=Stage.TRANSCRIBE, fraction=step / 1_000))
        await until(lambda: len(edits.seen) == 1)
        progress.observe(Progress(stage=Stage.COMPLETE))
        await until(lambda: len(edits.seen) == 2)
    ended = asyncio.get_running_loop().time()
    (first, shown), (second, last) = edits.seen
    assert "100%" in shown
    assert "Writing" in last
    assert second - first >= EDIT_INTERVAL_S
    assert ended - second >= EDIT_INTERVAL_S - 0.01, "the result's edit has to keep its distance too"


async def test_what_ends_at_once_is_not_announced() -> None:
    edits = Edits()
    started = asyncio.get_running_loop().time()
    async with ProgressMessage(edits, locale="en-US") as progress:
        progress.observe(Progress(stage=Stage.FETCH))
    assert edits.seen == []
    assert asyncio.get_running_loop().time() - started < EDIT_INTERVAL_S / 2


async def test_no_edit_is_under_way_afterwards() -> None:
    edits = Edits()
    async with ProgressMessage(edits, locale="en-US") as progress:
        progress.observe(Progress(stage=Stage.FETCH))
        await edits.begun.wait()
        assert edits.under_way == 1
    assert edits.under_way == 0
    assert len(edits.seen) == 1


@pytest.mark.parametrize(
    "error",
    [
        discord.DiscordServerError(_GONE, "gone"),
        aiohttp.ClientConnectionError("reset"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_edit_that_fails_ends_nothing(error: Exception) -> None:
    edits = Edits(fails=error)
    async with ProgressMessage(edits, locale="en-US") as progress:
        progress.observe(Progress(stage=Stage.FETCH))
        await until(lambda: len(edits.seen) == 1)
        progress.observe(Progress(stage=Stage.DECODE))
        await until(lambda: len(edits.seen) == 2)


async def test_a_mistake_in_showing_does_not_cost_the_result() -> None:
    edits = Edits(fails=AssertionError("a bug"))
    async with ProgressMessage(edits, locale="en-US") as progress:
        progress.observe(Progress(stage=Stage.FETCH))
        await until(lambda: len(edits.seen) == 1)


async def test_an_error_inside_comes_out() -> None:
    with pytest.raises(ValueError, match="inside"):
        async with ProgressMessage(Edits(), locale="en-US"):
            raise ValueError("inside")


@given(
    st.builds(
        Progress,
        stage=st.sampled_from(Stage),
        fraction=st.none() | st.floats(-1, 2),
        waiting=st.booleans(),
        transcript_text=st.text(max_size=9_000),
        result_text=st.text(max_size=9_000),
    )
)
def test_whatever_is_heard_fits(progress: Progress) -> None:
    assert 1 <= len(progress_text(progress, "en-US")) <= 4_096
