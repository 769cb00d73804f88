"""``python -m benchmarks [NAME …]``: run benchmarks, print their tables, keep their results.

A benchmark is a module of this package with a function ``run() -> Result``; its name is the module's.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.results import RESULTS, Result, keep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> int:
    """Run the benchmarks that are named, or all."""
    known = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run (default: all)")
    names: list[str] = parser.parse_args().names
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    console = Console()
    summary = Table("benchmark", "ours", "reference", "times better", "unit", *("peers",))
    for name, run in _runs(names or known):
        console.rule(name)
        result = run()
        keep(result)
        for table in result.tables:
            console.print(table)
        summary.add_row(*_row(result))
    console.print(summary)
    console.print(f"kept in {RESULTS.relative_to(RESULTS.parents[1])}")
    return 0


def _runs(names: list[str]) -> Iterator[tuple[str, Callable[[], Result]]]:
    for name in names:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)
        if callable(run):
            yield name, cast("Callable[[], Result]", run)


def _row(result: Result) -> tuple[str, ...]:
    peers = ", ".join(f"{name} {value:.4g}" for name, value in result.peers.items())
    return result.name, f"{result.ours:.4g}", f"{result.reference:.4g}", f"{result.ratio:.2f}", result.unit, peers


if __name__ == "__main__":
    sys.exit(main())
