from __future__ import annotations

from pathlib import Path

import pytest

from bot.adapters.mode_files import read_mode
from bot.core.errors import UnknownMode
from bot.core.routing import route

SUMMARIZE = read_mode(Path(__file__).parents[2] / "modes" / "summarize.json")
OTHER = SUMMARIZE.model_copy(update={"id": "minutes"})


def test_what_was_asked_for_is_chosen() -> None:
    routing = route("minutes", {"summarize": SUMMARIZE, "minutes": OTHER})
    assert (routing.chosen, routing.scores, routing.reason) == ("minutes", {"minutes": 1.0}, "asked for")


def test_auto_takes_the_default_mode_else_the_first() -> None:
    assert route("auto", {"minutes": OTHER, "summarize": SUMMARIZE}).chosen == "summarize"
    assert route("auto", {"minutes": OTHER}).chosen == "minutes"


@pytest.mark.parametrize("wanted", ["nothing", "", "../etc", "x" * 500])
def test_an_unknown_mode_is_refused_and_the_known_ones_are_named(wanted: str) -> None:
    with pytest.raises(UnknownMode) as caught:
        route(wanted, {"summarize": SUMMARIZE})
    assert caught.value.values["known"] == "summarize"
    assert len(str(caught.value.values["mode"])) <= 50


def test_auto_without_modes_is_refused() -> None:
    with pytest.raises(UnknownMode):
        route("auto", {})
