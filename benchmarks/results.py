"""What a benchmark gives, and where it is kept."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured, in ``unit``, in one run.

    ``reference`` is what we are held against: a peer, a limit or a goal. ``tables`` are for the reader's eyes.
    """

    name: str
    ours: float
    peers: Mapping[str, float]
    reference: float
    unit: str
    more_is_better: bool = False
    tables: tuple[Table, ...] = field(default=())

    @property
    def ratio(self) -> float:
        """How many times better than the reference we are; 1 is equal, more is better."""
        return self.ours / self.reference if self.more_is_better else self.reference / self.ours


def keep(result: Result, path: Path = RESULTS) -> None:
    """Put a result among those of other benchmarks."""
    kept = cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    kept[result.name] = {
        "ours": round(result.ours, 4),
        "peers": {name: round(value, 4) for name, value in result.peers.items()},
        "reference": round(result.reference, 4),
        "ratio": round(result.ratio, 3),
        "unit": result.unit,
        "machine": machine(),
    }
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Say in a few words what was measured on."""
    return f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}, {platform.system()}"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
