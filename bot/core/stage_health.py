"""How the stages and the models are doing, over sliding windows: counted by the minute, the same for all processes.

A stage is *strained* from half of its attempts failing until fewer than a fifth do, or nobody tries. Whether it is
follows from the last hour's counts alone, so that processes that read the same counts agree, those too that have just
started.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from loguru import logger

from bot.core.errors import BadInput, CompletionFailed, CompletionRefused, EarshotError, FairUseError, StoreUnavailable
from bot.core.models import Stage, StageStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.core.models import Reply
    from bot.core.ports import StageCounts

MINUTE_S: Final = 60
SHORT: Final = 5
LONG: Final = 60
"""The windows, in minutes, the present one included."""
LEAST_ATTEMPTS: Final = 5
STRAINED_SHARE: Final = 0.5
WELL_SHARE: Final = 0.2
LOWEST, HIGHEST = -6, 12
"""Latencies are told apart between 2^-6 s and 2^12 s."""
_LISTENING: Final = (Stage.FETCH, Stage.DECODE, Stage.TRANSCRIBE)


class Outcome(StrEnum):
    """How an attempt ended. ``bad-input`` says nothing of who was asked: anybody would have refused it."""

    OK = "ok"
    PARTIAL = "partial"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    RATE_LIMIT = "rate-limit"
    BAD_INPUT = "bad-input"


FAILURES: Final = (Outcome.TEMPORARY, Outcome.PERMANENT, Outcome.RATE_LIMIT)
_OUTCOMES: Final = {
    StageStatus.OK: Outcome.OK,
    StageStatus.PARTIAL: Outcome.PARTIAL,
    # What a reply survives is that no link of the chain answered.
    StageStatus.FAILED: Outcome(CompletionFailed.kind),
}


def outcome_of(error: EarshotError) -> Outcome:
    """The class of a failure."""
    return Outcome.BAD_INPUT if isinstance(error, (BadInput, CompletionRefused)) else Outcome(error.kind)


# --- counts -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A stage of the pipeline, or a model of the chain."""

    kind: Literal["stage", "model"]
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is counted. It took up to 2 ** ``power`` seconds, and more than half of that; None where nobody knows."""

    subject: Subject
    outcome: Outcome
    power: int | None = None


def power_of(seconds: float) -> int:
    """The least power of two, from `LOWEST` to `HIGHEST`, that is no less than ``seconds``."""
    mantissa, exponent = math.frexp(max(seconds, 2.0**LOWEST))
    return min(exponent - (mantissa == 0.5), HIGHEST)  # noqa: PLR2004 - a power of two itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What there was of one subject in a window."""

    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    powers: dict[Outcome, Counter[int]] = field(default_factory=dict[Outcome, Counter[int]])

    @property
    def attempts(self) -> int:
        """Those that say something of who was asked."""
        return self.outcomes.total() - self.outcomes[Outcome.BAD_INPUT]

    @property
    def failures(self) -> int:
        """Those that gave nothing."""
        return sum(self.outcomes[outcome] for outcome in FAILURES)

    @property
    def share(self) -> float:
        """Of failures among attempts; 0 where there were none."""
        return self.failures / self.attempts if self.attempts else 0.0

    def seconds(self, outcome: Outcome, quantile: float) -> float | None:
        """How long that share of the attempts that ended so took at most, None where nobody knows.

        Within a power of two they are taken to lie evenly (Prometheus' ``histogram_quantile``).
        """
        powers = self.powers.get(outcome, Counter())
        left = quantile * powers.total()
        for power, count in sorted(powers.items()):
            if left <= count:
                return 2.0**power * (1 + left / count) / 2
            left -= count
        return None


def tallies(minutes: Mapping[int, Mapping[Attempt, int]], last: int, length: int) -> dict[Subject, Tally]:
    """What there was in ``length`` minutes up to ``last``, by subject."""
    found: defaultdict[Subject, Tally] = defaultdict(Tally)
    for minute in range(last - length + 1, last + 1):
        for attempt, count in minutes.get(minute, {}).items():
            tally = found[attempt.subject]
            tally.outcomes[attempt.outcome] += count
            if attempt.power is not None:
                tally.powers.setdefault(attempt.outcome, Counter())[attempt.power] += count
    return dict(found)


# --- verdicts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """A subject that fails too often: since which minute, and what there was of it in the short window."""

    subject: Subject
    since: int
    tally: Tally

    @property
    def total(self) -> bool:
        """Whether nothing goes well."""
        return self.tally.failures == self.tally.attempts

    def __str__(self) -> str:
        worst = max(FAILURES, key=self.tally.outcomes.__getitem__)
        since = datetime.fromtimestamp(self.since * MINUTE_S, tz=UTC)
        failed = f"{self.tally.failures} of {self.tally.attempts} failed ({self.tally.share:.0%})"
        return f"{self.subject}: {failed} in {SHORT} minutes, mostly {worst}, since {since:%H:%M} UTC"


