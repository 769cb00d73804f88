"""The bot as its own process, as a self-hoster runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from tests.simulator.changes import NotSeen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

    from tests.simulator.server import DiscordSimulator

REPOSITORY = Path(__file__).resolve().parents[2]

T = TypeVar("T")

RUN = (sys.executable, "-m", "bot", "run")
"""The command line of the real bot."""


class BotExited(AssertionError):
    """The process ended before it was ready; the message holds its log."""


class BotProcess:
    """Starts a process that finds the simulator through DISCORD_PROXY and SSL_CERT_FILE; use it with ``async with``.

    Its environment is bare: nothing of the test's own gets in but what is named here.

    Args:
        simulator: where it connects to.
        settings: further environment variables.
        argv: another command line than the real bot's.
        token: another token than the simulator's.
    """

    def __init__(
        self,
        simulator: DiscordSimulator,
        *,
        settings: Mapping[str, str] | None = None,
        argv: Sequence[str] = RUN,
        token: str | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._simulator = simulator
        self._argv = tuple(argv)
        self._environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "DISCORD_TOKEN": token or simulator.token,
            "DISCORD_PROXY": simulator.proxy_url,
            "SSL_CERT_FILE": str(simulator.ca_file),
            **(settings or {}),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._identifies_before = 0
        self._requests_before = 0

    @property
    def log(self) -> str:
        """All that it wrote to stdout and stderr, over all its starts."""
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._running().returncode

    async def start(self) -> None:
        """Start it, in a process group of its own."""
        self._identifies_before = self._simulator.gateway.identifies
        self._requests_before = len(self._simulator.rest.log.all)
        # A pipe of our own: the process' children inherit it, and must not keep us from seeing its end.
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                cwd=REPOSITORY,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._readers.append(asyncio.create_task(self._read(reading)))
        self._watchers.append(asyncio.create_task(self._watch(self._process)))

    async def ready(self, *, commands: Collection[str] = (), within: float = 60.0) -> None:
        """Wait until it is connected and its commands are in step with Discord's.

        Args:
            commands: names that members of every guild must see. Besides, since it started, the bot must have asked
                for or written the commands of every scope that has some; on its first start, that alone says little.
            within: how long to wait, in seconds.

        Raises:
            BotExited: the process ended.
            NotSeen: it was not ready in time.
        """
        await self.until(lambda: self._is_ready(commands), within=within, what="the bot being ready")

    async def logged(self, text: str, *, within: float = 10.0) -> str:
        """Wait for a line with ``text`` in it, and give it.

        Raises:
            BotExited: the process ended without it.
            NotSeen: there was none in time; ``within`` is in seconds.
        """

        def look() -> str | None:
            return next((line for line in self.lines if text in line), None)

        return await self.until(look, within=within, what=f"a line with {text!r}")

    async def until(self, look: Callable[[], T | None], *, within: float, what: str) -> T:
        """Wait until ``look`` gives something that counts as true, while the process runs.

        Raises:
            BotExited: the process ended first.
            NotSeen: it did not come within so many seconds.
        """

        def look_while_running() -> T | None:
            found = look()
            if not found and self.returncode is not None:
                raise BotExited(f"the bot ended with {self.returncode} before {what}. Its log:\n{self.log}")
            return found

        return await self._simulator.world.changes.until(
            look_while_running, timeout_s=within, what=lambda: f"{what}. The bot's log:\n{self.log}"
        )

    async def terminate(self, *, within: float = 15.0) -> int:
        """Ask it to stop (SIGTERM) and give its exit code.

        Raises:
            NotSeen: it still ran after ``within`` seconds; it is killed.
        """
        process = self._running()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(process.wait(), within)
        except TimeoutError:
            await self.kill()
            raise NotSeen(f"the bot did not stop within {within} s of SIGTERM. Its log:\n{self.log}") from None

    async def kill(self) -> None:
        """Kill the process alone (SIGKILL), as a crash would: its children have to notice by themselves."""
        process = self._running()
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def restart(self) -> None:
        """Stop it politely and start it again; `ready` waits for the new one."""
        await self.terminate()
        await self.start()

    async def exited(self, *, within: float = 30.0) -> int:
        """Wait until it ends by itself, and give its exit code.

        Raises:
            NotSeen: it still ran after ``within`` seconds.
        """
        try:
            return await asyncio.wait_for(self._running().wait(), within)
        except TimeoutError:
            raise NotSeen(f"the bot still ran after {within} s. Its log:\n{self.log}") from None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.terminate()
        finally:
            self._kill_leftovers()
            for task in [*self._readers, *self._watchers]:
                task.cancel()
            await asyncio.gather(*self._readers, *self._watchers, return_exceptions=True)
            # pytest shows it with a failing test, and with no other.
            sys.stdout.write(f"--- log of {' '.join(self._argv)}\n{self.log}\n")

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "start() comes first"
        return self._process

    def _is_ready(self, commands: Collection[str]) -> bool:
        gateway, world = self._simulator.gateway, self._simulator.world
        if gateway.identifies == self._identifies_before or not gateway.live:
            return False
        since = self._simulator.rest.log.all[self._requests_before :]
        requests = [request for request in since if "/commands" in request.template]
        if any(request.answered_at is None for request in requests):
            return False
        dealt_with = {request.params.get("guild_id") for request in requests}
        scopes = [None, *world.guilds]
        used = {None if scope is None else str(scope) for scope in scopes if world.commands.registered(scope)}
        if not used or not used <= dealt_with:
            return False
        return all(world.commands.names(scope).issuperset(commands) for scope in world.guilds or [None])

    async def _read(self, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._simulator.world.changes.notify()
        finally:
            transport.close()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self._simulator.world.changes.notify()

    def _kill_leftovers(self) -> None:
        """Whatever the process left behind in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
