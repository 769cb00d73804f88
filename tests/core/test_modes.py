from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from bot.core.modes import mode_schema

ROOT = Path(__file__).parents[2]


def test_the_schema_file_is_the_models() -> None:
    assert json.loads((ROOT / "schemas/mode.schema.json").read_text()) == mode_schema(), "run: make schema"


@pytest.mark.parametrize("file", sorted((ROOT / "modes").glob("*.json")), ids=lambda file: file.name)
def test_every_shipped_mode_fits_the_schema(file: Path) -> None:
    jsonschema.validate(json.loads(file.read_text()), mode_schema(), cls=jsonschema.Draft202012Validator)
