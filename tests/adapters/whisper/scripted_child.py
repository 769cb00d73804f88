"""A transcriber's process without a model: it does what the file that it is to transcribe says.

The file holds a JSON list of steps, each a list of a name and arguments. What has to outlast the process is kept in
files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from bot.adapters.whisper import protocol
from bot.core.models import Segment


def start(startup: str = "", marker: str = "") -> None:
    if startup == "count":
        with Path(marker).open("a", encoding="utf-8") as starts:
            starts.write("started\n")
    sys.stdin.buffer.readline()
    if startup == "unavailable":
        say(protocol.Unavailable(detail="no such model"))
        return
    if startup == "die":
        sys.exit("cannot allocate memory")
    if startup == "once":
        if Path(marker).exists():
            Path(f"{marker}-twice").touch()
            sys.exit("cannot allocate memory")
        Path(marker).touch()
    if startup == "hang":
        hang()
    say(protocol.Ready(device="cpu", compute_type="int8", workers=1, threads=1))
    while line := sys.stdin.buffer.readline():
        job = protocol.read_request(line)
        assert isinstance(job, protocol.Job)
        for name, *arguments in json.loads(Path(job.path).read_text(encoding="utf-8")):
            if name == "finished":
                finished(job, *arguments)
            else:
                STEPS[name](*arguments)


def found(language: str) -> None:
    say(protocol.Found(language=language, probability=0.9))


def finished(job: protocol.Job, second: str, text: str) -> None:
    """What was done before a crash is not said again."""
    until = int(second) * 16_000
    if until > job.begin:
        segment = Segment(start=int(second) - 1, end=int(second), text=text)
        say(protocol.Finished(segments=(segment,), until=until))


def die_once(marker: str) -> None:
    if not Path(marker).exists():
        Path(marker).touch()
        die()


def die() -> None:
    os.kill(os.getpid(), 9)


def hang() -> None:
    time.sleep(600)


def wait(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.005)


def note(path: str) -> None:
    Path(path).touch()


def raw(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def complain(count: str) -> None:
    sys.stderr.write("x" * int(count))


def refuse(language: str) -> None:
    say(protocol.Refused(language=language))


def fail() -> None:
    say(protocol.Broken(detail="out of memory"))
    sys.exit(1)


def done() -> None:
    say(protocol.Done())


def say(message: protocol.Answer) -> None:
    sys.stdout.buffer.write(protocol.encode(message))
    sys.stdout.buffer.flush()


STEPS = {step.__name__: step for step in (found, die_once, die, hang, wait, note, raw, complain, refuse, fail, done)}

if __name__ == "__main__":
    start(*sys.argv[1:])
