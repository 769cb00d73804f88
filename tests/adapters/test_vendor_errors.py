"""Whatever a vendor raises comes out of its adapter as an error of the tree. openai has a file of its own."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import errno
import importlib
import inspect
import io
import json
import pkgutil
import shutil
import ssl
import traceback
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import av.error
import ctranslate2
import docket
import faster_whisper
import pytest
import redis.exceptions
from aiohttp import client_exceptions
from multidict import CIMultiDict
from yarl import URL

from bot.adapters.decoder import child as decoder_child
from bot.adapters.decoder.judgement import Ended, judge
from bot.adapters.decoder.report import Orders, Outcome, Report
from bot.adapters.discord_cdn import DiscordCdnFetcher, FetchLimits
from bot.adapters.jobs import DocketJobs
from bot.adapters.local_files import LocalFileFetcher
from bot.adapters.redis.connections import LISTENING, QUICK, STEADY, RedisServer, Way
from bot.adapters.spool import FileSpool
from bot.adapters.whisper import WhisperTranscriber, protocol
from bot.adapters.whisper import child as whisper_child
from bot.adapters.whisper.engine import Language
from bot.core.errors import (
    CompletionFailed,
    EarshotError,
    ErrorKind,
    FetchFailed,
    FileUnreadable,
    SpoolFailed,
    SpoolFull,
    StoreUnavailable,
    TranscriberCrashed,
)
from bot.core.jobs import Lane
from bot.core.models import AudioFile, AudioLink, FetchedAudio, Task
from tests import audio
from tests.adapters.scripted_link import asking
from tests.adapters.test_openai_errors import every
from tests.fakes import FakeClock
from tests.llm_server import Sends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

SECRET = "hm=0123456789abcdef"
LINK = f"https://cdn.discordapp.com/attachments/1/2/a.ogg?{SECRET}"
OS_ERRORS = (OSError, ConnectionResetError, BrokenPipeError, ConnectionRefusedError, TimeoutError, ssl.SSLError)


def exceptions_of(module: ModuleType) -> set[type[BaseException]]:
    """Those that a module names."""
    return {each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, BaseException)}


def named(kinds: Iterable[type[BaseException]]) -> set[str]:
    return {kind.__name__ for kind in kinds}


# --- redis --------------------------------------------------------------------------------------------------------

NOT_OF_ONE_SERVER = {
    *("RedisClusterException", "SlotNotCoveredError", "CrossSlotTransactionError", "InvalidPipelineStack"),
    *("IncorrectPolicyType", "ChildDeadlockedError"),
}
"""What clusters raise, and what a process does that forks: there is neither here."""


def redis_error(kind: type[Exception]) -> Exception:
    """Those of clusters read an address in their text."""
    return kind("3999 127.0.0.1:6381")


def test_every_error_of_redis_is_of_one_root_or_none_of_one_server() -> None:
    others = exceptions_of(redis.exceptions) - set(every(redis.exceptions.RedisError))
    assert named(others) == NOT_OF_ONE_SERVER


@pytest.mark.parametrize("way", [QUICK, STEADY, LISTENING], ids=lambda way: way.name)
@pytest.mark.parametrize(
    "kind", dict.fromkeys([*every(redis.exceptions.RedisError), *OS_ERRORS]), ids=lambda kind: kind.__name__
)
async def test_every_error_of_redis_is_mapped(kind: type[Exception], way: Way) -> None:
    server = RedisServer("unix:///nowhere", role="store", clock=FakeClock())

    async def operation(_client: object) -> None:
        raise redis_error(kind)

    with pytest.raises(StoreUnavailable) as caught:
        await server.call(operation, way=way)
    assert caught.value.kind is ErrorKind.TEMPORARY
    assert caught.value.detail.startswith("store: ")
    await server.aclose()


# --- docket -------------------------------------------------------------------------------------------------------

OF_FEATURES_NOT_USED = {"AdmissionBlocked", "ConcurrencyBlocked", "ForcedRetry", "ExecutionCancelled"}
"""What docket raises within a job whose function asks for limits or retries, or where results are asked for."""


class FailingServer(RedisServer):
    """A store of which docket gets clients whose scripts fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__("unix:///nowhere", role="store", clock=FakeClock())
        self._error = error

    def client(self, way: Way) -> Any:
        super().client(way)
        return SimpleNamespace(evalsha=self._fail, script_load=self._fail)

    async def _fail(self, *_: object) -> None:
        raise self._error


def test_dockets_own_errors_are_of_features_that_are_not_used() -> None:
    names = {name for _, name, _ in pkgutil.walk_packages(docket.__path__, "docket.")}
    names -= {"docket.__main__", "docket._prometheus_exporter"}  # a program, and what needs packages of its own
    modules = [importlib.import_module(name) for name in names]
    own = {kind for module in modules for kind in exceptions_of(module) if kind.__module__.startswith("docket.")}
    assert named(own) == OF_FEATURES_NOT_USED


