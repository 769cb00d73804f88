"""What is said between the bot and a transcriber's process: one JSON object on a line, in either direction.

The bot says `Setup` once, then `Job` after `Job`. The process answers with `Ready` or `Unavailable`, then, for each
job, with `Found`, `Scanned` and `Finished` as they come, and one of `Done`, `Refused` and `Broken` at the end.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bot.core.models import Segment, Task  # noqa: TC001 -- pydantic reads the annotations

EMBEDDED = "base"
"""The model that ``embedded`` stands for."""

MAX_LINE_BYTES = 1 << 20
"""A window's segments take a few kilobytes; whatever is longer is not from us."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Setup(_Message):
    """What the process is to load. ``niceness`` is added to its own; ``threads`` 0 means a share of the cores."""

    type: Literal["setup"] = "setup"
    model: str
    models_dir: str
    wheels_dir: str
    device: str
    compute_type: str
    threads: int = Field(ge=0)
    concurrency: int = Field(ge=1)
    beam_size: int = Field(ge=1)
    niceness: int = Field(ge=0)


class Job(_Message):
    """A recording: a file of ``samples`` float32 values, listened to from the sample ``begin`` on."""

    type: Literal["job"] = "job"
    path: str
    samples: int = Field(ge=0)
    begin: int = Field(ge=0)
    language: str | None
    task: Task
    hot_words: tuple[str, ...]


class Ready(_Message):
    """The model is loaded."""

    type: Literal["ready"] = "ready"
    device: str
    compute_type: str
    workers: int
    threads: int


class Unavailable(_Message):
    """The model cannot be loaded; the process ends."""

    type: Literal["unavailable"] = "unavailable"
    detail: str


class Found(_Message):
    """The language of the recording."""

    type: Literal["found"] = "found"
    language: str
    probability: float = Field(ge=0, le=1.001)


class Scanned(_Message):
    """Speech was looked for up to this sample: a sign of life in a long silence."""

    type: Literal["scanned"] = "scanned"
    until: int = Field(ge=0)


class Finished(_Message):
    """All is done up to the sample ``until``, and this was said since the last time."""

    type: Literal["finished"] = "finished"
    segments: tuple[Segment, ...]
    until: int = Field(ge=0)


class Done(_Message):
    """The recording is done."""

    type: Literal["done"] = "done"


class Refused(_Message):
    """The model does not know the language that was asked for; the process goes on."""

    type: Literal["refused"] = "refused"
    language: str


class Broken(_Message):
    """The job failed; the process ends."""

    type: Literal["broken"] = "broken"
    detail: str


Request = Setup | Job
Answer = Ready | Unavailable | Found | Scanned | Finished | Done | Refused | Broken

_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="type")])
_ANSWERS: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="type")])


def encode(message: Request | Answer) -> bytes:
    """Give the line of a message."""
    return message.model_dump_json().encode() + b"\n"


def read_request(line: bytes) -> Request:
    """Read what the bot says.

    Raises:
        ValueError: it is none of its messages.
    """
    return _REQUESTS.validate_json(line)


def read_answer(line: bytes) -> Answer:
    """Read what a process says.

    Raises:
        ValueError: it is none of its messages.
    """
    return _ANSWERS.validate_json(line)
