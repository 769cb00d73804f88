"""The transcriber's process: ``python -m bot.adapters.whisper.child``, spoken to over stdin and stdout.

It dies with the bot: at the end of stdin, whatever it is doing, and on Linux also when the kernel says so.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bot.adapters.whisper import protocol
from bot.adapters.whisper.device import choose_device
from bot.core.errors import ModelUnavailable, UnknownLanguage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.whisper.engine import Engine

    Say = Callable[[protocol.Answer], None]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_DETAIL_CHARS = 2_000


def main() -> int:
    """Load a model, then work on one job after the other."""
    _die_with_parent()
    say = take_stdout()
    requests = _read_requests(sys.stdin.buffer)
    setup = requests.get()
    if not isinstance(setup, protocol.Setup):
        return 2
    os.nice(setup.niceness)
    engine = loaded(setup, say)
    if engine is None:
        return 1
    while True:
        job = requests.get()
        if not isinstance(job, protocol.Job):
            return 2
        if not worked(engine, job, say):
            return 1


def loaded(setup: protocol.Setup, say: Say) -> Engine | None:
    """The engine with its model; None where it cannot be had, and the bot is told why."""
    try:
        return _load(setup, say)
    except ModelUnavailable as exc:
        say(protocol.Unavailable(detail=exc.detail[:_DETAIL_CHARS]))
    except Exception as exc:  # noqa: BLE001 -- a disk, a driver, a library: it would be the same another time
        say(protocol.Unavailable(detail=_described(exc)))
    return None


def worked(engine: Engine, job: protocol.Job, say: Say) -> bool:
    """Work on a job; False where that broke this process."""
    try:
        _work(engine, job, say)
    except UnknownLanguage:
        say(protocol.Refused(language=job.language or ""))
    except Exception as exc:  # noqa: BLE001 -- whatever it was, the bot is told, and a fresh process takes over
        say(protocol.Broken(detail=_described(exc)))
        return False
    return True


def _described(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:_DETAIL_CHARS]


def _load(setup: protocol.Setup, say: Say) -> Engine:
    # The engine is imported here, after stdout was taken away from libraries that print to it.
    from bot.adapters.whisper.engine import Engine, load_model, read_hardware  # noqa: PLC0415

    placement = choose_device(
        read_hardware(),
        device=setup.device,
        compute_type=setup.compute_type,
        threads=setup.threads,
        concurrency=setup.concurrency,
    )
    model = load_model(setup.model, placement, models_dir=Path(setup.models_dir), wheels_dir=Path(setup.wheels_dir))
    engine = Engine(model, workers=placement.workers, beam_size=setup.beam_size)
    say(
        protocol.Ready(
            device=placement.device,
            compute_type=placement.compute_type,
            workers=placement.workers,
            threads=placement.threads,
        )
    )
    return engine


def _work(engine: Engine, job: protocol.Job, say: Say) -> None:
    from bot.adapters.whisper import engine as engines  # noqa: PLC0415 -- loaded by now
    from bot.adapters.whisper import speech  # noqa: PLC0415

    task = engines.Task(
        samples=speech.SampleFile(Path(job.path), job.samples),
        language=job.language,
        task=job.task.value,
        hot_words=job.hot_words,
        begin=job.begin,
    )
    for event in engine.run(task, on_scan=lambda until: say(protocol.Scanned(until=until))):
        if isinstance(event, engines.Language):
            say(protocol.Found(language=event.language, probability=event.probability))
        else:
            say(protocol.Finished(segments=event.segments, until=event.until))
    say(protocol.Done())


def take_stdout() -> Say:
    """Keep stdout for messages alone; what anybody prints goes to stderr from now on."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def say(message: protocol.Answer) -> None:
        with lock:
            channel.write(protocol.encode(message))

    return say


def _read_requests(stream: BinaryIO) -> queue.SimpleQueue[protocol.Request]:
    """Read on a thread, so that the end of the stream is seen in the middle of a job."""
    requests: queue.SimpleQueue[protocol.Request] = queue.SimpleQueue()

    def read() -> None:
        while line := stream.readline(protocol.MAX_LINE_BYTES):
            try:
                requests.put(protocol.read_request(line))
            except ValueError:
                os._exit(2)
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()
    return requests


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
