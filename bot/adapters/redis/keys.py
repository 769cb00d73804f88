"""The name of every key, and how long each is kept. A key that stands in no function here does not exist.

Two servers hold them (docs/ARCHITECTURE.md says why): the *store*, where nothing is ever evicted, and the *cache*,
where anything may be. The part in braces keeps a guild's buckets together, should the store be a cluster. Records are
found by ids that tell nothing of a guild: scripts on those need one server.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from bot.core.quotas import DAY_S, HOUR_S, RESERVATION_S

if TYPE_CHECKING:
    from bot.core.quotas import BucketId

PREFIX: Final = "earshot"

# --- how long -----------------------------------------------------------------------------------------------------

BUCKET_MARGIN_S: Final = 60
"""A bucket is kept for as long as an empty one takes to fill, and so much longer: one that is not there is full, and no
process remembers it otherwise."""
BUDGET_S: Final = int(2 * DAY_S)
RESERVATION_TTL_S: Final = int(RESERVATION_S)
AUDIT_S: Final = 90 * DAY_S
AUDIT_ENTRIES: Final = 500
DELIVERY_S: Final = 7 * DAY_S
SETTINGS_S: Final = 365 * DAY_S
"""How long settings outlast the last time that the bot was known to be in their guild; where it left while it was
offline, there is no other sign of that."""
FLIGHT_LOCK_S: Final = 6.0
"""A leader that says nothing for so long is followed by another."""
FLIGHT_NEWS_S: Final = 30
FLIGHT_OUTCOME_S: Final = 60
HEARTBEAT_S: Final = 30
ENDED_JOB_S: Final = int(HOUR_S)
"""How long the job engine knows that a job has ended; a worker that was cut off and is still at it may not undo what
came later."""
LEDGER_S: Final = 7 * DAY_S
"""How long a lane's ledger outlasts its last change; workers change it by living, so nobody has worked for so long."""
STOP_S: Final = DAY_S
"""How long a request is to stop: no job of one runs for longer."""
STAGE_COUNTS_S: Final = int(2 * HOUR_S)
"""How long a minute's counts are kept; they are read for an hour."""

# --- the store ----------------------------------------------------------------------------------------------------


def guild_tag(guild_id: int | None) -> str:
    """Where a guild's keys lie; those of users outside all guilds lie together, as they share a budget."""
    return "{users}" if guild_id is None else f"{{g{guild_id}}}"


def bucket(bucket_id: BucketId) -> str:
    """A text: the tokens of a bucket, and when."""
    name = "bucket" if bucket_id.kind == "tokens" else bucket_id.kind
    return f"{PREFIX}:{guild_tag(bucket_id.guild_id)}:{name}:{bucket_id.member_id}"


def budget(guild_id: int | None) -> str:
    """A hash: a day, and the tokens that were used on it."""
    return f"{PREFIX}:{guild_tag(guild_id)}:budget"


def reservation(bucket_id: BucketId, request_id: str) -> str:
    """A text: what a request reserved, of which day's budget, and whether it is settled. Ids are unique in a guild."""
    return f"{PREFIX}:{guild_tag(bucket_id.guild_id)}:reservation:{bucket_id.kind}:{request_id}"


def settings(guild_id: int) -> str:
    """`GuildSettings`. Kept for as long as the bot is in the guild, as far as it can tell."""
    return f"{PREFIX}:{guild_tag(guild_id)}:settings"


def audit(guild_id: int) -> str:
    """A list of `AuditEntry`, the newest first."""
    return f"{PREFIX}:{guild_tag(guild_id)}:audit"


def member(guild_id: int | None, member_id: int) -> str:
    """A sorted set: the ids of a member's requests, scored by when each ends."""
    return f"{PREFIX}:{guild_tag(guild_id)}:member:{member_id}"


def deliveries(guild_id: int | None, member_id: int) -> str:
    """A sorted set: the requests of a member whose answers have not arrived, scored by when each is given up."""
    return f"{PREFIX}:{guild_tag(guild_id)}:deliveries:{member_id}"


def delivery(request_id: str) -> str:
    """`Delivery`."""
    return f"{PREFIX}:delivery:{request_id}"


def request(request_id: str) -> str:
    """`RequestRecord`. Its id is not to be guessed; menus below a result know nothing else."""
    return f"{PREFIX}:request:{request_id}"


def transcript(request_id: str) -> str:
    """`Transcript`, compressed."""
    return f"{PREFIX}:transcript:{request_id}"


def stop(request_id: str) -> str:
    """Somebody wants the request to stop."""
    return f"{PREFIX}:stop:{request_id}"


def progress(request_id: str) -> str:
    """A channel, and no key: how far a request is."""
    return f"{PREFIX}:progress:{request_id}"


def outbox() -> str:
    """A stream: requests whose answers are to be delivered. It ends `DELIVERY_S` after the last one came."""
    return f"{PREFIX}:outbox"


PROGRESS: Final = progress("*")


def lease(name: str) -> str:
    """Who does something."""
    return f"{PREFIX}:lease:{name}"


def ledger(lane: str) -> str:
    """`Ledger` of a lane: who waits to be let into the job engine, and who was."""
    return f"{PREFIX}:ledger:{lane}"


def circuit(model: str) -> str:
    """`Circuit` of a model. What an operator calls one may be anything: its digest is used."""
    return f"{PREFIX}:circuit:{hashlib.sha256(model.encode()).hexdigest()[:32]}"


def stage_counts(minute: int) -> str:
    """A hash: how often attempts of a process ended in a way, in one minute of Unix time."""
    return f"{PREFIX}:stage-counts:{minute}"


def heartbeats(kind: str) -> str:
    """A sorted set: the processes of a kind that live, scored by when each is taken for dead."""
    return f"{PREFIX}:heartbeats:{kind}"


SETTINGS: Final = f"{PREFIX}:{{g*}}:settings"
HEARTBEATS: Final = f"{PREFIX}:heartbeats:*"


def _flight(key: str) -> str:
    return f"{PREFIX}:{{flight:{hashlib.sha256(key.encode()).hexdigest()[:32]}}}"


def flight_lock(key: str) -> str:
    """The leader of a flight."""
    return f"{_flight(key)}:lock"


def flight_news(key: str) -> str:
    """The newest that the leader told; a channel of the same name carries it at once."""
    return f"{_flight(key)}:news"


def flight_outcome(key: str) -> str:
    """What came of it, for those who wait."""
    return f"{_flight(key)}:outcome"


def jobs(lane: str) -> str:
    """What the names of a lane's keys begin with, which are the job engine's own; the cleanup leaves them alone."""
    return f"{PREFIX}-jobs-{lane}"


WITHOUT_TTL: Final[tuple[str, ...]] = (jobs("*"),)
"""Patterns of the keys that are kept without end. A test, and the hourly cleanup, hold everything else to a TTL."""

# --- the cache ----------------------------------------------------------------------------------------------------

CACHE_PREFIX: Final = f"{PREFIX}-cache"


def cached(key: str) -> str:
    """Finished work; the key is made of content, see ``bot.core.caching``."""
    return f"{CACHE_PREFIX}:{key}"
