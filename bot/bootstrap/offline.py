"""``python -m bot try``: the pipeline without Discord."""

from __future__ import annotations

import json
import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

from bot.adapters.local_files import LocalFileFetcher
from bot.bootstrap.services import StartFailed, open_core
from bot.bootstrap.state import in_process_state
from bot.core.errors import BadInput, EarshotError
from bot.core.languages import parse_language
from bot.core.models import AudioFile, Request, Task, TranscriptionOptions
from bot.core.pipeline import nobody
from bot.presentation.messages import text
from bot.presentation.terminal import TerminalProgress, reply_json, reply_page

if TYPE_CHECKING:
    from pathlib import Path

    from bot.adapters.spool import FileSpool
    from bot.core.models import Reply
    from bot.settings import Settings

DONE, FAILED, BAD_INPUT = 0, 1, 2
"""Exit codes."""


async def try_file(
    settings: Settings, file: Path, *, mode: str | None, language: str | None, translate: bool, as_json: bool
) -> int:
    """Answer a request for ``file``; the exit code."""
    progress = nullcontext() if as_json else TerminalProgress(Console(stderr=True))
    try:
        request = Request(
            id=secrets.token_hex(8),
            source=AudioFile(path=file),
            mode=mode,
            options=TranscriptionOptions(
                language=parse_language(language) if language else None,
                task=Task.TRANSLATE if translate else Task.TRANSCRIBE,
            ),
        )
        # One file, one process: nothing is kept warm for a next one.
        alone = settings.model_copy(update={"whisper_standby": 0})
        async with open_core(alone, in_process_state(), _local_files) as core:
            with progress as shown:
                reply = await core.pipeline.run(request, shown.observe if shown else nobody)
    except StartFailed as exc:
        _complain(str(exc))
        return FAILED
    except EarshotError as exc:
        _complain(_sentence(exc))
        return BAD_INPUT if isinstance(exc, BadInput) else FAILED
    _show(reply, as_json=as_json)
    return DONE


def _local_files(spool: FileSpool, max_bytes: int) -> LocalFileFetcher:
    return LocalFileFetcher(spool, max_bytes=max_bytes)


def _show(reply: Reply, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(reply_json(reply), ensure_ascii=False, indent=2))  # noqa: T201 - what the command is for
    else:
        Console().print(reply_page(reply))


def _complain(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)


def _sentence(exc: EarshotError) -> str:
    """What is wrong, in a line; where the input is not to blame, with the cause that an operator may see."""
    sentence = text(exc.key, **exc.values)
    return sentence if isinstance(exc, BadInput) or not exc.detail else f"{sentence} ({exc.detail})"
