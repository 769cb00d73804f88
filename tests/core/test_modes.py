from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from bot.core.chunks import LEAST_TOKENS
from bot.core.modes import ModelBlock, mode_schema

ROOT = Path(__file__).parents[2]


def test_the_schema_file_is_the_models() -> None:
    assert json.loads((ROOT / "schemas/mode.schema.json").read_text()) == mode_schema(), "run: make schema"


@pytest.mark.parametrize("file", sorted((ROOT / "modes").glob("*.json")), ids=lambda file: file.name)
def test_every_shipped_mode_fits_the_schema(file: Path) -> None:
    jsonschema.validate(json.loads(file.read_text()), mode_schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({}, 6_000),
        ({"max_input_tokens": 30_000}, 30_000),
        ({"max_input_chars": 200_000}, 50_000),
        ({"max_input_chars": 1_000}, LEAST_TOKENS),
    ],
)
def test_the_limit_of_input_is_in_tokens_and_older_files_keep_theirs(block: dict[str, int], tokens: int) -> None:
    assert ModelBlock.model_validate(block).input_tokens == tokens
