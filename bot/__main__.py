"""The command line: ``python -m bot run``, ``python -m bot worker`` and ``python -m bot try FILE``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from bot import log
from bot.settings import InvalidSettings, Settings

BAD_SETTINGS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.load()
    except InvalidSettings as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - there is no log without settings
        return BAD_SETTINGS
    # What a command does not need is not imported: `try` starts without Discord, errors in settings at once.
    if options.command in {"run", "worker"}:
        log.configure(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets())
        if options.command == "worker":
            from bot.bootstrap import worker  # noqa: PLC0415

            return asyncio.run(worker.run(settings))
        from bot.bootstrap import gateway  # noqa: PLC0415

        return asyncio.run(gateway.run(settings))
    from bot.bootstrap import offline  # noqa: PLC0415

    log.configure(level="WARNING", log_format="text", secrets=settings.secrets())
    return asyncio.run(
        offline.try_file(
            settings,
            options.file,
            mode=options.mode,
            language=options.language,
            translate=options.translate,
            as_json=options.json,
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot", description="Earshot listens, and makes notes.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the Discord bot; it needs DISCORD_TOKEN")
    commands.add_parser("worker", help="run a worker beside the bot: it cleans up what has expired")
    attempt = commands.add_parser("try", help="put a file through the pipeline, without Discord")
    attempt.add_argument("file", type=Path, help="an audio or video file")
    attempt.add_argument("--mode", default="auto", help="a mode's id, or auto (default)")
    attempt.add_argument("--language", help="the language that is spoken, such as de or German")
    attempt.add_argument("--translate", action="store_true", help="translate into English")
    attempt.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
