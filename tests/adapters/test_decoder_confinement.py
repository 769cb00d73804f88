"""The decoder's child can do nothing but decode, and not for long."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from bot.adapters.decoder import seccomp
from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.decoder.judgement import Ended, judge
from bot.adapters.decoder.report import Orders
from bot.adapters.spool import FileSpool
from bot.core.errors import AudioEmpty, AudioTooLong, DecodeFailed, EarshotError, SpoolFull
from tests import audio
from tests.waiting import until

if TYPE_CHECKING:
    from bot.core.models import FetchedAudio

ROOT = Path(__file__).parents[2]
MOST_FILES = 64
"""The limit is 16, or just above the descriptor that is handed down."""
on_linux = pytest.mark.skipif(not seccomp.is_supported(), reason="system calls are filtered on Linux alone")


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


def long_work(spool: FileSpool) -> FetchedAudio:
    """Many seconds of work in a file that takes no room: 4 GiB of nothing."""
    size = (1 << 32) - 1000
    source = audio.spooled(spool, audio.wav_header(channels=2, rate=192_000, data_bytes=size))
    os.truncate(source.path, size)
    return source


async def confined_child(parent: int | None = None) -> psutil.Process:
    """The child of this process, or of another, once it is at work within its limits."""

    def found() -> list[psutil.Process]:
        return [
            child for child in psutil.Process(parent).children() if child.rlimit(psutil.RLIMIT_NOFILE)[1] <= MOST_FILES
        ]

    await until(found)
    return found()[0]


@on_linux
async def test_the_child_cannot_break_out(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("still")
    with tempfile.TemporaryFile() as sink:
        orders = Orders(
            parent_pid=os.getpid(),
            sink_fd=sink.fileno(),
            sample_rate=16_000,
            max_samples=1_000,
            memory_bytes=1 << 30,
            cpu_s=20,
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.adapters.breakout import main; main()",
            json.dumps(asdict(orders)),
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(sink.fileno(),),
            cwd=tmp_path,
        )
        output, _ = await child.communicate()
        sink.seek(0)
        assert sink.read(4) == b"fine"
    told = json.loads(output)
    assert told["filtered"]
    outcomes = told["outcomes"]
    assert outcomes.pop("write a little") == "done"
    assert outcomes.pop("write too much") == "EFBIG"
    assert outcomes.pop("fill the memory") == "MemoryError"
    assert outcomes.pop("start a thread") == "RuntimeError"
    assert set(outcomes.pop("raise a limit").split()) <= {"EPERM", "ValueError"}
    assert set(outcomes.values()) == {"EPERM"}, outcomes
    assert (tmp_path / "here").exists()


@on_linux
async def test_the_child_inherits_nothing(spool: FileSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    decoder = ConfinedDecoder(
        spool, confinement=Confinement(max_minutes=600), environment={"LD_LIBRARY_PATH": "/nonexistent"}
    )
    with tempfile.TemporaryFile() as open_file:
        os.set_inheritable(open_file.fileno(), True)  # noqa: FBT003 - its own name says what
        work = asyncio.create_task(decoder.decode(long_work(spool)))
        child = await confined_child()
        assert set(child.environ()) <= {"PATH", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH"}
        assert child.environ()["LD_LIBRARY_PATH"] == "/nonexistent"
        assert Path(child.cwd()) == spool.root
        assert os.getsid(child.pid) == child.pid
        assert open_file.fileno() not in [file.fd for file in child.open_files()]
        assert child.rlimit(psutil.RLIMIT_CPU) == (300, 305)
        assert child.rlimit(psutil.RLIMIT_AS) == (512 << 20, 512 << 20)
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


@on_linux
async def test_cancelling_ends_the_child_and_leaves_nothing(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=600))
    source = long_work(spool)
    work = asyncio.create_task(decoder.decode(source))
    child = await confined_child()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not child.is_running()
    assert list(spool.root.iterdir()) == [source.path]


@pytest.mark.parametrize(
    ("confinement", "reason"),
    [
        (Confinement(max_minutes=600, cpu_s=1), "out of CPU time"),
        (Confinement(max_minutes=600, wall_s=0.5), "no end after"),
        (Confinement(max_minutes=600, memory_bytes=1 << 20), "MemoryError|ended with|killed by"),
    ],
    ids=["cpu", "wall", "memory"],
)
async def test_a_limit_is_an_error_and_leaves_nothing(spool: FileSpool, confinement: Confinement, reason: str) -> None:
    source = long_work(spool)
    with pytest.raises(DecodeFailed, match=reason):
        await ConfinedDecoder(spool, confinement=confinement).decode(source)
    assert list(spool.root.iterdir()) == [source.path]


@on_linux
async def test_a_killed_child_is_an_error(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=600))
    source = long_work(spool)
    work = asyncio.create_task(decoder.decode(source))
    child = await confined_child()
    child.send_signal(signal.SIGSEGV)
    with pytest.raises(DecodeFailed, match="SIGSEGV"):
        await work
    assert list(spool.root.iterdir()) == [source.path]


@on_linux
async def test_the_child_does_not_outlive_its_parent(spool: FileSpool, tmp_path: Path) -> None:
    source = long_work(spool)
    program = tmp_path / "parent.py"
    program.write_text(
        f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.spool import FileSpool
from bot.core.models import FetchedAudio

source = FetchedAudio(path=pathlib.Path({str(source.path)!r}), sha256={source.sha256!r}, size=1, filename="x")
decoder = ConfinedDecoder(FileSpool(source.path.parent), confinement=Confinement(max_minutes=600))
asyncio.run(decoder.decode(source))
"""
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, str(program))
    child = await confined_child(parent.pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@on_linux
async def test_no_more_work_at_a_time_than_allowed(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=600), parallel=1)
    first = asyncio.create_task(decoder.decode(long_work(spool)))
    await confined_child()
    second = asyncio.create_task(decoder.decode(audio.spooled(spool, audio.encoded("ogg"))))
    done, _ = await asyncio.wait([second], timeout=0.5)
    assert not done
    first.cancel()
    decoded = await second
    assert decoded.duration_s == pytest.approx(audio.SPEECH_S)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_source_that_is_gone_is_an_error_of_the_tree(spool: FileSpool) -> None:
    source = audio.spooled(spool, b"x")
    spool.release(source)
    with pytest.raises(DecodeFailed):
        await ConfinedDecoder(spool, confinement=Confinement(max_minutes=1)).decode(source)


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        (Ended(status=0, report=b""), DecodeFailed),
        (Ended(status=0, report=b"{"), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": 9}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": 0}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": -1}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": 10, "declared_s": NaN}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": 10, "declared_s": Infinity}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "decoded", "samples": 10, "extra": 1}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "victory", "samples": 10}'), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "failed", "detail": "MemoryError"}'), DecodeFailed),
        (Ended(status=1, report=b'{"outcome": "decoded", "samples": 10}'), DecodeFailed),
        (Ended(status=-9, report=b""), DecodeFailed),
        (Ended(status=-64, report=b""), DecodeFailed),
        (Ended(status=0, report=b'{"outcome": "no_room"}'), SpoolFull),
        (Ended(status=0, report=b'{"outcome": "empty"}'), AudioEmpty),
        (Ended(status=0, report=b'{"outcome": "too_long"}'), AudioTooLong),
    ],
)
def test_nothing_that_the_child_tells_is_believed_unchecked(ended: Ended, error: type[EarshotError]) -> None:
    with pytest.raises(EarshotError) as caught:
        judge(ended, written_bytes=40, limit_minutes=1)
    assert type(caught.value) is error


def test_a_report_that_holds_is_believed() -> None:
    ended = Ended(status=0, report=b'{"outcome": "decoded", "samples": 10, "declared_s": 1.5}')
    assert judge(ended, written_bytes=40, limit_minutes=1).declared_s == 1.5
