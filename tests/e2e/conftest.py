"""Towns and their bots for the tests that leave both as they found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.town import COMMANDS, Town, a_town
from tests.simulator.intents import Intent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town with the bot at work, shared by all tests that ask for it."""
    async with a_town(tmp_path_factory.mktemp("data")) as town, town.process() as bot:
        await bot.ready(commands=COMMANDS)
        yield town


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A shared town whose bot may read the content of all messages that it can open."""
    data_dir = tmp_path_factory.mktemp("data")
    async with a_town(data_dir, privileged=Intent.MESSAGE_CONTENT) as town, town.process() as bot:
        await bot.ready(commands=COMMANDS)
        yield town


@pytest.fixture
async def own_town(tmp_path: Path) -> AsyncIterator[Town]:
    """A town of the test's own; it starts the bot itself."""
    async with a_town(tmp_path) as town:
        yield town
