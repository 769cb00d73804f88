from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.whisper import protocol
from bot.core.models import Segment, Task

REQUESTS = [
    protocol.Setup(
        model="embedded",
        models_dir="models",
        wheels_dir="wheels",
        device="auto",
        compute_type="auto",
        threads=0,
        concurrency=1,
        beam_size=5,
        niceness=5,
    ),
    protocol.Job(path="/x", samples=5, begin=0, language=None, task=Task.TRANSLATE, hot_words=("Ada\n", "Zoë")),
]
ANSWERS = [
    protocol.Ready(device="cpu", compute_type="int8", workers=2, threads=1),
    protocol.Unavailable(detail="no\nsuch model"),
    protocol.Found(language="en", probability=1.0),
    protocol.Scanned(until=4),
    protocol.Finished(segments=(Segment(start=0, end=1, text="line\nbreak \u2028 and 🎧"),), until=9),
    protocol.Done(),
    protocol.Refused(language="xx"),
    protocol.Broken(detail="out of memory"),
]


@pytest.mark.parametrize("message", REQUESTS)
def test_requests_survive_the_wire(message: protocol.Request) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.read_request(line) == message


@pytest.mark.parametrize("message", ANSWERS)
def test_answers_survive_the_wire(message: protocol.Answer) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.read_answer(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b'{"type": "job"}',
        b'{"type": "explode"}',
        b'{"type": "done", "extra": 1}',
        b'{"type": "scanned", "until": -1}',
        b'{"type": "found", "language": "en", "probability": NaN}',
        b'{"type": "found", "language": "en", "probability": 7}',
        b'{"type": "finished", "until": 5, "segments": [{"start": -1, "end": 2, "text": "x"}]}',
        b'{"type": "done"} {"type": "done"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whichever of pydantic's and the decoder's it is
        protocol.read_answer(line)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(line: bytes) -> None:
    try:
        protocol.read_answer(line)
    except ValueError:
        return


def test_what_libraries_print_does_not_reach_the_channel() -> None:
    program = (
        "import os; from bot.adapters.whisper import child, protocol; say = child.take_stdout(); print('noise');"
        "os.system('echo more noise'); os.write(1, b'and more'); say(protocol.Done())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == protocol.encode(protocol.Done())
    assert b"more noise" in done.stderr
