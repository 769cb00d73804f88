"""One server as a child process, that may outlive its parent."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from loguru import logger
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from bot.adapters.embedded_redis.failures import EmbeddedRedisFailed
from bot.adapters.embedded_redis.files import POLL_S, PRIVATE, try_lock

if TYPE_CHECKING:
    from bot.adapters.embedded_redis.failures import Patience

_ANSWER_S: Final = 1.0
_LARGEST_LOG: Final = 1 << 20
_MULTI_PART_AOF: Final = 7
"""The version since which the append-only file is a folder of files, which an older server does not look for."""

_SETTINGS: Final = {
    "store": {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"},
    "cache": {"maxmemory-policy": "allkeys-lru", "appendonly": "no"},
}


class ServerProcess:
    """One role's server, whoever started it. `ensure` and `stop` are called by one process at a time."""

    def __init__(
        self, role: Literal["store", "cache"], folder: Path, sockets: Path, kind: tuple[Path, int], patience: Patience
    ) -> None:
        self.role = role
        self._home = folder / role
        self._home.mkdir(mode=PRIVATE, exist_ok=True)
        self._lock = self._home / "alive.lock"
        self._log = self._home / "redis.log"
        self._pid_file = self._home / "redis.pid"
        self.socket = sockets / f"{role}.sock"
        self._binary, maxmemory = kind
        self._patience = patience
        self._settings = {"maxmemory": str(maxmemory), **_SETTINGS[role]}
        self._child: subprocess.Popen[bytes] | None = None

    def runs(self) -> bool:
        """Whether it lives, and can be reached."""
        if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG:
            os.truncate(self._log, 0)  # it appends, so it goes on at the beginning
        return self._lives() and self.socket.exists()

    async def ensure(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises:
            EmbeddedRedisFailed: it ends, or does not answer in time.
        """
        clock = asyncio.get_running_loop().time
        began, started = clock(), False
        while (state := await self._state()) != "ready":
            waited = clock() - began
            if started and self._child is not None and self._child.returncode is not None:
                raise self._failed(f"ended at once, with status {self._child.returncode}")
            if waited > (self._patience.loading_s if state == "loading" else self._patience.start_s):
                raise self._failed("does not answer")
            if not started and not self._lives():
                await asyncio.to_thread(self._check_files)
                started = self._start()
            elif not started and waited > self._patience.unreachable_s and not self.socket.exists():
                self._signal(signal.SIGTERM)
            await asyncio.sleep(POLL_S)
        if not started:  # somebody else did, maybe an earlier version of us
            try:
                for name, value in self._settings.items():
                    await self._ask("CONFIG", "SET", name, value)
            except RedisError as exc:
                raise self._failed(f"cannot be set up: {exc}") from exc

    async def stop(self) -> None:
        """End it; what it holds is on the disk then."""
        with suppress(RedisError, OSError):
            await self._ask("SHUTDOWN")
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._lives():  # SIGTERM asks for the same, where there is no way to ask
                self._signal(number)
                await self._ends()
        if self._lives():
            logger.warning("the {}'s server does not end: it is left to whoever comes next", self.role)
            return
        self.socket.unlink(missing_ok=True)

    async def _ends(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.stop_s):
                while self._lives():  # noqa: ASYNC110 - only the lock tells
                    await asyncio.sleep(POLL_S)

    def _lives(self) -> bool:
        with self._lock.open("ab") as lock:
            return not try_lock(lock, fcntl.LOCK_SH)

    async def _state(self) -> Literal["ready", "loading", "silent"]:
        try:
            await self._ask("PING")
        except BusyLoadingError:
            return "loading"
        except (RedisError, OSError):
            return "silent"
        return "ready"

    async def _ask(self, *command: str) -> None:
        client = Redis(
            unix_socket_path=str(self.socket),
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        )
        async with client:
            await client.execute_command(*command)

    def _start(self) -> bool:
        """Whether it was started: somebody may be looking just now whether it lives, which the lock shows too."""
        options = {
            "port": "0",
            "protected-mode": "yes",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._home),
            "pidfile": str(self._pid_file),
            "loglevel": "warning",
            "save": "",
            **self._settings,
        }
        command = [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.socket.parent.mkdir(mode=PRIVATE, exist_ok=True)  # it may have been cleaned away
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.old"))
        with self._lock.open("ab") as lock, self._log.open("ab") as log:
            if not try_lock(lock, fcntl.LOCK_EX):
                return False
            self._child = subprocess.Popen(  # noqa: S603 - the operator's server
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={},  # it needs none, and ours holds secrets
                cwd=self._home,
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        # Somebody has to wait for a child, or it stays as a zombie; it may outlive us, so nothing waits for the thread.
        threading.Thread(target=self._child.wait, name=f"waits for the {self.role}", daemon=True).start()
        return True

    def _check_files(self) -> None:
        """Refuse a server that would not find what a newer one kept, and begin with nothing.

        Raises:
            EmbeddedRedisFailed: it is too old, or does not run at all.
        """
        try:
            version = subprocess.run(  # noqa: S603 - the operator's server
                [str(self._binary), "--version"],
                capture_output=True,
                text=True,
                timeout=self._patience.start_s,
                check=True,
                env={},
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError) as exc:
            raise EmbeddedRedisFailed(f"{self._binary} is no server that runs here: {exc}") from exc
        found = re.search(r"v=(\d+)", version)
        kept = self._home / "appendonlydir"
        if found and int(found[1]) < _MULTI_PART_AOF and any(kept.glob("*.manifest")):
            raise EmbeddedRedisFailed(
                f"{kept} was written by Redis 7 or newer, and {self._binary} ({version}) would not find it: "
                f"use a newer server, or move {kept} away to begin with nothing"
            )

    def _signal(self, number: signal.Signals) -> None:
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _pid(self) -> int | None:
        """Its process; of one that somebody else started, only if it holds the lock: ids are used again."""
        if self._child is not None and self._child.returncode is None:
            return self._child.pid
        try:
            pid = int(self._pid_file.read_text())
            held = {path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()}
        except (OSError, ValueError):
            return None
        return pid if self._lock in held else None

    def _failed(self, what: str) -> EmbeddedRedisFailed:
        with suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            if lines:
                what = f"{what} ({lines[-1].strip()})"
        return EmbeddedRedisFailed(f"the {self.role}'s server, {self._binary}, {what}: see {self._log}")
