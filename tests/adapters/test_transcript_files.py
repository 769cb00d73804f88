from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bot.adapters.transcript_files import TranscriptFiles
from bot.core.errors import NotFound, TranscriptNotKept
from bot.core.models import Note, NoteKey, Segment, Transcript

if TYPE_CHECKING:
    from pathlib import Path

TRANSCRIPT = Transcript(
    language="de",
    language_probability=0.9,
    duration_s=2.5,
    segments=(Segment(start=0, end=2.5, text="Grüß Gott"),),
    model="base",
    notes=(Note(key=NoteKey.TRUNCATED, values={"decoded_s": 2.5, "declared_s": 9.0}),),
)


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def files(tmp_path: Path, now: list[float]) -> TranscriptFiles:
    return TranscriptFiles(tmp_path / "kept", max_age_s=100, now=lambda: now[0])


def age(folder: Path, seconds: float) -> None:
    for path in folder.glob("kept/*"):
        os.utime(path, (seconds, seconds))


async def test_what_was_put_comes_back(files: TranscriptFiles, tmp_path: Path, now: list[float]) -> None:
    await files.put("0123456789abcdef", TRANSCRIPT)
    age(tmp_path, now[0])
    assert await files.get("0123456789abcdef") == TRANSCRIPT


async def test_it_survives_a_restart(files: TranscriptFiles, tmp_path: Path, now: list[float]) -> None:
    await files.put("0123456789abcdef", TRANSCRIPT)
    age(tmp_path, now[0])
    again = TranscriptFiles(tmp_path / "kept", max_age_s=100, now=lambda: now[0])
    assert await again.get("0123456789abcdef") == TRANSCRIPT


async def test_only_the_owner_may_read(files: TranscriptFiles, tmp_path: Path) -> None:
    await files.put("0123456789abcdef", TRANSCRIPT)
    (file,) = (tmp_path / "kept").iterdir()
    assert file.stat().st_mode & 0o077 == 0


async def test_what_is_old_is_neither_given_nor_kept(files: TranscriptFiles, tmp_path: Path, now: list[float]) -> None:
    await files.put("0123456789abcdef", TRANSCRIPT)
    age(tmp_path, now[0])
    now[0] += 101
    with pytest.raises(NotFound):
        await files.get("0123456789abcdef")
    assert await files.sweep() == 1
    assert list((tmp_path / "kept").iterdir()) == []


async def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    files = TranscriptFiles(tmp_path / "kept", max_age_s=100, now=lambda: 0.0)
    (tmp_path / "kept").rmdir()
    (tmp_path / "kept").write_text("a file in its place")
    with pytest.raises(TranscriptNotKept):
        await files.put("0123456789abcdef", TRANSCRIPT)


async def test_the_sweep_leaves_what_is_not_ours(files: TranscriptFiles, tmp_path: Path, now: list[float]) -> None:
    (tmp_path / "kept" / "lost+found").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("somebody else's")
    (tmp_path / "kept" / "0123456789abcdef.part").write_text("half")
    age(tmp_path, now[0] - 101)
    assert await files.sweep() == 1
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"lost+found", "notes.txt"}


@pytest.mark.parametrize("request_id", ["", "../../etc/passwd", "ABCDEF0123", "0123456789abcdef\n", "a" * 65])
async def test_an_id_that_is_none_of_ours_never_becomes_a_path(files: TranscriptFiles, request_id: str) -> None:
    with pytest.raises(NotFound):
        await files.get(request_id)
    with pytest.raises(NotFound):
        await files.put(request_id, TRANSCRIPT)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema_version": 99}', b"\xff"])
async def test_a_damaged_file_is_as_good_as_none(
    files: TranscriptFiles, tmp_path: Path, now: list[float], damage: bytes
) -> None:
    await files.put("0123456789abcdef", TRANSCRIPT)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(damage)
    age(tmp_path, now[0])
    with pytest.raises(NotFound):
        await files.get("0123456789abcdef")
