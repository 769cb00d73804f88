"""Fixtures, for every test that wants a Discord."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.server import DiscordSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def simulator() -> AsyncIterator[DiscordSimulator]:
    """A started simulator; at the end, the bot must have kept to Discord's rules."""
    async with DiscordSimulator() as simulator:
        yield simulator
    simulator.check()
