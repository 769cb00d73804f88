"""A CONNECT proxy that leads every host of Discord to one loopback port, and no other host anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

ALLOWED = re.compile(
    r"discord\.com|(?:[a-z0-9-]+\.)?discord\.gg|cdn\.discordapp\.com|media\.discordapp\.net|[a-z0-9-]+\.discord\.media"
)

_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]+):(\d{1,5}) HTTP/1\.[01]\r\n")
_LIMIT = 64 * 1024


class ConnectProxy:
    """Listens on loopback.

    Attributes:
        refused: hosts that were asked for and are none of Discord's.
        connections: hosts that were connected to, in their order.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.connections: list[str] = []
        self._target_port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What goes into ``proxy=`` and DISCORD_PROXY."""
        assert self._server is not None, "start() comes first"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self, target_port: int) -> None:
        """Listen; lead everything to ``target_port``."""
        self._target_port = target_port
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Cut what is connected and stop listening."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection at once, as a failing network does."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that goes away is nothing to report
        except asyncio.CancelledError:
            pass  # stop() or cut(): the stream's own callback would take it for a failure
        finally:
            self._tasks.discard(task)
            await _close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        match = _CONNECT.match(head)
        if match is None:
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        host = match[1].decode().lower()
        if ALLOWED.fullmatch(host) is None or match[2] != b"443":
            self.refused.append(f"{host}:{match[2].decode()}")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        self.connections.append(host)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await _both(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            await _close(far_writer)


async def _both(*ways: Coroutine[None, None, None]) -> None:
    """Run both directions; when one ends, so does the other."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_LIMIT):
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        await writer.wait_closed()
