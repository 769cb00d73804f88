"""The child's side: take orders, confine this process, decode, report on standard output.

It is started with Python's isolated mode and a bare environment; the encoded file is standard input.
"""

from __future__ import annotations

import errno
import io
import json
import sys
from dataclasses import asdict, replace
from importlib import import_module
from typing import BinaryIO

from bot.adapters.decoder import media
from bot.adapters.decoder.report import Orders, Outcome, Report
from bot.adapters.decoder.sandbox import confine

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_SINK_BUFFER_BYTES = 1 << 20
_LONGEST_DETAIL = 300
_LATE_IMPORTS = ("av.subtitles.codeccontext", "av.subtitles.stream")
"""PyAV imports these when a file has subtitles; by then this process can open no file."""


def main(orders_json: str) -> None:
    """Run the orders, which are a JSON object as `Orders` has it."""
    orders = Orders(**json.loads(orders_json))
    source = io.FileIO(sys.stdin.fileno(), closefd=False)
    sink = io.BufferedWriter(io.FileIO(orders.sink_fd, "wb"), _SINK_BUFFER_BYTES)
    for module in _LATE_IMPORTS:
        import_module(module)
    filtered = confine(orders)
    report = replace(decode(source, sink, orders), syscalls_filtered=filtered)
    print(json.dumps(asdict(report)), flush=True)  # noqa: T201 - the report goes to standard output


def decode(source: BinaryIO, sink: BinaryIO, orders: Orders) -> Report:
    """Decode, and tell whatever goes wrong in a report."""
    try:
        report = media.decode(source, sink, sample_rate=orders.sample_rate, max_samples=orders.max_samples)
        sink.flush()
    except OSError as exc:
        outcome = Outcome.NO_ROOM if exc.errno in _NO_ROOM else Outcome.FAILED
        return Report(outcome=outcome, detail=_described(exc))
    except Exception as exc:  # noqa: BLE001 - whatever a hostile file makes FFmpeg's bindings raise is reported
        return Report(outcome=Outcome.FAILED, detail=_described(exc))
    return report


def _described(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:_LONGEST_DETAIL]
