"""Circuit breakers for the links of the chain (Nygard, "Release It!", 2007), shared by all processes.

A model that fails again and again is not asked for a while, which doubles with each failure. Then one request, a
*probe*, sees whether it is back. What cannot be cured by waiting for a moment opens a circuit at once, for longer: a
key that is refused, a model that was retired, a provider that asks to wait.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from loguru import logger
from pydantic import BaseModel, ConfigDict, Field

from bot.core.errors import CompletionFailed, CompletionUnavailable, ErrorKind, StoreUnavailable
from bot.core.records import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.ports import CircuitStore

PATIENCE: Final = 3
"""Failed requests in a row that open a circuit."""
FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 120.0
UNAVAILABLE_S: Final = 600.0
"""How long a model without a valid key, or one that is not there, is passed over."""
LONGEST_RETRY_AFTER_S: Final = 3_600.0
"""The most that is believed of what a provider asks to wait."""
PROBE_S: Final = 60.0
"""How long a probe has before another request may be one."""
FORGET_S: Final = 300.0
"""Failures in a row count together where no more than this lies between them."""
_SWAPS: Final = 5
"""Tries to write one failure down while others do; where all fail, others have."""


class Circuit(BaseModel):
    """How a model has been doing. ``until`` is the Unix time until which nobody asks it, None while all may."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    failures: int = Field(default=0, ge=0)
    until: float | None = None
    wait_s: float = Field(default=0.0, ge=0)
    why: str = Field(default="", max_length=200)

    def failed(self, why: str, now: float, *, wait_s: float | None = None) -> Circuit:
        """After one more failure; ``wait_s`` is how long to wait where that is known."""
        failures = self.failures + 1
        opens = wait_s is not None or failures >= PATIENCE or self.until is not None
        if wait_s is None:
            wait_s = min(max(2 * self.wait_s, FIRST_WAIT_S), LONGEST_WAIT_S) if opens else 0.0
        return Circuit(failures=failures, until=now + wait_s if opens else None, wait_s=wait_s, why=why[:200])

    def probed(self, now: float) -> Circuit:
        """While somebody sees whether the model is back."""
        return self.model_copy(update={"until": now + PROBE_S})

    def keep_s(self, now: float) -> float:
        """How long it is worth knowing, in seconds."""
        return max((self.until or now) - now, 0.0) + FORGET_S


CIRCUIT: Final = Codec(Circuit)
CLOSED: Final = Circuit()


class Circuits:
    """Says which models are worth asking.

    Without its store, it goes on with what this process knows.

    Args:
        store: what all processes know.
        now: Unix time in seconds.
    """

    def __init__(self, store: CircuitStore, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._known: dict[str, Circuit] = {}

    @property
    def known(self) -> dict[str, Circuit]:
        """What this process last saw, by model."""
        return dict(self._known)

    async def enter(self, model: str) -> bool:
        """Ask whether ``model`` may be asked; True where the request is a probe.

        Raises:
            CompletionFailed: it is passed over.
        """
        circuit = await self._look(model)
        if circuit.until is None:
            return False
        if self._now() >= circuit.until and await self._swap(model, circuit, circuit.probed(self._now())):
            return True
        raise CompletionFailed(f"passed over: {circuit.why}")

    async def succeeded(self, model: str) -> None:
        """The model has answered."""
        circuit = await self._look(model)
        if circuit != CLOSED and await self._swap(model, circuit, CLOSED) and circuit.until is not None:
            logger.info("{} answers again", model)

    async def failed(self, model: str, error: CompletionFailed) -> None:
        """The model gave no answer. One that will not answer this request says nothing about others."""
        if error.kind is ErrorKind.PERMANENT and not isinstance(error, CompletionUnavailable):
            return
        for _ in range(_SWAPS):
            circuit = await self._look(model)
            after = circuit.failed(error.detail, self._now(), wait_s=_wait_s(error))
            if await self._swap(model, circuit, after):
                if after.until is not None and circuit.until is None:
                    logger.warning("{} is passed over for {:.0f} s: {}", model, after.wait_s, error.detail)
                break

    async def _look(self, model: str) -> Circuit:
        with suppress(StoreUnavailable):
            self._known[model] = await self._store.get(model)
        return self._known.get(model, CLOSED)

    async def _swap(self, model: str, old: Circuit, new: Circuit) -> bool:
        try:
            swapped = await self._store.swap(model, old, new, keep_s=new.keep_s(self._now()))
        except StoreUnavailable:
            swapped = True  # nobody else can be told
        if swapped:
            self._known[model] = new
        return swapped


def _wait_s(error: CompletionFailed) -> float | None:
    if isinstance(error, CompletionUnavailable):
        return UNAVAILABLE_S
    asked = error.values.get("retry_after_s")
    return min(float(asked), LONGEST_RETRY_AFTER_S) if asked is not None else None
