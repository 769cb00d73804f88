"""A process in which many members ask for the same at once; arguments are a JSON object, see `Crowd`.

It prints a JSON object: how many answers of which text there were, and how often it did the work itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bot import log
from bot.adapters.local_files import LocalFileFetcher
from bot.bootstrap.desk import build_desk, build_fair_use
from bot.bootstrap.services import open_core
from bot.bootstrap.state import open_state
from bot.core.load import ReadOnly
from bot.core.models import Asker, AudioFile, Reply, Request, Stage, StageStatus
from bot.settings import Settings

GUILD = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Members ``first`` to ``first + count`` ask for a summary of ``clip``; ``settings`` are environment variables."""

    settings: dict[str, str]
    clip: str
    first: int
    count: int


async def run(crowd: Crowd) -> dict[str, object]:
    """Let them ask."""
    settings = Settings.from_env(crowd.settings)
    async with (
        open_state(settings) as state,
        open_core(settings, state, lambda spool, limit: LocalFileFetcher(spool, max_bytes=limit)) as core,
    ):
        read_only = ReadOnly(core.load, enter_s=3_600)
        desk = build_desk(settings, core, state, fair_use=build_fair_use(settings, state), read_only=read_only)
        members = range(crowd.first, crowd.first + crowd.count)
        replies = await asyncio.gather(
            *(
                desk.serve(
                    Request(
                        id=f"{member:016x}",
                        source=AudioFile(path=Path(crowd.clip)),
                        mode="summarize",
                        asker=Asker(guild_id=GUILD, channel_id=1, member_id=member),
                    )
                )
                for member in members
            )
        )
    return {
        "answers": Counter(
            f"{reply.transcript.text} | {reply.result.text if reply.result else None}" for reply in replies
        ),
        "transcribed": sum(_worked(reply, Stage.TRANSCRIBE) for reply in replies),
        "completed": sum(_worked(reply, Stage.COMPLETE) for reply in replies),
        "models": Counter(reply.model for reply in replies),
    }


def _worked(reply: Reply, stage: Stage) -> bool:
    return reply.stages[stage].status is StageStatus.OK


if __name__ == "__main__":
    log.configure(level="INFO", log_format="text")
    sys.stdout.write(json.dumps(asyncio.run(run(Crowd(**json.loads(sys.argv[1]))))))
