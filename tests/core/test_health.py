from __future__ import annotations

from bot.core.health import Health, State


def test_ready_when_every_part_is() -> None:
    health = Health(("gateway", "model"), lambda: 0.0)
    assert not health.ready
    health.report("gateway", State.OK)
    assert not health.ready
    health.report("model", State.OK)
    assert health.ready
    health.report("gateway", State.FAILED, "gone")
    assert not health.ready
    assert health.parts["gateway"].detail == "gone"


def test_since_moves_with_the_state_alone() -> None:
    times = iter([1.0, 2.0, 3.0, 4.0])
    health = Health(("model",), lambda: next(times))
    assert health.parts["model"].since == 1.0
    health.report("model", State.OK)
    assert health.parts["model"].since == 2.0
    health.report("model", State.OK, "still")
    assert health.parts["model"].since == 2.0
    health.report("model", State.FAILED)
    assert health.parts["model"].since == 3.0