@pytest.mark.parametrize("wish", ["submit", "cancel"])
@pytest.mark.parametrize(
    "kind", dict.fromkeys([*every(redis.exceptions.RedisError), *OS_ERRORS]), ids=lambda kind: kind.__name__
)
async def test_every_error_that_docket_meets_is_mapped(kind: type[Exception], wish: str) -> None:
    server = FailingServer(redis_error(kind))
    async with DocketJobs(server, "unix:///nowhere") as jobs:
        with pytest.raises(StoreUnavailable) as caught:
            await getattr(jobs, wish)("a", Lane.INTERACTIVE)
    assert caught.value.kind is ErrorKind.TEMPORARY
    assert caught.value.detail.startswith("store: ")


# --- aiohttp ------------------------------------------------------------------------------------------------------


def aiohttp_error(kind: type[Exception]) -> Exception:
    """One of ``kind``, with the signed link wherever there is room for it."""
    values: dict[str, Any] = {
        "request_info": aiohttp.RequestInfo(URL(LINK), "GET", CIMultiDict[str](), URL(LINK)),  # pyright: ignore[reportArgumentType] - a proxy of the same
        "history": (),
        "connection_key": SimpleNamespace(host="h", port=443, ssl=True, is_ssl=True),
        "os_error": OSError(errno.ECONNREFUSED, LINK),
        "certificate_error": ssl.CertificateError(LINK),
        "expected": b"",
        "got": b"",
        "host": LINK,
        "port": 443,
        "path": LINK,
        "url": LINK,
    }
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:  # built in, without a signature
        return kind(errno.EIO, LINK)
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    needed = [each.name for each in named if each.default is each.empty and each.name not in {"args", "kwargs"}]
    return kind(*(values[name] for name in needed)) if needed else kind(LINK)


class FailingSession:
    """A session whose requests fail, at once or after some of the body came."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        self.requests = 0
        self._error = error
        self._late = late

    @asynccontextmanager
    async def get(self, _url: URL, **_given: object) -> AsyncGenerator[Any]:
        self.requests += 1
        if not self._late:
            raise self._error
        content = SimpleNamespace(iter_chunked=self._chunks)
        yield SimpleNamespace(status=200, headers={}, content_length=None, content=content)

    async def _chunks(self, _size: int) -> AsyncGenerator[bytes]:
        yield b"OggS"
        raise self._error


AIOHTTP = dict.fromkeys([*every(aiohttp.ClientError), *OS_ERRORS])


def test_every_error_of_aiohttp_is_of_one_root_or_of_websockets() -> None:
    assert named(exceptions_of(client_exceptions) - AIOHTTP.keys()) == {"WSMessageTypeError"}


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "in-the-body"])
@pytest.mark.parametrize("kind", AIOHTTP, ids=lambda kind: kind.__name__)
async def test_every_error_of_aiohttp_is_mapped(tmp_path: Path, kind: type[Exception], late: bool) -> None:
    spool = FileSpool(tmp_path / "spool", reserve_bytes=0)
    failing = FailingSession(aiohttp_error(kind), late=late)
    session: Any = failing
    fetcher = DiscordCdnFetcher(session, spool, limits=FetchLimits(max_bytes=100, tries=2, wait_s=0.001))
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(AudioLink(url=LINK, filename="a.ogg"), on_fraction=lambda _: None)
    assert (caught.value.kind, failing.requests) == (ErrorKind.TEMPORARY, 2)
    assert list(spool.root.iterdir()) == []
    told = "".join(traceback.format_exception(caught.value)) + caught.value.detail
    assert SECRET not in told, "the log would show it"


# --- PyAV ---------------------------------------------------------------------------------------------------------


class FailingFile(io.BytesIO):
    """A recording that cannot be read on after so many reads."""

    def __init__(self, content: bytes, error: Exception, *, reads: int) -> None:
        super().__init__(content)
        self._error = error
        self._left = reads

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._left:
            raise self._error
        self._left -= 1
        return super().read(size)


def judged(report: Report, *, written: int) -> EarshotError | None:
    """What the bot makes of the report of a child."""
    try:
        judge(Ended(status=0, report=json.dumps(asdict(report)).encode()), written_bytes=written, limit_minutes=1)
    except EarshotError as exc:
        return exc
    return None


FFMPEG = dict.fromkeys(every(av.error.FFmpegError))


def test_every_error_of_pyav_is_of_one_root() -> None:
    assert exceptions_of(av.error) - FFMPEG.keys() <= {RuntimeError}, "Python's own is a base of some"


@pytest.mark.parametrize("reads", [0, 1, 3], ids=["at-once", "opening", "in-the-middle"])
@pytest.mark.parametrize("kind", FFMPEG, ids=lambda kind: kind.__name__)
def test_every_error_of_pyav_is_reported(kind: Callable[..., Exception], reads: int) -> None:
    sink = io.BytesIO()
    orders = Orders(
        parent_pid=1, sink_fd=1, sample_rate=16_000, max_samples=16_000 * 60, memory_bytes=1 << 29, cpu_s=60
    )
    source = FailingFile(audio.encoded("wav"), kind(errno.EINVAL, "boom"), reads=reads)
    report = decoder_child.decode(source, sink, orders)
    error = judged(report, written=len(sink.getvalue()))
    if reads == 0:
        assert report.outcome in (Outcome.FAILED, Outcome.NO_ROOM)
    assert (error is None) == (report.outcome is Outcome.DECODED)


# --- Whisper: faster-whisper, CTranslate2 and what they stand on ---------------------------------------------------

WHISPER = (
    *(RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, AssertionError),
    *(MemoryError, EOFError, OSError, FileNotFoundError, UnicodeDecodeError, ArithmeticError, ImportError),
)
"""faster-whisper and CTranslate2 have no exceptions of their own: they raise Python's."""


