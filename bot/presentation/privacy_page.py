"""What is kept of a member, and the button that has it forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import discord
from loguru import logger

from bot.core.errors import NotAllowed
from bot.presentation.messages import text
from bot.presentation.moderation import member_of
from bot.presentation.network import UNDELIVERED
from bot.presentation.replies import Answer, Field
from bot.presentation.times import counted, moment

if TYPE_CHECKING:
    import re

    from bot.core.privacy import Kept
    from bot.presentation.client import Services


class NotYours(NotAllowed):
    """Somebody else's button."""

    key = "error.not_yours"


def kept_answer(kept: Kept, member_id: int, *, locale: str) -> Answer:
    """What is kept, and the question whether it is to be forgotten."""
    title = text("forget.title", locale)
    untouched = _untouched(locale)
    if _is_nothing(kept):
        return Answer(title=title, description=text("forget.nothing", locale), fields=(untouched,))
    lines = [text("forget.kept", locale, **_counts(kept, locale))]
    if kept.oldest is not None:
        lines.append(text("forget.oldest", locale, when=moment(kept.oldest, "f")))
    lines.append(text("forget.question", locale))
    return Answer(
        title=title,
        description="\n".join(lines),
        fields=(untouched,),
        extra_items=(ForgetButton(member_id, locale), KeepButton(member_id, locale)),
    )


def forgotten_answer(gone: Kept, *, locale: str) -> Answer:
    """What went."""
    if _is_nothing(gone):
        return Answer(description=text("forget.nothing", locale), fields=(_untouched(locale),))
    return Answer(description=text("forget.done", locale, **_counts(gone, locale)), fields=(_untouched(locale),))


def _is_nothing(kept: Kept) -> bool:
    """A request that failed left neither a result nor a transcript; that it was made is kept all the same."""
    return not kept.results and not kept.transcripts and kept.oldest is None


def _counts(kept: Kept, locale: str) -> dict[str, str]:
    return {
        "results": counted("forget.results", kept.results, locale),
        "transcripts": counted("forget.transcripts", kept.transcripts, locale),
    }


def _untouched(locale: str) -> Field:
    return Field(name=text("forget.untouched", locale), value=text("forget.untouched.text", locale), inline=False)


def _check(interaction: discord.Interaction[Any], member_id: int) -> discord.Member:
    """Whoever pressed, if the button is theirs."""
    member = member_of(interaction)
    if member.id != member_id:
        raise NotYours
    return member


class ForgetButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"earshot:forget:(?P<member>\d{1,20})"):
    """Forgets everything of the member whom it names, for that member alone."""

    def __init__(self, member_id: int, locale: str) -> None:
        self._member_id = member_id
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.danger,
                label=text("forget.button", locale),
                custom_id=f"earshot:forget:{member_id}",
            )
        )

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],  # noqa: ARG003 - discord.py's signature
        match: re.Match[str],
        /,
    ) -> Self:
        """Made anew for each use."""
        return cls(int(match["member"]), str(interaction.locale))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Forget, and answer with what went; pressed again, there is nothing left to forget."""
        services: Services = interaction.client.services

        async def make() -> Answer:
            member = _check(interaction, self._member_id)
            gone = await services.privacy.forget(member.guild.id, member.id)
            return forgotten_answer(gone, locale=str(interaction.locale))

        await services.reception.hand_over(interaction, make)


class KeepButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"earshot:keep:(?P<member>\d{1,20})"):
    """Thinks better of it."""

    def __init__(self, member_id: int, locale: str) -> None:
        self._member_id = member_id
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.secondary,
                label=text("forget.cancel", locale),
                custom_id=f"earshot:keep:{member_id}",
            )
        )

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],  # noqa: ARG003 - discord.py's signature
        match: re.Match[str],
        /,
    ) -> Self:
        """Made anew for each use."""
        return cls(int(match["member"]), str(interaction.locale))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Say that nothing was deleted, in place of the question."""
        locale = str(interaction.locale)
        try:
            _check(interaction, self._member_id)
            said = discord.Embed(description=text("forget.cancelled", locale))
            await interaction.response.edit_message(embed=said, view=None)
        except NotAllowed as exc:
            await interaction.response.send_message(text(exc.key, locale), ephemeral=True)
        except UNDELIVERED as exc:
            logger.info("a question could not be taken back: {!r}", exc)
