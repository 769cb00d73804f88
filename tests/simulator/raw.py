"""Clients that say exactly what a test wants, right or wrong."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import zstandard

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.simulator.payloads import Json
    from tests.simulator.server import DiscordSimulator


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """An answer of the HTTP API, read to its end."""

    status: int
    body: Any
    headers: Mapping[str, str]


class RawClient:
    """Speaks HTTP and the gateway's protocol without any library of Discord's; use it with ``async with``."""

    def __init__(self, simulator: DiscordSimulator, token: str | None = None) -> None:
        self._simulator = simulator
        self._authorization = f"Bot {token or simulator.token}"
        self._session = aiohttp.ClientSession(connector=simulator.connector())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(self, method: str, path: str, **options: Any) -> RawAnswer:
        """Make a request of the HTTP API; ``path`` follows ``/api/v10``."""
        async with self._session.request(
            method,
            f"https://discord.com/api/v10{path}",
            proxy=self._simulator.proxy_url,
            headers={"Authorization": self._authorization},
            **options,
        ) as response:
            text = await response.text()
            is_json = response.headers.get("Content-Type") == "application/json"
            return RawAnswer(
                status=response.status, body=json.loads(text) if is_json else text, headers=dict(response.headers)
            )

    async def download(self, url: str) -> RawAnswer:
        """Fetch anything; redirects are not followed."""
        async with self._session.get(url, proxy=self._simulator.proxy_url, allow_redirects=False) as response:
            return RawAnswer(status=response.status, body=await response.read(), headers=dict(response.headers))

    async def gateway(self, compress: str | None = None, version: int = 10) -> RawGateway:
        """Open the gateway and read its hello."""
        query = f"v={version}&encoding=json" + (f"&compress={compress}" if compress else "")
        socket = await self._session.ws_connect(
            f"wss://gateway.discord.gg/?{query}", proxy=self._simulator.proxy_url, autoclose=False
        )
        return RawGateway(socket, compress)


class RawGateway:
    """One websocket of the gateway."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, compress: str | None) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj() if compress == "zlib-stream" else None
        self._unpack = zstandard.ZstdDecompressor().decompressobj() if compress == "zstd-stream" else None

    async def send(self, opcode: int, data: object) -> None:
        """Send a payload."""
        await self.socket.send_str(json.dumps({"op": opcode, "d": data}))

    async def receive(self) -> Json:
        """The next payload."""
        message = await self.socket.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.TEXT:
            return json.loads(message.data)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        unpacker = self._inflate or self._unpack
        assert unpacker is not None
        return json.loads(unpacker.decompress(message.data))

    async def until(self, *, op: int | None = None, event: str | None = None) -> Json:
        """Skip payloads until one of that opcode or event."""
        while True:
            payload = await self.receive()
            if payload["op"] == op or (event is not None and payload["t"] == event):
                return payload

    async def closed(self) -> int | None:
        """Wait until the gateway hangs up; gives its code."""
        while True:
            message = await self.socket.receive(timeout=5)
            if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
                return self.socket.close_code or message.data

    async def identify(self, token: str, *, intents: int = 1, shard: tuple[int, int] | None = None) -> Json:
        """Read the hello, identify, and give the READY event's data."""
        await self.until(op=10)
        await self.send(2, identify_data(token, intents=intents, shard=shard))
        return (await self.until(event="READY"))["d"]


def identify_data(token: str, *, intents: int = 1, shard: tuple[int, int] | None = None) -> Json:
    """What IDENTIFY carries."""
    data: Json = {
        "token": token,
        "intents": intents,
        "properties": {"os": "linux", "browser": "test", "device": "test"},
    }
    return data | ({"shard": list(shard)} if shard else {})
