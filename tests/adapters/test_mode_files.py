from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.mode_files import MAX_MODE_BYTES, ModeFiles, read_mode
from bot.core.errors import ModeInvalid

SHIPPED = Path(__file__).parents[2] / "modes"
VALID: dict[str, Any] = json.loads((SHIPPED / "summarize.json").read_text())


def write(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps({**VALID, **changes}))
    return path


def test_the_shipped_modes_are_read() -> None:
    modes = ModeFiles(SHIPPED).current()
    assert modes["summarize"].discord.command == "summarize"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 60_000, "JSON"),
        (b"null", "dictionary"),
        (b" " * (MAX_MODE_BYTES + 1), "larger"),
    ],
    ids=["empty", "half", "no text", "deep", "null", "large"],
)
def test_what_is_no_mode_is_refused_with_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ModeInvalid, match=said):
        read_mode(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../evil"},
        {"id": "Auto"},
        {"unknown": 1},
        {"schema_version": 2},
        {"title": ""},
        {"discord": {"command": "Summarize"}},
        {"prompt": {"system": "x", "user": "{{ secrets }} {{ transcript }}"}},
        {"prompt": {"system": "x", "user": "no transcript"}},
        {"model": {"timeout_s": 10_000}},
        {"output": {"format": "html"}},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModeInvalid) as caught:
        read_mode(write(tmp_path, "bad.json", **changes))
    assert caught.value.detail


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModeInvalid, match="No such file"):
        read_mode(tmp_path / "none.json")


def test_a_broken_file_does_not_keep_the_others_from_working(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    write(tmp_path, "b.json", id="minutes", discord={"command": "minutes"})
    write(tmp_path, "c.json", id="minutes", discord={"command": "other"})
    write(tmp_path, "d.json", id="clash", discord={"command": "minutes"})
    write(tmp_path, "f.json", id="auto", discord={"command": "auto"})
    write(tmp_path, "e.json", id="own", discord={"command": "transcribe"})
    assert set(ModeFiles(tmp_path).current()) == {"minutes"}


def test_there_are_no_more_modes_than_discord_allows_commands(tmp_path: Path) -> None:
    for number in range(105):
        write(tmp_path, f"{number:03}.json", id=f"mode-{number}", discord={"command": f"mode-{number}"})
    assert len(ModeFiles(tmp_path).current()) == 98


def test_no_folder_means_no_modes(tmp_path: Path) -> None:
    assert ModeFiles(tmp_path / "none").current() == {}
