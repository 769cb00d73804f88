"""Logging: one sink, secrets struck out, the standard library's records included.

``logger.contextualize(request_id=...)`` marks every line of a request, across tasks and threads: with the id, and with
the reference that the member of a failed request is shown.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, TextIO

from loguru import logger

from bot.core.errors import reference_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loguru import Message, Record

QUIET = {
    "discord.voice_state": logging.INFO,  # its DEBUG lines hold the transport key
    "discord.gateway": logging.INFO,  # its DEBUG lines hold every payload, the token among them
    "discord.client": logging.INFO,
    "discord.http": logging.INFO,  # its DEBUG lines hold interaction tokens
    "discord.webhook": logging.INFO,
    "docket": logging.ERROR,  # it tells of each try to connect again; what is away is told once, by whoever finds it
    "openai": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers of vendors, and the least level that they are allowed to speak at."""


class _ToLoguru(logging.Handler):
    """Hands records of the standard library on."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        logger.patch(lambda entry: entry.update(name=record.name, function=record.funcName, line=record.lineno)).opt(
            exception=record.exc_info
        ).log(level, "{}", record.getMessage())


class RedactingSink:
    """Writes lines to a stream, with secrets replaced by ``***``."""

    def __init__(self, stream: TextIO, secrets: Iterable[str], *, as_json: bool) -> None:
        # The longest first: one secret may be a part of another.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._stream = stream
        self._as_json = as_json

    def __call__(self, message: Message) -> None:
        """Write one message."""
        line = self._json(message) if self._as_json else str(message)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        self._stream.write(line)
        self._stream.flush()

    @staticmethod
    def _json(message: Message) -> str:
        record = message.record
        entry: dict[str, object] = {
            "time": record["time"].isoformat(timespec="milliseconds"),
            "level": record["level"].name,
            "logger": record["name"],
            "message": record["message"],
            **record["extra"],
        }
        if "request_id" in record["extra"]:
            entry["reference"] = _reference(record)
        if record["exception"] is not None:
            # The formatted message ends with the traceback.
            entry["traceback"] = str(message).partition("\n")[2]
        return json.dumps(entry, ensure_ascii=False, default=str) + "\n"


def _reference(record: Record) -> str:
    return reference_of(str(record["extra"]["request_id"]))


def _text_format(record: Record) -> str:
    request = f" {_reference(record)} {{extra[request_id]}}" if "request_id" in record["extra"] else ""
    return f"{{time:YYYY-MM-DD HH:mm:ss.SSS}} {{level: <7}} {{name}}{request} | {{message}}\n{{exception}}"


def configure(*, level: str, log_format: str, secrets: Iterable[str] = (), stream: TextIO = sys.stderr) -> None:
    """Send every log line of this process to ``stream``."""
    logger.remove()
    logger.add(
        RedactingSink(stream, secrets, as_json=log_format == "json"),
        level=level,
        format=_text_format,
        # Neither shows the values of variables, which may be secret.
        backtrace=False,
        diagnose=False,
    )
    logging.basicConfig(handlers=[_ToLoguru()], level=level, force=True)
    for name, least in QUIET.items():
        vendor = logging.getLogger(name)  # noqa: TID251 - routed from here
        vendor.setLevel(max(least, logging.getLevelNamesMapping()[level]))
