from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from bot import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()  # noqa: TID251 - what is under test changes it
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logger.remove()


@pytest.fixture(params=["text", "json"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    log.configure(level="DEBUG", log_format=request.param, secrets=["hunter2", "hunter2-long"], stream=stream)
    return stream


def test_secrets_are_struck_out_of_messages_and_tracebacks(stream: io.StringIO) -> None:
    try:
        int("hunter2-long")  # its error quotes the value
    except ValueError:
        logger.exception("calling with hunter2")
    written = stream.getvalue()
    assert "hunter2" not in written
    assert "-long" not in written
    assert "ValueError" in written
    assert "***" in written


def test_records_of_the_standard_library_arrive(stream: io.StringIO) -> None:
    logging.getLogger("discord.client").warning("shard %s fell", 3)  # noqa: TID251 - a vendor does it so
    assert "shard 3 fell" in stream.getvalue()


def test_what_vendors_say_of_keys_and_tokens_is_not_logged(stream: io.StringIO) -> None:
    for name in ("discord.voice_state", "discord.gateway", "discord.http", "discord.webhook.async_"):
        logging.getLogger(name).debug("secret key: [1, 2, 3]")  # noqa: TID251 - a vendor does it so
    assert stream.getvalue() == ""


def test_braces_and_markup_in_messages_are_only_text(stream: io.StringIO) -> None:
    logger.info("{}", "{not_a_field} <red>not a colour</red>")
    assert "{not_a_field} <red>not a colour</red>" in stream.getvalue()


def test_the_request_marks_its_lines() -> None:
    stream = io.StringIO()
    log.configure(level="INFO", log_format="json", stream=stream)
    with logger.contextualize(request_id="abc"):
        logger.info("inside")
    logger.info("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert inside["request_id"] == "abc"
    assert "request_id" not in outside
