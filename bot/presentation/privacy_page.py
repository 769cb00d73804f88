"""What is kept of a member, and the button that has it forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import discord
from loguru import logger

from bot.core.errors import EarshotError, NotAllowed, reference_of
from bot.presentation.courier import answer_embed
from bot.presentation.messages import text
from bot.presentation.network import UNDELIVERED
from bot.presentation.replies import Answer, Field, error_answer
from bot.presentation.requests import asker_of
from bot.presentation.times import counted, moment
from bot.presentation.views import Lasting, result_view

if TYPE_CHECKING:
    from bot.core.models import Asker
    from bot.core.privacy import Kept
    from bot.presentation.client import Services


class NotYours(NotAllowed):
    """Somebody else's button."""

    key = "error.not_yours"


def kept_answer(kept: Kept, asker: Asker, *, locale: str) -> Answer:
    """What is kept of somebody where they ask, and the question whether it is to be forgotten."""
    title = text(_here("forget.title", asker), locale)
    if not kept:
        return Answer(title=title, description=text("forget.nothing", locale), fields=(_untouched(asker, locale),))
    lines = [text("forget.kept", locale, **_counts(kept, locale)), *_unread(kept, locale)]
    if kept.oldest is not None:
        lines.append(text("forget.oldest", locale, when=moment(kept.oldest, "f")))
    lines.append(text("forget.question", locale))
    return Answer(
        title=title,
        description="\n".join(lines),
        fields=(_untouched(asker, locale),),
        extra_items=_buttons(asker, locale),
    )


def forgotten_answer(gone: Kept, asker: Asker, *, locale: str) -> Answer:
    """What went."""
    lines = [text("forget.nothing", locale)]
    if gone:
        lines = [text("forget.done", locale, **_counts(gone, locale)), *_unread(gone, locale)]
    return Answer(description="\n".join(lines), fields=(_untouched(asker, locale),))


def _here(key: str, asker: Asker) -> str:
    return f"{key}.outside" if asker.guild_id is None else key


def _counts(kept: Kept, locale: str) -> dict[str, str]:
    return {
        "results": counted("forget.results", kept.results, locale),
        "transcripts": counted("forget.transcripts", kept.transcripts, locale),
    }


def _unread(kept: Kept, locale: str) -> list[str]:
    return [text("forget.unread", locale, count=kept.unread)] if kept.unread else []


def _untouched(asker: Asker, locale: str) -> Field:
    said = text(_here("forget.untouched.text", asker), locale)
    return Field(name=text("forget.untouched", locale), value=said, inline=False)


class _OwnButton(Lasting[discord.ui.Button[Any]], template="-"):
    """A button for the one whom it names. What comes of it stands in place of the question, and of its buttons."""

    kind: ClassVar[str]
    style: ClassVar[discord.ButtonStyle]

    def __init__(self, member_id: str, locale: str) -> None:
        self._member_id = member_id
        label, custom_id = text(f"{self.kind}.button", locale), f"earshot:{self.kind}:{member_id}"
        super().__init__(discord.ui.Button(style=self.style, label=label, custom_id=custom_id))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do it, for nobody else, and where the bot may be used."""
        services: Services = interaction.client.services
        locale = str(interaction.locale)
        try:
            services.policy.check(interaction)
            if str(interaction.user.id) != self._member_id:
                raise NotYours
            await self._do(interaction, services, locale)
        except NotAllowed as exc:
            await interaction.response.send_message(text(exc.key, locale), ephemeral=True)
        except UNDELIVERED as exc:
            logger.info("a question could not be taken back: {!r}", exc)

    async def _do(self, interaction: discord.Interaction[Any], services: Services, locale: str) -> None:
        raise NotImplementedError


class ForgetButton(_OwnButton, template=r"earshot:forget:(?P<id>\d{1,20})"):
    """Forgets everything of whoever presses it, where they press it."""

    kind, style = "forget", discord.ButtonStyle.danger

    async def _do(self, interaction: discord.Interaction[Any], services: Services, locale: str) -> None:
        await interaction.response.edit_message(view=None)  # first: nobody keeps what is being deleted
        asker = asker_of(interaction)
        try:
            gone = await services.privacy.forget(asker.guild_id, asker.member_id)
            answer = forgotten_answer(gone, asker, locale=locale)
        except Exception as exc:  # noqa: BLE001 - the last resort: the member is told, the log has the cause
            press_id = str(interaction.id)
            with logger.contextualize(request_id=press_id):
                logger.opt(exception=exc).warning("a member could not be forgotten")
            error = exc if isinstance(exc, EarshotError) else EarshotError()
            answer = error_answer(error, reference=reference_of(press_id), locale=locale)
            answer = replace(answer, extra_items=_buttons(asker, locale))
        await interaction.edit_original_response(embed=answer_embed(answer), view=result_view(answer, (), locale))


class KeepButton(_OwnButton, template=r"earshot:keep:(?P<id>\d{1,20})"):
    """Thinks better of it. It does not say what is still there: somebody may press it after all was forgotten."""

    kind, style = "keep", discord.ButtonStyle.secondary

    async def _do(self, interaction: discord.Interaction[Any], services: Services, locale: str) -> None:  # noqa: ARG002 - as the other's
        await interaction.response.edit_message(embed=discord.Embed(description=text("keep.done", locale)), view=None)


def _buttons(asker: Asker, locale: str) -> tuple[ForgetButton, KeepButton]:
    return ForgetButton(str(asker.member_id), locale), KeepButton(str(asker.member_id), locale)
