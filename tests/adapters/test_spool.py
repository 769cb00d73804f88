"""The spool keeps what is whole, and nothing else."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from bot.adapters.spool import FileSpool
from bot.core.errors import SpoolFull
from bot.core.models import DecodedAudio, FetchedAudio

DIGEST = sha256(b"sound").hexdigest()
DEVICE_WITHOUT_ROOM = Path("/dev/full")


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


def fetched(path: Path) -> FetchedAudio:
    return FetchedAudio(path=path, sha256=DIGEST, size=5, filename="../../etc/passwd")


def keep(spool: FileSpool, data: bytes = b"sound") -> Path:
    with spool.draft() as draft:
        draft.write(data)
        return draft.keep(draft.sha256)


def test_a_kept_file_is_named_by_its_hash_and_private(spool: FileSpool) -> None:
    path = keep(spool)
    assert path.read_bytes() == b"sound"
    assert path.parent == spool.root
    assert path.name.startswith(DIGEST + "-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.root.stat().st_mode) == 0o700


def test_the_same_bytes_twice_are_two_files(spool: FileSpool) -> None:
    assert keep(spool) != keep(spool)


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "open"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    FileSpool(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_size_and_hash_grow_with_what_is_written(spool: FileSpool) -> None:
    with spool.draft() as draft:
        draft.write(b"so")
        draft.write(b"und")
        assert draft.size == 5
        assert draft.sha256 == DIGEST


def test_a_draft_that_is_not_kept_is_gone(spool: FileSpool) -> None:
    with spool.draft() as draft:
        draft.write(b"sound")
        assert len(list(spool.root.iterdir())) == 1
    assert list(spool.root.iterdir()) == []


def test_a_draft_is_gone_after_an_error(spool: FileSpool) -> None:
    def crash() -> None:
        with spool.draft() as draft:
            draft.write(b"sound")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        crash()
    assert list(spool.root.iterdir()) == []


@pytest.mark.parametrize("digest", ["", "../escape", DIGEST.upper(), DIGEST + "/x", DIGEST[:-1], DIGEST + "\n"])
def test_only_a_digest_names_a_file(spool: FileSpool, digest: str) -> None:
    with spool.draft() as draft, pytest.raises(ValueError, match="SHA-256"):
        draft.keep(digest)
    assert list(spool.root.iterdir()) == []


def test_release_deletes_and_may_be_repeated(spool: FileSpool) -> None:
    path = keep(spool)
    spool.release(fetched(path))
    assert not path.exists()
    spool.release(fetched(path))
    spool.release(DecodedAudio(path=path, samples=1))


def test_release_touches_no_file_of_others(spool: FileSpool, tmp_path: Path) -> None:
    theirs = tmp_path / "precious"
    theirs.write_bytes(b"x")
    inside = spool.root / "notes.txt"
    inside.write_bytes(b"x")
    for path in (theirs, inside, spool.root / ".." / "precious"):
        with pytest.raises(ValueError, match="not a file of the spool"):
            spool.release(fetched(path))
    assert theirs.exists()
    assert inside.exists()


def test_sweep_deletes_old_files_of_the_spool_alone(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path, max_age_s=3600, reserve_bytes=0)
    old, young = keep(spool), keep(spool)
    crashed = spool.root / f"draft-{'0' * 32}"
    crashed.write_bytes(b"half")
    foreign = spool.root / "README"
    foreign.write_bytes(b"not ours")
    for path in (old, crashed, foreign):
        os.utime(path, (1, 1))
    assert spool.sweep() == 2
    assert sorted(spool.root.iterdir()) == sorted([young, foreign])
    assert spool.sweep() == 0


def test_sweep_does_not_follow_links(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "spool", max_age_s=0, reserve_bytes=0)
    target = tmp_path / "target"
    target.write_bytes(b"x")
    link = spool.root / f"{DIGEST}-{'0' * 32}"
    link.symlink_to(target)
    os.utime(link, (1, 1), follow_symlinks=False)
    assert spool.sweep() == 1
    assert target.exists()


def test_what_would_not_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path, reserve_bytes=0)
    with pytest.raises(SpoolFull), spool.draft(expected_bytes=1 << 60):
        pytest.fail("the draft should not have begun")
    with pytest.raises(SpoolFull), FileSpool(tmp_path, reserve_bytes=1 << 60).draft():
        pytest.fail("the draft should not have begun")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not DEVICE_WITHOUT_ROOM.exists(), reason="a device of Linux")
def test_a_disk_that_fills_up_is_told_as_such(spool: FileSpool) -> None:
    def write(size: int, *, then_keep: bool) -> None:
        with spool.draft() as draft:
            full = os.open(DEVICE_WITHOUT_ROOM, os.O_WRONLY)
            os.dup2(full, draft.fileno())
            os.close(full)
            draft.write(b"x" * size)
            assert then_keep, "the write should have failed"
            draft.keep(DIGEST)

    with pytest.raises(SpoolFull):
        write(1 << 20, then_keep=False)
    with pytest.raises(SpoolFull):  # small enough for the buffer: noticed at the end
        write(1, then_keep=True)
    assert list(spool.root.iterdir()) == []


def test_a_full_disk_does_not_keep_the_sweep_from_making_room(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    with FileSpool(root).draft() as draft:
        draft.write(b"left over")
        left = draft.keep(draft.sha256)
    os.utime(left, (0, 0))
    assert FileSpool(root, reserve_bytes=1 << 62).sweep() == 1
    assert list(root.iterdir()) == []
