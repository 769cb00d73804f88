"""Decodes what members post in a child process that can do nothing else."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from bot.adapters.decoder.judgement import Ended, judge
from bot.adapters.decoder.report import Orders
from bot.core.errors import AudioTooLong, DecodeFailed
from bot.core.models import BYTES_PER_SAMPLE, SAMPLE_RATE, DecodedAudio, FetchedAudio

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping

    from bot.adapters.decoder.report import Report
    from bot.adapters.spool import Draft, FileSpool

_CODE_ROOT = Path(__file__).resolve().parents[3]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from bot.adapters.decoder.child import main; main(sys.argv[2])"
_BARE_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
_REPORT_BYTES = 4096
_COMPLAINT_BYTES = 2048
_GRACE_S = 1
"""A file may be this much longer than the limit: encoders round up."""
_ABSURD_S = 48 * 3600.0
_CLEARLY_LONGER = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What one decoding may use. An hour of speech takes 4 to 16 s of CPU, its format deciding.

    ``memory_bytes`` is of address space; the interpreter and FFmpeg take a quarter of it before they begin.
    """

    max_minutes: float
    memory_bytes: int = 512 << 20
    cpu_s: int = 300
    wall_s: float = 600.0


class ConfinedDecoder:
    """Decodes in a child process for each file.

    Args:
        spool: where the samples go.
        confinement: what each may use.
        parallel: how many may work at a time; others wait.
        environment: what the dynamic linker needs beyond the defaults (``LD_LIBRARY_PATH`` on some systems). Never
            the environment of the bot, which holds its secrets.
    """

    def __init__(
        self,
        spool: FileSpool,
        *,
        confinement: Confinement,
        parallel: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._spool = spool
        self._confinement = confinement
        self._places = asyncio.Semaphore(parallel)
        self._environment = {**_BARE_ENVIRONMENT, **(environment or {})}
        self._has_told_of_weakness = False

    async def decode(self, audio: FetchedAudio) -> DecodedAudio:
        """Decode the first audio track that gives sound.

        Raises:
            AudioEmpty, NotAudio, NoAudioTrack, AudioEncrypted, AudioTooLong: the member can cure it.
            SpoolFull: no room for the samples.
            DecodeFailed: the decoder crashed or ran into a limit.
        """
        declared_s = _sane(audio.declared_s)
        if declared_s is not None and declared_s > self._confinement.max_minutes * 60 * _CLEARLY_LONGER:
            raise AudioTooLong(f"declared as {declared_s:.0f} s", limit_minutes=self._confinement.max_minutes)
        expected_bytes = int((declared_s or 0) * SAMPLE_RATE) * BYTES_PER_SAMPLE
        async with self._places:
            with self._spool.draft(expected_bytes=expected_bytes) as draft:
                ended = await self._run_child(audio.path, draft)
                written = os.fstat(draft.fileno()).st_size
                report = judge(ended, written_bytes=written, limit_minutes=self._confinement.max_minutes)
                path = draft.keep(audio.sha256)
        self._log(report)
        promises = [seconds for seconds in (declared_s, report.declared_s) if seconds is not None]
        return DecodedAudio(path=path, samples=report.samples, declared_s=max(promises, default=None))

    def _log(self, report: Report) -> None:
        if report.damaged:
            logger.info("left out {} damaged packets ({} in {})", report.damaged, report.codec, report.container)
        if not report.syscalls_filtered and not self._has_told_of_weakness:
            self._has_told_of_weakness = True
            logger.warning("this machine cannot filter the decoder's system calls; its other limits hold")

    async def _run_child(self, source: Path, draft: Draft) -> Ended:
        try:
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            raise DecodeFailed(f"the file cannot be read: {exc}") from exc
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-c",
                _START,
                str(_CODE_ROOT),
                json.dumps(asdict(self._orders(draft))),
                stdin=fd,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(draft.fileno(),),
                cwd=self._spool.root,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as exc:
            raise DecodeFailed(f"the decoder does not start: {exc}") from exc
        finally:
            os.close(fd)
        try:
            async with asyncio.timeout(self._confinement.wall_s):
                return await _end_of(child)
        except TimeoutError as exc:
            raise DecodeFailed(f"no end after {self._confinement.wall_s:.0f} s") from exc
        finally:
            await _kill(child)

    def _orders(self, draft: Draft) -> Orders:
        return Orders(
            parent_pid=os.getpid(),
            sink_fd=draft.fileno(),
            sample_rate=SAMPLE_RATE,
            max_samples=int((self._confinement.max_minutes * 60 + _GRACE_S) * SAMPLE_RATE),
            memory_bytes=self._confinement.memory_bytes,
            cpu_s=self._confinement.cpu_s,
        )


async def _end_of(child: Process) -> Ended:
    assert child.stdout is not None
    assert child.stderr is not None
    report, complaint, status = await asyncio.gather(
        _start_of(child.stdout, _REPORT_BYTES), _start_of(child.stderr, _COMPLAINT_BYTES), child.wait()
    )
    return Ended(status=status, report=report, complaint=complaint.decode(errors="replace").strip())


async def _start_of(stream: asyncio.StreamReader, limit: int) -> bytes:
    """All that comes, of which the first ``limit`` bytes are kept: a child that floods us does not fill our memory."""
    kept = bytearray()
    while data := await stream.read(limit):
        kept += data[: limit - len(kept)]
    return bytes(kept)


async def _kill(child: Process) -> None:
    """End the child, and whatever it started, if it has not ended by itself."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _sane(declared_s: float | None) -> float | None:
    """What Discord declares comes from the client that posted it."""
    if declared_s is None or not math.isfinite(declared_s) or not 0 < declared_s <= _ABSURD_S:
        return None
    return declared_s
