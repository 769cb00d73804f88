"""Files of this machine come into the spool under the same limits."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from bot.adapters.local_files import LocalFileFetcher
from bot.adapters.spool import FileSpool
from bot.core.errors import AudioEmpty, AudioTooLarge, EarshotError, FileUnreadable, LinkRefused
from bot.core.models import AudioFile, AudioLink


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


@pytest.fixture
def fetcher(spool: FileSpool) -> LocalFileFetcher:
    return LocalFileFetcher(spool, max_bytes=3_000_000)


async def test_a_file_is_copied_and_hashed(tmp_path: Path, spool: FileSpool, fetcher: LocalFileFetcher) -> None:
    data = os.urandom(2_500_000)
    path = tmp_path / "talk.ogg"
    path.write_bytes(data)
    fractions: list[float] = []
    fetched = await fetcher.fetch(AudioFile(path=path), on_fraction=fractions.append)
    assert fetched.path.read_bytes() == data
    assert fetched.path.parent == spool.root
    assert (fetched.sha256, fetched.size, fetched.filename) == (sha256(data).hexdigest(), 2_500_000, "talk.ogg")
    assert fetched.declared_s is None
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    spool.release(fetched)
    assert path.exists()


async def refused(fetcher: LocalFileFetcher, spool: FileSpool, path: Path) -> EarshotError:
    with pytest.raises(EarshotError) as caught:
        await fetcher.fetch(AudioFile(path=path), on_fraction=print)
    assert list(spool.root.iterdir()) == []
    return caught.value


async def test_what_is_too_large_or_empty_is_refused(
    tmp_path: Path, spool: FileSpool, fetcher: LocalFileFetcher
) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 3_000_001)
    assert isinstance(await refused(fetcher, spool, tmp_path / "large"), AudioTooLarge)
    (tmp_path / "empty").touch()
    assert isinstance(await refused(fetcher, spool, tmp_path / "empty"), AudioEmpty)


async def test_what_is_no_file_is_refused(tmp_path: Path, spool: FileSpool, fetcher: LocalFileFetcher) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "a\0b"):
        error = await refused(fetcher, spool, path)
        assert isinstance(error, FileUnreadable)
        assert error.values["path"] == str(path)
        assert error.values["reason"]


async def test_a_link_is_refused(fetcher: LocalFileFetcher) -> None:
    with pytest.raises(LinkRefused):
        await fetcher.fetch(AudioLink(url="https://cdn.discordapp.com/x", filename="x"), on_fraction=print)
