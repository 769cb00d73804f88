"""How the models of the chain have been doing, for all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.adapters.redis import keys
from bot.core.circuits import CIRCUIT, CLOSED, Circuit
from bot.core.errors import RecordInvalid

if TYPE_CHECKING:
    from bot.adapters.documents import Documents


class StoredCircuits:
    """`bot.core.ports.CircuitStore`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def get(self, model: str) -> Circuit:
        """Of one model; the closed one where nothing is known, or what is known cannot be read.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        return _read(await self._documents.get(keys.circuit(model)))

    async def swap(self, model: str, old: Circuit, new: Circuit, *, keep_s: float) -> bool:
        """Write ``new`` where ``old`` is still what is known; whether it was written.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        key = keys.circuit(model)
        present = await self._documents.get(key)
        return _read(present) == old and await self._documents.swap(key, present, CIRCUIT.encode(new), keep_s)


def _read(raw: bytes | None) -> Circuit:
    try:
        return CLOSED if raw is None else CIRCUIT.decode(raw)
    except RecordInvalid:  # of another version too: circuits are soon forgotten
        return CLOSED
