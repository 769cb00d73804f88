"""A town to be laid waste."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.town import Town, a_town

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def own_town(tmp_path: Path) -> AsyncIterator[Town]:
    """A town of the test's own; it starts the bot itself."""
    async with a_town(tmp_path) as town:
        yield town
