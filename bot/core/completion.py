"""What a link of the chain is asked, and what it answers. The chain itself is ``bot.core.chain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.core.json_schemas import JsonSchema
    from bot.core.models import ModeResult, Note, Transcript
    from bot.core.modes import Mode
    from bot.core.prompts import Prompt
    from bot.core.spending import Usage


class Form(StrEnum):
    """How a model is asked for an answer by a schema: its server holds it to that, or to JSON, or words alone do.

    The best form comes first.
    """

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTask:
    """What a link of the chain gets: the prompt for those that read prompts, the rest for those that do not.

    ``scope`` names those who may share the answer; ``only_cached`` asks for an answer that is there already;
    ``keep_s`` is the longest that the answer may be cached, in seconds. With a ``schema``, the answer is JSON by it;
    ``form`` is how the model is asked for that.
    """

    mode: Mode
    transcript: Transcript
    prompt: Prompt
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    scope: str = "local"
    only_cached: bool = False
    keep_s: float = 3_600.0
    schema: JsonSchema | None = None
    form: Form = Form.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """A link that gave no answer, and why, in a few words for an operator."""

    model: str
    why: str

    def __str__(self) -> str:
        return f"{self.model}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer, and what there is to say about it.

    ``model`` names the link that gave it; ``failed`` are the better links that gave none, ``cached`` says that nobody
    was asked for it now: both are filled in by the chain. ``usage`` is what it took now, None where nobody knows.
    """

    model: str
    result: ModeResult
    notes: tuple[Note, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()
    cached: bool = False
    usage: Usage | None = None
