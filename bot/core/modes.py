"""A mode: what to make of what was said. Modes are JSON files; this is their shape.

``schemas/mode.schema.json`` is made from `Mode` (``make schema``).
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bot.core.chunks import LEAST_TOKENS
from bot.core.models import ModeRef

ModeId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DiscordBlock(_Block):
    """How the mode appears in Discord."""

    command: ModeId = Field(description="Name of the slash command, at most 32 characters.")


class PromptBlock(_Block):
    """What the language model is told. The transcript is always fenced as data."""

    system: str = Field(min_length=1, max_length=8_000, description="Who the model is and what it has to do.")
    user: str = Field(
        min_length=1,
        max_length=8_000,
        description=(
            "The request itself. {{ transcript }}, {{ language }} and {{ duration }} are replaced, in one pass."
        ),
    )


class ModelBlock(_Block):
    """Who answers, and the parameters of the completion."""

    chain: str = Field(
        default="smart",
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="Which models answer: `smart`, `fast`, or another alias of the operator's.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="Left out where a model does not take it.")
    max_output_tokens: int = Field(default=1_200, ge=16, le=32_000, description="Limit of the answer's length.")
    max_input_tokens: int = Field(
        default=6_000,
        ge=LEAST_TOKENS,
        le=1_000_000,
        description="Longest transcript that is sent at once, in tokens; what is around it and the answer come on top.",
    )
    max_input_chars: int | None = Field(
        default=None,
        ge=1_000,
        le=4_000_000,
        description="Goes before max_input_tokens, in characters, four to a token. For older files.",
        json_schema_extra={"deprecated": True},
    )
    long_input: Literal["map-reduce", "truncate", "refuse"] = Field(
        default="map-reduce",
        description=(
            "What is done with a longer transcript: it is read in parts, whose results are put together; only its "
            "beginning is read; or the member is told that it is too long."
        ),
    )
    timeout_s: float = Field(default=60, gt=0, le=600, description="Time limit for one model, in seconds.")

    @property
    def input_tokens(self) -> int:
        """The longest transcript that is sent at once, in tokens (see `bot.core.chunks.tokens_of`)."""
        if self.max_input_chars is None:
            return self.max_input_tokens
        return max(self.max_input_chars // 4, LEAST_TOKENS)


class TemplateBlock(_Block):
    """What the last link of the chain makes without a model: the most telling sentences."""

    heading: str = Field(default="Key points", min_length=1, max_length=100, description="Stands above the sentences.")
    sentences: int = Field(default=5, ge=1, le=20, description="How many sentences are taken, at most.")


class OutputBlock(_Block):
    """What comes out."""

    format: Literal["markdown"] = Field(default="markdown", description="How the result is written.")
    template: TemplateBlock = Field(default=TemplateBlock(), description="The result where no model answers.")


class LimitsBlock(_Block):
    """What a request may cost."""

    cost: int = Field(default=1, ge=1, le=100, description="Tokens of the member's bucket that a request takes.")


class Mode(_Block):
    """One mode file."""

    schema_: str | None = Field(default=None, alias="$schema", description="For editors; not read.")
    schema_version: Literal[1] = Field(description="Version of this format.")
    id: ModeId = Field(description="Unique; letters, digits and hyphens.")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="Semantic version of this mode.")
    title: str = Field(min_length=1, max_length=80, description="Shown above results and in menus.")
    description: str = Field(min_length=1, max_length=100, description="Shown beside the command.")
    discord: DiscordBlock
    prompt: PromptBlock
    model: ModelBlock = ModelBlock()
    output: OutputBlock = OutputBlock()
    limits: LimitsBlock = LimitsBlock()

    @property
    def content_hash(self) -> str:
        """Hexadecimal SHA-256 of the definition, whatever its file looks like."""
        return hashlib.sha256(self.model_dump_json(exclude={"schema_"}).encode()).hexdigest()

    @property
    def ref(self) -> ModeRef:
        """What is kept of it with a result."""
        return ModeRef(id=self.id, title=self.title, content_hash=self.content_hash)


def mode_schema() -> dict[str, object]:
    """The JSON Schema of a mode file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Mode.model_json_schema(by_alias=True)}


if __name__ == "__main__":
    print(json.dumps(mode_schema(), indent=2))  # noqa: T201 - what `make schema` writes
