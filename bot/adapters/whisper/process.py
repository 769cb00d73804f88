"""One transcriber process, seen from the bot."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from bot.adapters.whisper import protocol
from bot.core.errors import ModelUnavailable, TranscriberCrashed, UnknownLanguage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("PIP_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_NO_INDEX"),
    *("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
)
_FIXED = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's threads would wait for each other busily, on cores that the model needs
}
COMMAND = (sys.executable, "-m", "bot.adapters.whisper.child")
_ROOT = Path(__file__).parents[3]
_TAIL_BYTES = 2_000


class WhisperProcess:
    """A process with a model loaded; it works on one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._complaints = b""
        self._listener = asyncio.create_task(self._listen())
        self.ready: protocol.Ready | None = None

    @classmethod
    async def start(
        cls, setup: protocol.Setup, *, load_timeout_s: float, command: Sequence[str] = COMMAND
    ) -> WhisperProcess:
        """Start a process and wait until its model is loaded.

        Args:
            setup: what to load.
            load_timeout_s: how long that may take, downloads included.
            command: what to start.

        Raises:
            ModelUnavailable: the model cannot be loaded.
            TranscriberCrashed: the process died, or does not start.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=protocol.MAX_LINE_BYTES,
                cwd=_ROOT,
                env=_environment(),
                start_new_session=True,  # it is killed with whatever it started
            )
        except OSError as exc:
            raise TranscriberCrashed(f"it does not start: {exc}") from exc
        started = cls(process)
        try:
            await started._say(setup)
            started.ready = await started._until_ready(setup, load_timeout_s)
        except BaseException:
            started.kill()
            await started.ended()
            raise
        return started

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return self._process.returncode is None

    def kill(self) -> None:
        """End it at once, with everything that it started."""
        self._requests.close()
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until it is gone; only for one that was killed."""
        # asyncio sees the end of a process only after that of its pipes, and it reads no pipe whose buffer is full.
        while await self._answers.read(protocol.MAX_LINE_BYTES):
            pass
        await self._listener
        await self._process.wait()

    async def work(
        self, job: protocol.Job, *, stall_s: float, on_answer: Callable[[protocol.Found | protocol.Finished], None]
    ) -> None:
        """Let it work on a job.

        Args:
            job: the recording.
            stall_s: silence after which it is taken for dead.
            on_answer: told of language and segments as they come.

        Raises:
            UnknownLanguage: the model does not know the language that was asked for.
            TranscriberCrashed: it died, hangs, or talks nonsense; it is of no more use.
        """
        await self._say(job)
        while True:
            match await self._answer(stall_s):
                case protocol.Done():
                    return
                case protocol.Refused(language=language):
                    raise UnknownLanguage(f"the model does not know {language!r}", language=language)
                case protocol.Found() | protocol.Finished() as answer:
                    on_answer(answer)
                case protocol.Scanned():
                    pass
                case protocol.Broken(detail=detail):
                    raise TranscriberCrashed(detail)
                case other:
                    raise TranscriberCrashed(f"an answer out of turn: {other.type}")

    async def _until_ready(self, setup: protocol.Setup, timeout_s: float) -> protocol.Ready:
        match await self._answer(timeout_s):
            case protocol.Ready() as ready:
                logger.info(
                    "transcriber {} has {} ready on {} ({}), {} windows at once",
                    *(self.pid, setup.model, ready.device, ready.compute_type, ready.workers),
                )
                return ready
            case protocol.Unavailable(detail=detail):
                raise ModelUnavailable(detail, model=setup.model)
            case other:
                raise TranscriberCrashed(f"an answer out of turn: {other.type}")

    async def _say(self, message: protocol.Request) -> None:
        try:
            self._requests.write(protocol.encode(message))
            await self._requests.drain()
        except (ConnectionError, RuntimeError) as exc:
            raise TranscriberCrashed(f"it does not listen: {exc}") from exc

    async def _answer(self, timeout_s: float) -> protocol.Answer:
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._answers.readline()
        except TimeoutError as exc:
            raise TranscriberCrashed(f"no sign of life for {timeout_s:.0f} s") from exc
        except ValueError as exc:  # a line over the limit
            raise TranscriberCrashed(str(exc)) from exc
        if not line.endswith(b"\n"):
            raise TranscriberCrashed(await self._last_words())
        try:
            return protocol.read_answer(line)
        except ValueError as exc:
            raise TranscriberCrashed(f"it talks nonsense: {line[:200]!r}") from exc

    async def _last_words(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._process.wait()
                await self._listener
        words = self._complaints.decode(errors="replace").strip()
        return f"it ended with status {self._process.returncode}: {words or 'no message'}"

    async def _listen(self) -> None:
        """Keep the end of what it writes to stderr; a pipe that nobody reads would stop it."""
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(_TAIL_BYTES):
            self._complaints = (self._complaints + piece)[-_TAIL_BYTES:]


def _environment() -> Mapping[str, str]:
    """Give what a process may know: nothing of the bot's settings and secrets."""
    environ = os.environ  # noqa: TID251 -- not read as a setting, only handed on in part
    passed = {name: environ[name] for name in _INHERITED if name in environ}
    return {**passed, **_FIXED}
