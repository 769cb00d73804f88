"""Where the model runs, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.core.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO = "auto"
MAX_WORKERS = 4
"""Windows at once; each holds its own activations (some 150 MB for ``base``)."""

_PREFERRED = {
    "cuda": ("float16", "int8_float16", "bfloat16", "float32"),
    "cpu": ("int8", "int8_float32", "float32"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Facts about the machine. ``compute_types`` are those that CTranslate2 supports, by device."""

    cores: int
    cuda_devices: int
    compute_types: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``workers`` windows are worked on at once, each on ``threads`` threads."""

    device: str
    compute_type: str
    workers: int
    threads: int


def choose_device(
    hardware: Hardware, *, device: str = AUTO, compute_type: str = AUTO, threads: int = 0, concurrency: int = 1
) -> Placement:
    """Choose from facts and wishes.

    Windows side by side on one thread each take a third less CPU than one window on all threads, since decoding is many
    small steps at whose ends threads wait for each other.

    Args:
        hardware: the facts.
        device: ``auto``, ``cpu`` or ``cuda``.
        compute_type: ``auto``, or one of CTranslate2's.
        threads: for this process; 0 means a fair share of the cores.
        concurrency: processes that share the cores.

    Raises:
        ModelUnavailable: the wish cannot be granted on this machine.
    """
    chosen = ("cuda" if hardware.cuda_devices else "cpu") if device == AUTO else device
    if chosen not in _PREFERRED or (chosen == "cuda" and not hardware.cuda_devices):
        raise ModelUnavailable(f"there is no device {device!r} on this machine", model=device)
    supported = hardware.compute_types.get(chosen, frozenset())
    if compute_type == AUTO:
        kind = next((kind for kind in _PREFERRED[chosen] if kind in supported), "default")
    elif compute_type in supported:
        kind = compute_type
    else:
        raise ModelUnavailable(f"{chosen} cannot compute in {compute_type}", model=compute_type)
    total = threads if threads > 0 else max(1, hardware.cores // max(1, concurrency))
    workers = 1 if chosen == "cuda" else min(total, MAX_WORKERS)
    return Placement(device=chosen, compute_type=kind, workers=workers, threads=max(1, total // workers))
