"""Who is let into the job engine next: the ledger of a lane, and the order in which turns come round.

Guilds take turns, in a guild its members do, and what a member asked for goes by when it came. The order of the lines
*is* that of the turns: whoever was served goes to the end, as does whoever comes new; who is held is passed over and
keeps the place. So nothing has to be remembered of those that do not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import Field

from bot.core.durable import Record, RequestId, Snowflake, UnixTime
from bot.core.load import ASSUMED_LENGTH_S
from bot.core.records import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

AGAIN_S: Final = 60.0
"""What was let in and has not left is submitted again so often: a process may have died before it was submitted, and
the engine may have lost it."""

_DECIMALS: Final = 1
"""Of times and lengths: every figure of 500 entries is written with each change."""

Length = Annotated[float, Field(ge=0)]
"""Seconds of audio."""

# --- what is written ------------------------------------------------------------------------------------------------


class Entry(Record):
    """A request that wants to be let in: not before ``held_until``, unless it is ready before that."""

    request_id: RequestId
    guild_id: Snowflake | None
    member_id: Snowflake
    since: UnixTime
    length_s: Length | None = None
    held_until: UnixTime = 0.0


class Worker(Record):
    """A process that does jobs: ``places`` at a time, each at ``speed`` seconds of audio a second."""

    name: str = Field(min_length=1, max_length=128)
    places: int = Field(ge=1)
    speed: float = Field(gt=0)
    until: UnixTime


# These are tuples, as their names need not be written five hundred times.


class Waiting(NamedTuple):
    """An entry in its member's line."""

    request_id: RequestId
    since: UnixTime
    length_s: Length | None
    held_until: UnixTime


class MemberLine(NamedTuple):
    """What a member waits for, in the order in which it came."""

    member_id: Snowflake
    waiting: tuple[Waiting, ...]


class GuildLine(NamedTuple):
    """Members of a guild who wait, the next one first. Users outside guilds are one guild."""

    guild_id: Snowflake | None
    members: tuple[MemberLine, ...]


Line = TypeVar("Line", MemberLine, GuildLine)


class Admitted(NamedTuple):
    """A request that was let in; ``begun_at`` is since when a place was free for it."""

    request_id: RequestId
    length_s: Length | None
    admitted_at: UnixTime
    begun_at: UnixTime | None = None
    submitted_at: UnixTime = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How many are let in before one, as things stand, and the seconds until it is begun; None where nobody works."""

    before: int
    wait_s: float | None


# --- the ledger -----------------------------------------------------------------------------------------------------


class Ledger(Record):
    """Who waits in a lane, who was let in, and who works there.

    Each change gives another ledger, an equal one where there is nothing to change.
    """

    schema_version: Literal[1] = 1
    guilds: tuple[GuildLine, ...] = ()
    admitted: tuple[Admitted, ...] = ()
    workers: tuple[Worker, ...] = ()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The ids of those that wait, by guild."""
        return tuple(entry.request_id for guild in self.guilds for line in guild.members for entry in line.waiting)

    def knows(self, request_id: str) -> bool:
        """Whether a request waits, or was let in and has not left."""
        return request_id in self.waiting or self.is_in(request_id)

    def is_in(self, request_id: str) -> bool:
        """Whether a request was let in, and has not left."""
        return any(entry.request_id == request_id for entry in self.admitted)

    def joined(self, entry: Entry) -> Ledger:
        """With an entry in its line; one that is known already stays where it is."""
        if self.knows(entry.request_id):
            return self
        length_s = None if entry.length_s is None else round(entry.length_s, _DECIMALS)
        since, held_until = round(entry.since, _DECIMALS), round(entry.held_until, _DECIMALS)
        waiting = Waiting(entry.request_id, since, length_s, held_until)
        guild = _found(self.guilds, entry.guild_id) or GuildLine(entry.guild_id, ())
        line = _found(guild.members, entry.member_id) or MemberLine(entry.member_id, ())
        line = line._replace(waiting=tuple(sorted((*line.waiting, waiting), key=lambda one: one.since)))
        guild = guild._replace(members=_put(guild.members, line))
        return self.model_copy(update={"guilds": _put(self.guilds, guild)})

    def readied(self, request_id: str) -> Ledger:
        """With an entry that is held no longer."""
        guilds = _edited(self.guilds, request_id, lambda entry: (entry._replace(held_until=0.0),))
        return self.model_copy(update={"guilds": guilds})

    def left(self, request_id: str) -> Ledger:
        """Without a request, whether it waited or was let in."""
        admitted = tuple(entry for entry in self.admitted if entry.request_id != request_id)
        guilds = _edited(self.guilds, request_id, lambda _: ())
        return self.model_copy(update={"guilds": guilds, "admitted": admitted})

    def announced(self, worker: Worker) -> Ledger:
        """With a worker that lives, in place of what was known of it."""
        others = self.retired(worker.name).workers
        return self.model_copy(update={"workers": tuple(sorted((*others, worker), key=lambda one: one.name))})

    def retired(self, name: str) -> Ledger:
        """Without a worker."""
        return self.model_copy(update={"workers": tuple(worker for worker in self.workers if worker.name != name)})

    def admitted_now(self, now: float) -> tuple[Ledger, tuple[str, ...]]:
        """With those let in for whom there is room, and the ids of all that are to be submitted: them, and old ones.

        There is room for one more than a worker has places, so that its next audio is decoded while others are heard.
        """
        workers = self._living(now)
        places = sum(worker.places for worker in workers)
        guilds, admitted = self.guilds, list(self.admitted)
        while len(admitted) < places + len(workers) and (found := _taken(guilds, now)):
            entry, guilds = found
            admitted.append(Admitted(entry.request_id, entry.length_s, now))
        due = {entry.request_id for entry in admitted if now - entry.submitted_at >= AGAIN_S}
        noted = tuple(
            entry._replace(
                begun_at=now if entry.begun_at is None and at < places else entry.begun_at,
                submitted_at=now if entry.request_id in due else entry.submitted_at,
            )
            for at, entry in enumerate(admitted)
        )
        ledger = self.model_copy(update={"guilds": guilds, "admitted": noted, "workers": workers})
        return ledger, tuple(entry.request_id for entry in noted if entry.request_id in due)

    def place(self, request_id: str, now: float) -> Place | None:
        """Where a request stands; None where it does not wait."""
        return self.places(now).get(request_id)

    def places(self, now: float) -> dict[str, Place]:
        """Where everybody stands who waits, the next one first: as if those that are held were ready in time.

        The wait is what is heard before, in seconds of audio, over what all workers get through in a second.
        """
        workers = self._living(now)
        free = sum(worker.places for worker in workers) - len(self.admitted)
        power = sum(worker.places * worker.speed for worker in workers)
        audio = self._under_way_s(workers, now)
        found: dict[str, Place] = {}
        for before, entry in enumerate(self._order()):
            wait_s = None if not power else 0.0 if before < free else audio / power
            found[entry.request_id] = Place(before=before, wait_s=wait_s)
            audio += _length_s(entry)
        return found

    def places_at(self, now: float) -> int:
        """Transcriptions that all who live do at a time."""
        return sum(worker.places for worker in self._living(now))

    def newcomers_wait_s(self, now: float) -> float | None:
        """Seconds until a request of a guild that has none would be begun; None where nobody works."""
        place = self.joined(_NEWCOMER).place(_NEWCOMER.request_id, now)
        return place.wait_s if place else None

    def waiting_in(self, guild_id: int | None) -> int:
        """How many requests of a guild wait."""
        guild = _found(self.guilds, guild_id)
        return sum(len(line.waiting) for line in guild.members) if guild else 0

    def _living(self, now: float) -> tuple[Worker, ...]:
        return tuple(worker for worker in self.workers if worker.until > now)

    def _under_way_s(self, workers: tuple[Worker, ...], now: float) -> float:
        """Seconds of audio that are left of what was let in, at the pace of a place as they are on average."""
        places = sum(worker.places for worker in workers)
        speed = sum(worker.places * worker.speed for worker in workers) / max(places, 1)
        return sum(
            max(_length_s(entry) - speed * (now - (now if entry.begun_at is None else entry.begun_at)), 0.0)
            for entry in self.admitted
        )

    def _order(self) -> Iterator[Waiting]:
        guilds = self.guilds
        while found := _taken(guilds, inf):
            entry, guilds = found
            yield entry