class BreakingEngine:
    """An engine that fails, at once or when it has found the language."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        self._error = error
        self._late = late

    def run(self, _task: object, *, on_scan: Callable[[int], None]) -> Iterator[Language]:
        on_scan(16_000)
        if self._late:
            yield Language(language="en", probability=0.9)
        raise self._error


def test_whispers_libraries_have_no_errors_of_their_own() -> None:
    assert exceptions_of(ctranslate2) | exceptions_of(faster_whisper) == set()


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "in-the-middle"])
@pytest.mark.parametrize("kind", WHISPER, ids=lambda kind: kind.__name__)
def test_whatever_listening_raises_is_told_to_the_bot(kind: type[Exception], late: bool) -> None:
    error = UnicodeDecodeError("utf-8", b"", 0, 1, "boom") if kind is UnicodeDecodeError else kind("boom")
    engine: Any = BreakingEngine(error, late=late)
    job = protocol.Job(path="/x", samples=1, begin=0, language=None, task=Task.TRANSCRIBE, hot_words=())
    said: list[protocol.Answer] = []
    assert not whisper_child.worked(engine, job, said.append)
    assert isinstance(said[-1], protocol.Broken)  # which ends as a TranscriberCrashed, see test_pool.py
    assert kind.__name__ in said[-1].detail


@pytest.mark.parametrize(
    ("place", "problem"),
    [("a file", "FileExistsError"), ("no weights", "RuntimeError"), ("no format", "RuntimeError")],
)
def test_whatever_loading_raises_is_told_to_the_bot(tmp_path: Path, place: str, problem: str) -> None:
    model, models_dir = tmp_path / "model", tmp_path / "models"
    model.mkdir()
    if place == "a file":  # where the folder of models should be
        models_dir.write_text("")
    if place == "no format":
        (model / "model.bin").write_bytes(b"these are no weights")
    setup = protocol.Setup(
        model="embedded" if place == "a file" else str(model),
        models_dir=str(models_dir),
        wheels_dir=str(tmp_path),
        device="cpu",
        compute_type="auto",
        threads=1,
        concurrency=1,
        beam_size=1,
        niceness=0,
    )
    said: list[protocol.Answer] = []
    assert whisper_child.loaded(setup, said.append) is None
    (unavailable,) = said  # which ends as a ModelUnavailable, see test_pool.py
    assert isinstance(unavailable, protocol.Unavailable)
    assert problem in unavailable.detail


async def test_a_process_that_cannot_be_started_is_a_crash(tmp_path: Path) -> None:
    transcriber = WhisperTranscriber(model="embedded", models_dir=tmp_path, command=[str(tmp_path / "nothing")])
    with pytest.raises(TranscriberCrashed, match="does not start"):
        await transcriber.warm_up()
    assert transcriber.state.name == "failed"
    await transcriber.aclose()


# --- the disk -----------------------------------------------------------------------------------------------------

DIGEST = "0" * 64


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


def test_a_folder_that_is_gone_is_a_spool_that_fails(spool: FileSpool) -> None:
    with spool.draft() as draft:
        draft.write(b"OggS")
        shutil.rmtree(spool.root)
        with pytest.raises(SpoolFailed) as caught:
            draft.keep(DIGEST)
    with pytest.raises(SpoolFailed), spool.draft():
        pass
    assert not isinstance(caught.value, SpoolFull)


def test_what_cannot_be_deleted_costs_nobody_their_answer(spool: FileSpool) -> None:
    path = spool.root / f"{DIGEST}-{'0' * 32}"
    path.mkdir()  # no file: it cannot be unlinked
    spool.release(FetchedAudio(path=path, sha256=DIGEST, size=1, filename="a.ogg"))
    assert path.is_dir()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
async def test_a_local_file_that_breaks_while_it_is_read_is_the_operators_to_cure(spool: FileSpool) -> None:
    source = AudioFile(path=Path("/proc/self/mem"))
    with pytest.raises(FileUnreadable) as caught:
        await LocalFileFetcher(spool, max_bytes=1_000).fetch(source, on_fraction=lambda _: None)
    assert caught.value.values == {"path": "/proc/self/mem", "reason": "Input/output error"}
    assert list(spool.root.iterdir()) == []


# --- openai, where it parses --------------------------------------------------------------------------------------


async def test_an_answer_that_is_too_deep_to_parse_is_a_failed_completion() -> None:
    async with asking() as asked:
        error = await asked.failure(Sends(body=b"data: " + b"[" * 100_000 + b"\n\n"))
    assert type(error) is CompletionFailed
    assert "RecursionError" in error.detail
