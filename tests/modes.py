"""Modes for tests."""

from __future__ import annotations

from pathlib import Path

from bot.adapters.mode_files import read_mode

SUMMARIZE = read_mode(Path(__file__).parents[1] / "modes" / "summarize.json")