def strains(minutes: Mapping[int, Mapping[Attempt, int]], now: int) -> dict[Subject, Strain]:
    """Who is strained in the minute ``now``: the rule, applied to each minute of the last hour in turn."""
    tried: defaultdict[Subject, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    failed: defaultdict[Subject, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for minute, counts in minutes.items():
        for attempt, count in counts.items():
            if attempt.outcome is not Outcome.BAD_INPUT:
                tried[attempt.subject][minute] += count
            if attempt.outcome in FAILURES:
                failed[attempt.subject][minute] += count
    since = {subject: _strained_since(tried[subject], failed[subject], now) for subject in failed}
    present = tallies(minutes, now, SHORT)
    return {
        subject: Strain(subject=subject, since=at, tally=present[subject])
        for subject, at in since.items()
        if at is not None
    }


def _strained_since(tried: Mapping[int, int], failed: Mapping[int, int], now: int) -> int | None:
    since: int | None = None
    for minute in range(now - LONG + 1, now + 1):
        window = range(minute - SHORT + 1, minute + 1)
        attempts, failures = (sum(counts.get(at, 0) for at in window) for counts in (tried, failed))
        if since is None:
            is_strained = attempts >= LEAST_ATTEMPTS and failures >= STRAINED_SHARE * attempts
        else:
            is_strained = attempts > 0 and failures >= WELL_SHARE * attempts
        since = (minute if since is None else since) if is_strained else None
    return since


class StageHealth:
    """Counts what this process sees, and knows how all are doing as of the last `look`.

    To note something takes no time and cannot fail. While the counts of all cannot be had, those of this process are
    what is known.

    Args:
        counts: of all processes.
        now: Unix time in seconds.
        process: names this one among them.
    """

    def __init__(self, counts: StageCounts, *, now: Callable[[], float], process: str) -> None:
        self._counts = counts
        self._now = now
        self._process = process
        self._own: dict[int, Counter[Attempt]] = {}
        self._unsent: set[int] = set()
        self._failed: dict[str, int] = {}
        self._known: Mapping[int, Mapping[Attempt, int]] = {}
        self._read_whole: int | None = None
        self._probed: int | None = None
        self.totals: Counter[tuple[Subject, Outcome]] = Counter()
        """What this process has counted so far."""
        self.strains: Mapping[Subject, Strain] = {}
        """Who is strained."""

    @property
    def _minute(self) -> int:
        return int(self._now() // MINUTE_S)

    # --- what is seen -------------------------------------------------------------------------------------------

    def note(self, subject: Subject, outcome: Outcome, seconds: float | None = None) -> None:
        """Count an attempt."""
        minute = self._minute
        attempt = Attempt(subject=subject, outcome=outcome, power=None if seconds is None else power_of(seconds))
        self._own.setdefault(minute, Counter())[attempt] += 1
        self._unsent.add(minute)
        self.totals[subject, outcome] += 1

    def replied(self, reply: Reply) -> None:
        """Count the stages of a request that was answered; what others did for it is counted where they did it."""
        for stage, report in reply.stages.items():
            if (outcome := _OUTCOMES.get(report.status)) is not None:
                self.note(Subject(kind="stage", name=stage), outcome, report.seconds)

    def failed(self, error: EarshotError, *, about: str | None) -> None:
        """Count the stages of a request that ``error`` ended; one that belongs to no stage says nothing.

        Args:
            error: which.
            about: the content that it was about. The same content counts once in a short window, however many wait
                for it and however often it is tried: one file that nobody can hear is no outage.
        """
        stage = error.stage
        if stage is None or stage not in _LISTENING or isinstance(error, FairUseError):
            return
        minute = self._minute
        self._failed = {key: at for key, at in self._failed.items() if at > minute - SHORT}
        if about in self._failed:
            return
        if about is not None:
            self._failed[about] = minute
        for before in _LISTENING[: _LISTENING.index(stage)]:
            self.note(Subject(kind="stage", name=before), Outcome.OK)
        self.note(Subject(kind="stage", name=stage), outcome_of(error))

    # --- what is known ------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Tell the others what was counted here, and see how all are doing."""
        minute = self._minute
        kept = range(minute - LONG - SHORT + 1, minute + 1)
        self._own = {at: counts for at, counts in self._own.items() if at in kept}
        self._unsent &= self._own.keys()
        try:
            await self._send()
            await self._read(kept)
        except StoreUnavailable:
            self._known = {at: Counter(counts) for at, counts in self._own.items()}
            self._read_whole = None
        known, self.strains = self.strains, strains(self._known, minute)
        for subject in self.strains.keys() - known.keys():
            logger.warning("strained: {}", self.strains[subject])
        for subject in known.keys() - self.strains.keys():
            logger.info("no longer strained: {}", subject)

    async def _send(self) -> None:
        if self._unsent:
            sent = {minute: Counter(self._own[minute]) for minute in self._unsent}
            await self._counts.put(self._process, sent)
            self._unsent = {minute for minute in self._unsent if self._own[minute] != sent[minute]}

    async def _read(self, kept: range) -> None:
        """Read all of it once a minute, else what may still change."""
        if self._read_whole == kept[-1]:
            self._known = {**self._known, **await self._counts.read(kept[-SHORT:])}
        else:
            self._known = await self._counts.read(kept)
            self._read_whole = kept[-1]

    def tallies(self, length: int) -> dict[Subject, Tally]:
        """What there was in the last ``length`` minutes: `SHORT` or `LONG`."""
        return tallies(self._known, self._minute, length)

    @property
    def is_deaf(self) -> bool:
        """Whether no transcription succeeds."""
        strain = self.strains.get(Subject(kind="stage", name=Stage.TRANSCRIBE))
        return strain is not None and strain.total

    def lets_probe(self) -> bool:
        """Whether a request may see, while no transcription succeeds, if one does again: the first of each minute."""
        if not self.is_deaf or self._probed == self._minute:
            return False
        self._probed = self._minute
        return True
