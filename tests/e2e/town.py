"""A guild with a channel, a member, and the bot in a process of its own."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.simulator.process import RUN, BotProcess
from tests.simulator.server import DiscordSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from tests.simulator.channels import Channel
    from tests.simulator.guilds import Guild
    from tests.simulator.intents import Intent
    from tests.simulator.interactions import Interaction
    from tests.simulator.members import Member
    from tests.simulator.messages import Message

ROOT = Path(__file__).parents[2]
MODELS_DIR = ROOT / ".cache" / "models"
REDIS = ("REDIS_STORE_URL", "REDIS_CACHE_URL")
COMMANDS = ("summarize", "transcribe", "help", "settings", "quota", "results", "forget-me", "Summarise", "Transcribe")
PATIENCE_S = 90.0
"""How long an answer may take before a test gives up: many times what it takes on two busy cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Where the tests take place."""

    simulator: DiscordSimulator
    guild: Guild
    channel: Channel
    ada: Member
    data_dir: Path

    def process(self, argv: Sequence[str] = RUN, **settings: str) -> BotProcess:
        """The bot, not started yet."""
        fixed = {
            "DATA_DIR": str(self.data_dir),
            "MODELS_DIR": str(MODELS_DIR),
            "MODES_DIR": str(ROOT / "modes"),
            "HTTP_PORT": "0",
            "LOG_LEVEL": "DEBUG",
            # Many tests share a member: what limits members is tested apart.
            **dict.fromkeys(("RATE_PER_HOUR", "MAX_RATE_PER_HOUR"), "10000"),
            **dict.fromkeys(("RATE_BURST", "MAX_RATE_BURST"), "1000"),
            # Set to nothing, so that a developer's own .env changes nothing either.
            **dict.fromkeys(("OPENAI_API_KEY", "OPENAI_BASE_URL", "LLM_CHAIN", "WHISPER_MODEL", *REDIS), ""),
            **{name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ},  # noqa: TID251 - a property of the machine
        }
        return BotProcess(self.simulator, settings={**fixed, **settings}, argv=argv)


@asynccontextmanager
async def a_town(data_dir: Path, *, privileged: Intent | None = None) -> AsyncGenerator[Town]:
    """A new town; at the end, the bot must have kept to Discord's rules. No privileged intent is on by default."""
    async with DiscordSimulator(privileged=privileged) as simulator:
        guild = simulator.add_guild("Testers")
        channel = guild.add_text_channel("general")
        try:
            yield Town(
                simulator=simulator, guild=guild, channel=channel, ada=guild.add_member("ada"), data_dir=data_dir
            )
        finally:
            end_servers(data_dir)
    simulator.check()


def servers(data_dir: Path) -> Iterator[psutil.Process]:
    """The Redis servers that a bot started for itself; each works in a folder of its role."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in {"redis-server", "valkey-server"}:
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(data_dir.resolve()):
                    yield process


def end_servers(data_dir: Path) -> None:
    """End the servers of a bot that was killed: they outlive it, so that the next one finds them."""
    for process in servers(data_dir):
        process.kill()


def store_socket(data_dir: Path) -> str:
    """Where the bot's own store listens, as its process's title tells."""
    (store,) = (process for process in servers(data_dir) if Path(process.cwd()).name == "store")
    return store.cmdline()[0].rpartition("unixsocket:")[2]


def is_final(message: Message) -> bool:
    """Whether it is more than progress."""
    return not any(embed.get("title") == "On it …" for embed in message.embeds)


async def answer(interaction: Interaction) -> Message:
    """The answer, when it is complete."""
    await interaction.acknowledged()
    return await interaction.reply(is_final, within=PATIENCE_S)


def fields(message: Message) -> dict[str, str]:
    """An embed's fields by name."""
    return {field["name"]: field["value"] for field in message.embeds[0].get("fields", [])}


def menu_id(message: Message, kind: str) -> str:
    """The custom id of the menu that gives files, or does something again."""
    found: list[Any] = [
        part["custom_id"]
        for row in message.components
        for part in row["components"]
        if f":{kind}:" in part["custom_id"]
    ]
    (custom_id,) = found
    return str(custom_id)


def modes_with_timeout(folder: Path, *, seconds: float) -> Path:
    """A folder with the mode for summaries, whose model has so many seconds to answer."""
    folder.mkdir(parents=True)
    shipped = json.loads((ROOT / "modes" / "summarize.json").read_text())
    shipped["model"]["timeout_s"] = seconds
    (folder / "summarize.json").write_text(json.dumps(shipped))
    return folder