LEDGER: Final = Codec(Ledger)

_NEWCOMER: Final = Entry(request_id="0" * 64, guild_id=0, member_id=0, since=0.0)
"""Of a guild that there is not."""


# --- lines ----------------------------------------------------------------------------------------------------------


def _taken(guilds: tuple[GuildLine, ...], now: float) -> tuple[Waiting, tuple[GuildLine, ...]] | None:
    """The next that is not held, and the lines after it: its member and its guild go to the end, if they still wait."""
    for at, guild in enumerate(guilds):
        for nth, line in enumerate(guild.members):
            for place, entry in enumerate(line.waiting):
                if entry.held_until > now:
                    continue
                waiting = line.waiting[:place] + line.waiting[place + 1 :]
                members = guild.members[:nth] + guild.members[nth + 1 :]
                if waiting:
                    members += (MemberLine(line.member_id, waiting),)
                others = guilds[:at] + guilds[at + 1 :]
                return entry, (*others, GuildLine(guild.guild_id, members)) if members else others
    return None


def _found(lines: Iterable[Line], key: int | None) -> Line | None:
    return next((line for line in lines if line[0] == key), None)


def _put(lines: tuple[Line, ...], line: Line) -> tuple[Line, ...]:
    """With a line in its place, or at the end."""
    if _found(lines, line[0]) is None:
        return (*lines, line)
    return tuple(line if other[0] == line[0] else other for other in lines)


def _edited(
    guilds: tuple[GuildLine, ...], request_id: str, edit: Callable[[Waiting], tuple[Waiting, ...]]
) -> tuple[GuildLine, ...]:
    """With one entry edited, wherever it is; lines that become empty go."""
    edited: list[GuildLine] = []
    for guild in guilds:
        members: list[MemberLine] = []
        for line in guild.members:
            parts = [edit(entry) if entry.request_id == request_id else (entry,) for entry in line.waiting]
            if waiting := tuple(chain.from_iterable(parts)):
                members.append(MemberLine(line.member_id, waiting))
        if members:
            edited.append(GuildLine(guild.guild_id, tuple(members)))
    return tuple(edited)


def _length_s(entry: Waiting | Admitted) -> float:
    return ASSUMED_LENGTH_S if entry.length_s is None else entry.length_s
