"""The gateway: sessions, their events, and what may go wrong with a connection.

Source: https://discord.com/developers/docs/events/gateway
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import web

from tests.simulator.compression import COMPRESSORS
from tests.simulator.connections import CloseCode, Closed, Connection, Opcode
from tests.simulator.intents import KNOWN_BITS, PRIVILEGED, Intent, application_flags
from tests.simulator.sessions import Session
from tests.simulator.snowflakes import shard_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.audit import Audit
    from tests.simulator.changes import Changes
    from tests.simulator.clock import Clock
    from tests.simulator.contracts import Contracts
    from tests.simulator.errors import FormProblem
    from tests.simulator.guilds import Guild
    from tests.simulator.payloads import Json
    from tests.simulator.users import User

RESUME_HOST = "gateway-us-east1-b.discord.gg"
VERSION = "10"


class Directory(Protocol):
    """What the gateway needs to know of the world."""

    guilds: dict[int, Guild]
    bot: User
    application_id: int
    changes: Changes


class Gateway:
    """Serves websockets, keeps sessions, dispatches events.

    Attributes:
        heartbeat_interval_s: asked of the bot, in seconds.
        acknowledge_heartbeats: set to False for a gateway that has died without hanging up.
        privileged: the privileged intents that are switched on for the application.
        sessions: by their ids.
        identifies: how often a session was started.
        compressions: the transport compression of each connection so far.
        closures: the codes with which the gateway hung up on its own.
        audit: notes what is sent.
        presences: what the bot said of itself, the newest last.
        unknown: opcodes that the simulator has nothing for.
    """

    def __init__(self, clock: Clock, contracts: Contracts | None, audit: Audit, token: str) -> None:
        self.clock = clock
        self.token = token
        self.heartbeat_interval_s = 41.25
        self.acknowledge_heartbeats = True
        self.privileged = Intent(0)
        self.sessions: dict[str, Session] = {}
        self.connections: list[Connection] = []
        self.identifies = 0
        self.compressions: list[str | None] = []
        self.closures: list[CloseCode] = []
        self.presences: list[Any] = []
        self.unknown: list[str] = []
        self.on_violation: Callable[[str, list[FormProblem]], None] = _ignore
        self.audit = audit
        self._contracts = contracts
        self._world: Directory | None = None

    def attach(self, world: Directory) -> None:
        """Learn of the world whose events are dispatched."""
        self._world = world

    @property
    def world(self) -> Directory:
        """The world."""
        assert self._world is not None, "attach() comes first"
        return self._world

    @property
    def live(self) -> list[Session]:
        """The sessions that are connected."""
        return [session for session in self.sessions.values() if session.connection is not None]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket."""
        query = request.query
        socket = web.WebSocketResponse(compress=False, autoping=True, timeout=2.0)
        await socket.prepare(request)
        compression = COMPRESSORS.get(query.get("compress"))
        if query.get("v") != VERSION or query.get("encoding", "json") != "json" or compression is None:
            await socket.close(code=CloseCode.INVALID_VERSION, message=b"Invalid API version")
            return socket
        connection = Connection(self, socket, compression(), request.transport)
        self.connections.append(connection)
        self.compressions.append(query.get("compress"))
        await connection.serve()
        return socket

    # --- what the bot sends -------------------------------------------------------------------------------------

    def check_sent(self, payload: Json) -> None:
        """Hold what the bot sent against Discord's schema.

        Raises:
            Closed: it is not as it has to be.
        """
        if payload["op"] not in set(Opcode):
            raise Closed(CloseCode.UNKNOWN_OPCODE, "Unknown opcode.")
        problems = self._contracts.sent(payload) if self._contracts else []
        if problems:
            self.on_violation(f"gateway opcode {payload['op']}", problems)
            raise Closed(CloseCode.DECODE_ERROR, "Error while decoding payload.")

    def identify(self, connection: Connection, data: Json) -> None:
        """Start a session: READY, then a GUILD_CREATE for each guild of the shard."""
        self._check_token(data["token"])
        intents = data["intents"]
        if intents & ~KNOWN_BITS:
            raise Closed(CloseCode.INVALID_INTENTS, "Invalid intent(s).")
        if intents & PRIVILEGED & ~self.privileged:
            raise Closed(CloseCode.DISALLOWED_INTENTS, "Disallowed intent(s).")
        shard_id, shard_count = data.get("shard", (0, 1))
        if not 0 <= shard_id < shard_count:
            raise Closed(CloseCode.INVALID_SHARD, "Invalid shard.")
        session = Session(
            id=secrets.token_hex(16),
            intents=Intent(intents),
            shard_id=int(shard_id),
            shard_count=int(shard_count),
        )
        self.sessions[session.id] = session
        self.identifies += 1
        self._connect(session, connection)
        self._welcome(session, sharded="shard" in data)

    def resume(self, connection: Connection, data: Json) -> None:
        """Go on with a session: the missed events, then RESUMED; or INVALID_SESSION."""
        self._check_token(data["token"])
        session = self.sessions.get(data["session_id"])
        missed = session.missed_since(data["seq"]) if session else None
        if session is None or missed is None:
            connection.send({"op": Opcode.INVALID_SESSION, "d": False, "s": None, "t": None})
            return
        self._connect(session, connection)
        for payload in missed:
            connection.send(payload)
        session.resumes += 1
        session.dispatch("RESUMED", {"_trace": ["simulator"]})

    def command(self, session: Session, opcode: int, data: Json) -> None:
        """Everything else that a session may send."""
        if opcode == Opcode.REQUEST_MEMBERS:
            self._send_members(session, data)
        elif opcode == Opcode.PRESENCE:
            self.presences.append(data)
            self.world.changes.notify()
        else:
            self.unknown.append(f"gateway opcode {opcode}: {data}")

    def left(self, connection: Connection, code: int | None) -> None:
        """A connection is over. A bot that hangs up with 1000 or 1001 gives its session up; ``code`` is its own."""
        self.connections.remove(connection)
        session = connection.session
        if session is not None and session.connection is None and code in {1000, 1001}:
            self.sessions.pop(session.id, None)
        self.world.changes.notify()

    # --- what the simulator sends -------------------------------------------------------------------------------

    def dispatch(
        self, event: str, data: Json, *, guild_id: int | None, intent: Intent | None, redacted: Json | None = None
    ) -> None:
        """Send an event to every session that wants it; ``redacted`` to those without message content."""
        for session in self.sessions.values():
            if session.wants(guild_id, intent):
                blind = not session.intents & self.privileged & Intent.MESSAGE_CONTENT
                session.dispatch(event, redacted if redacted is not None and blind else data)

    async def flushed(self) -> None:
        """Wait until all that was dispatched is on the wire of every connected session."""
        await asyncio.gather(*(connection.flushed() for connection in list(self.connections)))

    # --- what may go wrong --------------------------------------------------------------------------------------

    async def disconnect(self, code: int = 1001) -> None:
        """Hang up on every connection; the sessions can be resumed."""
        await asyncio.gather(*(connection.close(code) for connection in list(self.connections)))

    def cut(self) -> None:
        """Break every connection without a word; the sessions can be resumed."""
        for connection in list(self.connections):
            connection.cut()

    def ask_to_reconnect(self) -> None:
        """Send RECONNECT (7) to every session."""
        self._broadcast({"op": Opcode.RECONNECT, "d": None, "s": None, "t": None})

    def ask_for_heartbeat(self) -> None:
        """Send HEARTBEAT (1) to every session: it has to answer with one at once."""
        self._broadcast({"op": Opcode.HEARTBEAT, "d": None, "s": None, "t": None})

    def invalidate(self, *, resumable: bool = False) -> None:
        """Send INVALID_SESSION (9) to every session; unless ``resumable``, forget them."""
        self._broadcast({"op": Opcode.INVALID_SESSION, "d": resumable, "s": None, "t": None})
        if not resumable:
            self.sessions.clear()

    def forget_sessions(self) -> None:
        """Let no session be resumed, as after an outage."""
        self.sessions.clear()

    def _broadcast(self, payload: Json) -> None:
        for session in self.live:
            assert session.connection is not None
            session.connection.send(payload)

    def _connect(self, session: Session, connection: Connection) -> None:
        connection.session = session
        session.connection = connection
        self.world.changes.notify()

    def _welcome(self, session: Session, *, sharded: bool) -> None:
        world = self.world
        guilds = [
            guild for guild in world.guilds.values() if shard_of(guild.id, session.shard_count) == session.shard_id
        ]
        flags = application_flags(self.privileged)
        ready: Json = {
            "v": int(VERSION),
            "user": world.bot.own_payload(),
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": f"wss://{RESUME_HOST}",
            "application": {"id": str(world.application_id), "flags": flags, "flags_new": str(flags)},
        }
        if sharded:
            ready["shard"] = [session.shard_id, session.shard_count]
        session.dispatch("READY", ready)
        for guild in guilds:
            if session.intents & Intent.GUILDS:
                session.dispatch("GUILD_CREATE", guild.payload())

    def _send_members(self, session: Session, data: Json) -> None:
        guild = self.world.guilds.get(int(data["guild_id"]))
        if guild is None:
            return
        wanted: set[int] | None = None
        if "user_ids" in data:
            given = data["user_ids"]
            listed = cast("list[Any]", given if isinstance(given, list) else [given])
            wanted = {int(user) for user in listed}
        query: str = (data.get("query") or "").lower()
        members = [
            member.payload()
            for member in guild.members.values()
            if (wanted is None or member.id in wanted) and member.user.name.lower().startswith(query)
        ]
        chunk: Json = {
            "guild_id": str(guild.id),
            "members": members[: data.get("limit") or None],
            "chunk_index": 0,
            "chunk_count": 1,
        }
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk)

    def _check_token(self, token: str) -> None:
        if token.removeprefix("Bot ") != self.token:
            raise Closed(CloseCode.AUTHENTICATION_FAILED, "Authentication failed.")


def _ignore(_where: str, _problems: list[FormProblem]) -> None:
    """What is done about violations before anybody asked to be told."""
