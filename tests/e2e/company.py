"""A guild of its own for a test: a moderator, somebody with a role, and somebody without."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tests import audio
from tests.e2e.town import COMMANDS, ROOT, answer
from tests.simulator.permissions import Permission

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.town import Town
    from tests.simulator.cdn import Attachment
    from tests.simulator.channels import Channel
    from tests.simulator.guilds import Guild
    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.users import Role

WORDS = "my fellow americans"
"""Of `short_speech`."""

_STAMP = re.compile(r"<t:(\d+):R>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A guild that the bot joined while it ran. ``moderator`` may Manage Server, ``helper`` has ``role``."""

    town: Town
    guild: Guild
    channel: Channel
    moderator: Member
    role: Role
    helper: Member
    bob: Member

    async def ask(self, member: Member, command: str, /, **options: Any) -> Message:
        """Use a slash command and wait for its answer."""
        return await answer(await member.slash(self.channel, command, **options))

    async def set(self, command: str, /, **options: Any) -> Message:
        """Change a setting as the moderator."""
        return await self.ask(self.moderator, f"settings {command}", **options)

    def clip(self, title: str = "", name: str = "clip.ogg") -> Attachment:
        """Four seconds of speech; with another title it is another recording to every cache."""
        return self.town.simulator.cdn.upload(name, short_speech(title), content_type="audio/ogg")

    def heard_by(self, channel: Channel) -> list[Message]:
        """What the bot said in a channel for all to see."""
        return [message for message in channel.visible if message.author is self.town.simulator.world.bot]


async def a_company(town: Town, name: str = "Company") -> Company:
    """Make a guild, invite the bot, and wait until its commands are there."""
    world = town.simulator.world
    guild = town.simulator.add_guild(name)
    managers = guild.add_role("managers", permissions=Permission.MANAGE_GUILD)
    role = guild.add_role("helpers")
    company = Company(
        town=town,
        guild=guild,
        channel=guild.add_text_channel("general"),
        moderator=guild.add_member("mona", roles=[managers]),
        role=role,
        helper=guild.add_member("hal", roles=[role]),
        bob=guild.add_member("bob"),
    )
    await world.changes.until(
        lambda: world.commands.names(guild.id).issuperset(COMMANDS), timeout_s=10, what=lambda: "the commands"
    )
    return company


@cache
def short_speech(title: str = "") -> bytes:
    """The first four seconds of the speech, which are the quicker to listen to; the same bytes for the same title."""
    if title:
        return audio.retold(short_speech(), title)
    return audio.encode(audio.speech()[: 4 * 16_000], audio.Recipe(container="ogg", codec="libopus"))


def moments(message: Message) -> list[int]:
    """The moments that a message names as "in a minute" and the like; Unix times."""
    return [int(found) for found in _STAMP.findall(message.text)]


def two_modes(folder: Path, *, cost: int) -> Path:
    """A folder with the mode for summaries, and one for minutes that costs so many tokens."""
    folder.mkdir(parents=True)
    shipped: dict[str, Any] = json.loads((ROOT / "modes" / "summarize.json").read_text())
    minutes = shipped | {
        "id": "minutes",
        "title": "Minutes",
        "description": "Take the minutes",
        "discord": {"command": "minutes"},
        "limits": {"cost": cost},
    }
    for mode in (shipped, minutes):
        (folder / f"{mode['id']}.json").write_text(json.dumps(mode))
    return folder
