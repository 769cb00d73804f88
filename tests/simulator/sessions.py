"""Sessions of the gateway: they outlive the connections that serve them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulator.snowflakes import shard_of

if TYPE_CHECKING:
    from tests.simulator.connections import Connection
    from tests.simulator.intents import Intent
    from tests.simulator.payloads import Json

REPLAYED_EVENTS = 1_000
"""How many events a session keeps for a resume."""


@dataclass(eq=False, kw_only=True, repr=False)
class Session:
    """What one shard of the bot identified as.

    Attributes:
        connection: the websocket that serves it now, None while it is away.
        events: the latest dispatches, for a resume.
        sequence: the number of the last dispatch.
        resumes: how often it was resumed.
    """

    id: str
    intents: Intent
    shard_id: int = 0
    shard_count: int = 1
    connection: Connection | None = None
    events: deque[Json] = field(default_factory=lambda: deque(maxlen=REPLAYED_EVENTS))
    sequence: int = 0
    resumes: int = 0

    def __repr__(self) -> str:
        return f"<Session {self.id}, shard {self.shard_id} of {self.shard_count}>"

    def wants(self, guild_id: int | None, intent: Intent | None) -> bool:
        """Whether an event of that guild (None: direct) and that intent is for this session."""
        shard = 0 if guild_id is None else shard_of(guild_id, self.shard_count)
        return shard == self.shard_id and (intent is None or bool(self.intents & intent))

    def dispatch(self, event: str, data: Json) -> None:
        """Number the event, keep it, send it if anybody is there."""
        self.sequence += 1
        payload: Json = {"op": 0, "s": self.sequence, "t": event, "d": data}
        self.events.append(payload)
        if self.connection is not None:
            self.connection.send(payload)

    def missed_since(self, sequence: int) -> list[Json] | None:
        """The events after ``sequence``; None where they are no longer all there, or ``sequence`` is no such number."""
        missed = [payload for payload in self.events if payload["s"] > sequence]
        whole = sequence <= self.sequence and len(missed) == self.sequence - sequence
        return missed if whole else None
