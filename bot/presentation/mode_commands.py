"""Slash commands that listen: one for the transcript, one for each mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.core.languages import LANGUAGES, matching_languages
from bot.core.models import Task
from bot.presentation.messages import DEFAULT_LOCALE, text
from bot.presentation.requests import Ask, NoInput, TwoInputs, source_of_attachment, source_of_link
from bot.presentation.times import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.models import Source
    from bot.core.modes import Mode
    from bot.presentation.reception import Reception

MAX_DESCRIPTION = 100
"""Longest description of a command, in characters."""
_MAX_CHOICES = 25

_OPTIONS = {name: text(f"option.{name}") for name in ("audio", "link", "language", "private")}


def mode_command(mode: Mode, reception: Reception) -> app_commands.Command[Any, Any, Any]:
    """The slash command of a mode."""

    @app_commands.describe(**_OPTIONS)
    @app_commands.autocomplete(language=complete_language)
    async def callback(
        interaction: discord.Interaction,
        audio: discord.Attachment | None = None,
        link: str | None = None,
        language: str | None = None,
        private: bool = False,
    ) -> None:
        await reception.listen(
            interaction,
            source_finder(interaction, audio, link),
            Ask(mode=mode.id, language=language, private=private),
        )

    return app_commands.Command(name=mode.discord.command, description=priced_description(mode), callback=callback)


def priced_description(mode: Mode) -> str:
    """What a mode does, and what it takes where that is more than others do; as long as Discord allows."""
    if mode.limits.cost == 1:
        return mode.description
    price = text("price.beside", price=counted("tokens", mode.limits.cost, DEFAULT_LOCALE))
    room = MAX_DESCRIPTION - len(price) - 1
    shown = mode.description if len(mode.description) <= room else f"{mode.description[: room - 1].rstrip()}…"
    return f"{shown} {price}"


def transcribe_command(reception: Reception) -> app_commands.Command[Any, Any, Any]:
    """``/transcribe``: the words, and nothing made of them."""

    @app_commands.describe(**_OPTIONS, translate=text("option.translate"))
    @app_commands.autocomplete(language=complete_language)
    async def callback(
        interaction: discord.Interaction,
        audio: discord.Attachment | None = None,
        link: str | None = None,
        language: str | None = None,
        translate: bool = False,
        private: bool = False,
    ) -> None:
        task = Task.TRANSLATE if translate else Task.TRANSCRIBE
        await reception.listen(
            interaction,
            source_finder(interaction, audio, link),
            Ask(mode=None, language=language, task=task, private=private),
        )

    return app_commands.Command(name="transcribe", description=text("command.transcribe"), callback=callback)


def source_finder(
    interaction: discord.Interaction, audio: discord.Attachment | None, link: str | None
) -> Callable[[], Awaitable[Source]]:
    """Finds the source in the options that a member filled in."""

    async def find() -> Source:
        match audio, link:
            case None, None:
                raise NoInput(menu=text("menu.command.summarise"))
            case discord.Attachment() as attachment, None:
                return source_of_attachment(attachment)
            case None, str() as address:
                return await source_of_link(interaction, address)
            case _:
                raise TwoInputs

    return find


async def complete_language(_interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """Languages that fit what has been typed."""
    found = matching_languages(typed, _MAX_CHOICES) if typed else list(LANGUAGES.items())[:_MAX_CHOICES]
    return [app_commands.Choice(name=name, value=code) for code, name in found]
