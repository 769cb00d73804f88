"""Modes, read from a folder of JSON files."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from loguru import logger
from pydantic import ValidationError

from bot.core.errors import ModeInvalid
from bot.core.modes import Mode
from bot.core.prompts import check_prompt
from bot.core.routing import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_MODE_BYTES: Final = 65_536
RESERVED_COMMANDS: Final = frozenset({"transcribe", "help"})
"""Commands of the bot itself, which a mode cannot take."""
MAX_MODES: Final = 100 - len(RESERVED_COMMANDS)
"""Discord allows a guild 100 slash commands."""


class ModeFiles:
    """The modes of a folder, read once. A broken file is named in the log and does not keep the others from working."""

    def __init__(self, folder: Path) -> None:
        modes: dict[str, Mode] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                mode = read_mode(path)
                _refuse_clash(mode, modes)
            except ModeInvalid as exc:
                logger.error("{} is left out: {}", path, exc.detail)
            else:
                modes[mode.id] = mode
        if not modes:
            logger.error("there is no usable mode in {}: only /transcribe will work", folder)
        self._modes = MappingProxyType(modes)

    def current(self) -> Mapping[str, Mode]:
        """All modes by id."""
        return self._modes


def read_mode(path: Path) -> Mode:
    """Read and check one mode file.

    Raises:
        ModeInvalid: with a sentence for each mistake.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MODE_BYTES + 1)
        if len(content) > MAX_MODE_BYTES:
            raise ModeInvalid(f"is larger than {MAX_MODE_BYTES} bytes")
        mode = Mode.model_validate(json.loads(content))
    except OSError as exc:
        raise ModeInvalid(f"cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        # ValidationError, JSONDecodeError and UnicodeDecodeError are all of them ValueErrors.
        raise ModeInvalid(_sentences(exc)) from exc
    check_prompt(mode)
    return mode


def _refuse_clash(mode: Mode, modes: Mapping[str, Mode]) -> None:
    if mode.id == AUTO:
        raise ModeInvalid(f"the id {AUTO!r} means that the mode is chosen for the member")
    if len(modes) >= MAX_MODES:
        raise ModeInvalid(f"there are {MAX_MODES} modes already, as many as Discord allows commands")
    if mode.id in modes:
        raise ModeInvalid(f"another file has the id {mode.id!r}")
    taken = RESERVED_COMMANDS | {other.discord.command for other in modes.values()}
    if mode.discord.command in taken:
        raise ModeInvalid(f"the command {mode.discord.command!r} is taken")


def _sentences(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        return "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
    return f"is no valid JSON: {exc}"
