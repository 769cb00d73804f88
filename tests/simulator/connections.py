"""One websocket of the gateway.

Sources: https://discord.com/developers/docs/events/gateway and
https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

from aiohttp import WSMsgType

if TYPE_CHECKING:
    from aiohttp import web

    from tests.simulator.compression import Compressor
    from tests.simulator.gateway import Gateway
    from tests.simulator.payloads import Json
    from tests.simulator.sessions import Session

RATE = 120
RATE_WINDOW_S = 60.0


class Opcode(IntEnum):
    """What a payload of the gateway is."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE = 3
    VOICE_STATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class CloseCode(IntEnum):
    """Why the gateway hangs up."""

    UNKNOWN_ERROR = 4000
    UNKNOWN_OPCODE = 4001
    DECODE_ERROR = 4002
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SEQUENCE = 4007
    RATE_LIMITED = 4008
    SESSION_TIMED_OUT = 4009
    INVALID_SHARD = 4010
    INVALID_VERSION = 4012
    INVALID_INTENTS = 4013
    DISALLOWED_INTENTS = 4014


class Closed(Exception):
    """The gateway hangs up with a code."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Connection:
    """Sends in order through one task, receives in another.

    Attributes:
        heartbeats: when the bot's heartbeats came; the clock's monotonic time in seconds.
    """

    def __init__(
        self,
        gateway: Gateway,
        socket: web.WebSocketResponse,
        compressor: Compressor,
        transport: asyncio.Transport | None,
    ) -> None:
        self.session: Session | None = None
        self.heartbeats: list[float] = []
        self._gateway = gateway
        self._socket = socket
        self._compressor = compressor
        self._transport = transport
        self._outbox: asyncio.Queue[Json] = asyncio.Queue()
        self._received: deque[float] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._hung_up = False

    async def serve(self) -> None:
        """Say hello, then listen until either side hangs up."""
        self._sender = asyncio.create_task(self._send_all())
        self.send(
            {
                "op": Opcode.HELLO,
                "d": {"heartbeat_interval": int(self._gateway.heartbeat_interval_s * 1000), "_trace": ["simulator"]},
                "s": None,
                "t": None,
            }
        )
        try:
            async for message in self._socket:
                self._receive(message.data if message.type is WSMsgType.TEXT else "")
        except Closed as closed:
            self._gateway.closures.append(closed.code)
            self._hung_up = True
            await self._socket.close(code=closed.code, message=closed.reason.encode())
        finally:
            self._sender.cancel()
            if self.session is not None and self.session.connection is self:
                self.session.connection = None
            self._gateway.left(self, None if self._hung_up else self._socket.close_code)

    def send(self, payload: Json) -> None:
        """Put a payload into the outbox."""
        self._gateway.audit.event(payload)
        self._outbox.put_nowait(payload)

    async def flushed(self) -> None:
        """Wait until the outbox is on the wire."""
        assert self._sender is not None
        drained = asyncio.create_task(self._outbox.join())
        # Where the wire is cut, the rest never gets on it.
        await asyncio.wait({drained, self._sender}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()

    async def close(self, code: int) -> None:
        """Hang up politely."""
        self._hung_up = True
        await self._socket.close(code=code)

    def cut(self) -> None:
        """Break the line without a word, as a failing network does."""
        if self._transport is not None:
            self._transport.abort()

    async def _send_all(self) -> None:
        while True:
            payload = await self._outbox.get()
            packed = self._compressor.compress(json.dumps(payload, separators=(",", ":")))
            try:
                if isinstance(packed, str):
                    await self._socket.send_str(packed)
                else:
                    await self._socket.send_bytes(packed)
            except ConnectionError:
                return
            finally:
                self._outbox.task_done()

    def _receive(self, raw: str) -> None:
        payload = self._decoded(raw)
        self._check_rate()
        self._gateway.check_sent(payload)
        data: Any = payload.get("d")
        match payload["op"]:
            case Opcode.HEARTBEAT:
                self._heartbeat(data)
            case Opcode.IDENTIFY:
                if self.session is not None:
                    raise Closed(CloseCode.ALREADY_AUTHENTICATED, "Already authenticated.")
                self._gateway.identify(self, data)
            case Opcode.RESUME:
                if self.session is not None:
                    raise Closed(CloseCode.ALREADY_AUTHENTICATED, "Already authenticated.")
                self._gateway.resume(self, data)
            case opcode:
                if self.session is None:
                    raise Closed(CloseCode.NOT_AUTHENTICATED, "Not authenticated.")
                self._gateway.command(self.session, opcode, data)

    def _heartbeat(self, sequence: int | None) -> None:
        if self.session is not None and (sequence or 0) > self.session.sequence:
            raise Closed(CloseCode.INVALID_SEQUENCE, "Invalid seq specified.")
        self.heartbeats.append(self._gateway.clock.monotonic())
        self._gateway.world.changes.notify()
        if self._gateway.acknowledge_heartbeats:
            self.send({"op": Opcode.HEARTBEAT_ACK, "d": None, "s": None, "t": None})

    def _check_rate(self) -> None:
        now = self._gateway.clock.monotonic()
        self._received.append(now)
        while self._received[0] < now - RATE_WINDOW_S:
            self._received.popleft()
        if len(self._received) > RATE:
            raise Closed(CloseCode.RATE_LIMITED, "You are being rate limited.")

    @staticmethod
    def _decoded(raw: str) -> Json:
        try:
            payload = json.loads(raw)
        except ValueError:
            raise Closed(CloseCode.DECODE_ERROR, "Error while decoding payload.") from None
        if not isinstance(payload, dict) or "op" not in payload:
            raise Closed(CloseCode.DECODE_ERROR, "Error while decoding payload.")
        return cast("Json", payload)
