"""``python -m tests.chaos run|worker LISTENS_S REDELIVERY_S``: the bot or a worker that waits instead of listening."""

from __future__ import annotations

import asyncio
import sys

from bot import log
from bot.bootstrap import gateway, worker
from bot.settings import Settings
from tests.chaos.ears import WaitingEars


def main(command: str, listens_s: str, redelivery_s: str) -> int:
    settings = Settings.load()
    log.configure(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets())
    ears = WaitingEars(float(listens_s))
    if command == "worker":
        return asyncio.run(worker.run(settings, lambda _: ears, redelivery_s=float(redelivery_s)))
    return asyncio.run(gateway.run(settings, lambda _: ears))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
