"""One contract for everything that keeps transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.adapters.transcript_files import TranscriptFiles
from bot.adapters.transcripts_in_memory import TranscriptsInMemory
from bot.core.errors import NotFound
from tests.fakes import FakeTranscriptStore, a_transcript

if TYPE_CHECKING:
    from pathlib import Path

    from bot.core.ports import TranscriptStore


@pytest.fixture(params=["files", "memory", "fake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TranscriptStore:
    match request.param:
        case "files":
            return TranscriptFiles(tmp_path / "kept", max_age_s=1e12, now=lambda: 0.0)
        case "memory":
            return TranscriptsInMemory()
        case _:
            return FakeTranscriptStore()


async def test_what_was_put_comes_back(store: TranscriptStore) -> None:
    await store.put("0123456789abcdef", a_transcript("Hello.", "Grüß Gott."))
    assert await store.get("0123456789abcdef") == a_transcript("Hello.", "Grüß Gott.")


async def test_the_second_one_replaces_the_first(store: TranscriptStore) -> None:
    await store.put("0123456789abcdef", a_transcript("First."))
    await store.put("0123456789abcdef", a_transcript("Second."))
    assert (await store.get("0123456789abcdef")).text == "Second."


async def test_what_was_never_put_is_not_found(store: TranscriptStore) -> None:
    with pytest.raises(NotFound):
        await store.get("0123456789abcdef")
