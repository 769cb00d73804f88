"""Changes a guild's settings on behalf of its moderators, and lets the others of them know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from loguru import logger

from bot.presentation.courier import COLOUR
from bot.presentation.messages import text
from bot.presentation.moderation import require_moderator
from bot.presentation.network import UNDELIVERED
from bot.presentation.settings_page import audit_line, change_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from bot.core.ports import SettingsStore
    from bot.core.records import AuditEntry, GuildSettings
    from bot.presentation.reception import Reception
    from bot.presentation.replies import Answer
    from bot.presentation.settings_changes import Change


TO_POST: Final = ("view_channel", "send_messages", "embed_links")
"""Rights that posting a change in a channel takes."""


class SettingsEditor:
    """Serves moderators; others read that they are none."""

    def __init__(self, settings: SettingsStore, reception: Reception) -> None:
        self._settings = settings
        self._reception = reception

    async def show(self, interaction: discord.Interaction, page: Callable[[GuildSettings], Awaitable[Answer]]) -> None:
        """Answer with a page about the guild's settings."""

        async def make() -> Answer:
            return await page(await self._present(interaction))

        await self._reception.hand_over(interaction, make)

    async def change(self, interaction: discord.Interaction, change: Change, *, notes: Sequence[str] = ()) -> None:
        """Make a change, answer with what it was, and post it where the moderators read.

        Args:
            interaction: a command's, not yet acknowledged.
            change: what is to be changed.
            notes: sentences that the answer ends with.
        """
        changed: list[tuple[set[int], AuditEntry]] = []

        async def make() -> Answer:
            before = await self._present(interaction)
            wanted = change.apply(before)
            if wanted == before:
                return change_answer(change, before, before, notes=notes)
            at = interaction.created_at.timestamp()
            entry = change.entry(before, wanted, who=interaction.user.id, at=at)
            after = await self._settings.change(before.guild_id, change.apply, entry)
            # Both, where it is the channel itself that was changed: nobody gets rid of the others' eyes unseen.
            channels = {before.moderator_channel_id, after.moderator_channel_id} - {None}
            changed.append(({channel for channel in channels if channel is not None}, entry))
            return change_answer(change, before, after, notes=notes)

        await self._reception.hand_over(interaction, make)
        for channels, entry in changed:
            await tell_moderators(interaction.guild, channels, entry)

    async def _present(self, interaction: discord.Interaction) -> GuildSettings:
        """The settings of the guild as they are now, for a moderator of it."""
        member = await require_moderator(interaction, self._settings)
        return await self._settings.look_up(member.guild.id)


async def tell_moderators(guild: discord.Guild | None, channel_ids: Iterable[int], entry: AuditEntry) -> None:
    """Post a change; that it cannot be posted is no error."""
    embed = discord.Embed(description=audit_line(entry), colour=COLOUR)
    for channel_id in channel_ids:
        channel = guild.get_channel_or_thread(channel_id) if guild else None
        if not isinstance(channel, discord.abc.Messageable):
            logger.info("the moderators' channel {} is not there", channel_id)
            continue
        try:
            await channel.send(embed=embed, allowed_mentions=discord.AllowedMentions.none())
        except UNDELIVERED as exc:
            logger.info("a change could not be posted in {}: {!r}", channel_id, exc)


def rights_missing(channel: discord.abc.GuildChannel, rights: Iterable[str], locale: str) -> list[str]:
    """A sentence where the bot lacks some of ``rights`` in a channel, which are called as discord.py calls them."""
    may = channel.permissions_for(channel.guild.me)
    missing = ", ".join(text(f"right.{right}", locale) for right in rights if not getattr(may, right))
    return [text("settings.rights_missing", locale, channel=channel.mention, rights=missing)] if missing else []
