"""Menus below a result. All that they need is in their ``custom_id``, so they work after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import discord

from bot.core.models import KeptTranscript
from bot.core.rendering import TranscriptFormat
from bot.presentation.messages import text
from bot.presentation.replies import Answer, TextFile, attached_transcript
from bot.presentation.requests import Ask

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from bot.core.modes import Mode
    from bot.presentation.client import Services

ItemT = TypeVar("ItemT", bound="discord.ui.Item[Any]")

TRANSCRIPT_ALONE: Final = "-"
"""Stands for "no mode" among the values of the redo menu; no mode can have this id."""

_MAX_OPTIONS: Final = 25
_MAX_LABEL: Final = 80
_MAX_DESCRIPTION: Final = 100


def result_view(answer: Answer, modes: tuple[Mode, ...], locale: str) -> discord.ui.View | None:
    """What can be clicked below an answer, None where there is nothing."""
    items = list(answer.extra_items)
    if (reply := answer.incomplete) is not None and reply.mode is not None:
        items.append(RetryButton(reply.request.id, locale, reply.mode.title))
    if answer.transcript_id is not None:
        items += [FilesMenu(answer.transcript_id, locale), RedoMenu(answer.transcript_id, locale, modes)]
    if not items:
        return None
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


def _services(interaction: discord.Interaction[Any]) -> Services:
    return interaction.client.services


class Lasting(discord.ui.DynamicItem[ItemT], template="-"):
    """What works after a restart: whatever it has to know is the ``id`` in its template. Made of that and a locale."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],  # noqa: ARG003 - discord.py's signature
        match: re.Match[str],
        /,
    ) -> Self:
        """Made anew for each use."""
        make = cast("Callable[[str, str], Self]", cls)
        return make(match["id"], str(interaction.locale))


class FilesMenu(Lasting[discord.ui.Select[Any]], template=r"earshot:files:(?P<id>[0-9a-f]{8,64})"):
    """Gives the transcript as a file, to whoever asks, for them alone."""

    def __init__(self, transcript_id: str, locale: str) -> None:
        self._transcript_id = transcript_id
        super().__init__(
            discord.ui.Select(
                custom_id=f"earshot:files:{transcript_id}",
                placeholder=text("menu.files", locale),
                options=[
                    discord.SelectOption(label=text(f"menu.file.{kind}", locale), value=kind)
                    for kind in TranscriptFormat
                ],
            )
        )

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer with the file that was chosen."""
        services, locale = _services(interaction), str(interaction.locale)
        kind = TranscriptFormat(self.item.values[0])

        async def make() -> Answer:
            transcript = await services.transcripts.get(self._transcript_id)
            file = TextFile(name=f"transcript.{kind}", content=attached_transcript(transcript, kind, locale))
            return Answer(description=text("files.ready", locale), files=(file,))

        await services.reception.hand_over(interaction, make)


class RedoMenu(Lasting[discord.ui.Select[Any]], template=r"earshot:redo:(?P<id>[0-9a-f]{8,64})"):
    """Makes something else of the same transcript, without listening again."""

    def __init__(self, transcript_id: str, locale: str, modes: tuple[Mode, ...] = ()) -> None:
        self._transcript_id = transcript_id
        options = [
            discord.SelectOption(label=mode.title, value=mode.id, description=mode.description[:_MAX_DESCRIPTION])
            for mode in modes[: _MAX_OPTIONS - 1]
        ]
        options.append(
            discord.SelectOption(
                label=text("menu.transcript", locale),
                value=TRANSCRIPT_ALONE,
                description=text("menu.transcript.description", locale),
            )
        )
        super().__init__(
            discord.ui.Select(
                custom_id=f"earshot:redo:{transcript_id}", placeholder=text("menu.redo", locale), options=options
            )
        )

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer with a new message, as visible as the one that the menu stands under."""
        chosen = self.item.values[0]
        shown_to_one = interaction.message is not None and interaction.message.flags.ephemeral

        async def find() -> KeptTranscript:
            return KeptTranscript(id=self._transcript_id)

        mode = None if chosen == TRANSCRIPT_ALONE else chosen
        await _services(interaction).reception.listen(interaction, find, Ask(mode=mode, private=shown_to_one))


class RetryButton(Lasting[discord.ui.Button[Any]], template=r"earshot:retry:(?P<id>[0-9a-f]{8,64})"):
    """Makes what a request asked for again, in the same place. What does it is told by an event, ``retry``."""

    def __init__(self, request_id: str, locale: str, mode: str = "") -> None:
        self._request_id = request_id
        label = text("retry.button", locale, mode=mode)[:_MAX_LABEL]
        super().__init__(
            discord.ui.Button(style=discord.ButtonStyle.primary, label=label, custom_id=f"earshot:retry:{request_id}")
        )

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Pass it on, with the id of the request."""
        interaction.client.dispatch("retry", interaction, self._request_id)


class CancelButton(Lasting[discord.ui.Button[Any]], template=r"earshot:cancel:(?P<id>[0-9a-f]{8,64})"):
    """Stops a request. What does it is told by an event, ``cancel``."""

    def __init__(self, request_id: str, locale: str) -> None:
        self._request_id = request_id
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.secondary,
                label=text("cancel.button", locale),
                custom_id=f"earshot:cancel:{request_id}",
            )
        )

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Pass it on, with the id of the request."""
        interaction.client.dispatch("cancel", interaction, self._request_id)


def cancel_view(request_id: str, locale: str) -> discord.ui.View:
    """What can be clicked while a request is under way."""
    view = discord.ui.View(timeout=None)
    view.add_item(CancelButton(request_id, locale))
    return view
