from __future__ import annotations

import pytest

from bot.core.load import ASSUMED_LENGTH_S, ASSUMED_SPEED, Load, ReadOnly
from tests.fakes import FakeClock


class FixedLoad:
    """An estimate that a test sets."""

    def __init__(self) -> None:
        self.wait_s = 0.0

    def expected_wait_s(self) -> float:
        return self.wait_s


def test_nobody_waits_while_a_place_is_free() -> None:
    load = Load(places=2, clock=FakeClock())
    assert load.expected_wait_s() == 0
    with load.work(600):
        assert load.expected_wait_s() == 0
        with load.work(600):
            assert load.expected_wait_s() == pytest.approx(1_200 / (2 * ASSUMED_SPEED))
        assert load.expected_wait_s() == 0


def test_what_is_done_of_a_piece_does_not_count() -> None:
    load = Load(places=1, clock=FakeClock())
    with load.work(None) as work:
        assert load.expected_wait_s() == pytest.approx(ASSUMED_LENGTH_S / ASSUMED_SPEED)
        work.known(400)
        assert load.expected_wait_s() == pytest.approx(400 / ASSUMED_SPEED)
        work.begin()
        work.progress(0.75)
        assert load.expected_wait_s() == pytest.approx(100 / ASSUMED_SPEED)
        work.progress(7.0)
        assert load.expected_wait_s() == 0


def test_the_speed_follows_what_was_measured() -> None:
    clock = FakeClock()
    load = Load(places=1, clock=clock)
    for _ in range(30):
        with load.work(100) as work:
            work.begin()
            clock.now += 50
            work.progress(1.0)
    assert load.speed == pytest.approx(2.0, rel=0.01)


def test_what_never_began_and_what_is_too_short_say_nothing_of_the_speed() -> None:
    clock = FakeClock()
    load = Load(places=1, clock=clock)
    with load.work(100):
        clock.now += 1_000
    with load.work(1.0) as work:
        work.begin()
        clock.now += 1_000
        work.progress(1.0)
    assert load.speed == ASSUMED_SPEED


def test_a_failure_ends_the_wait_for_others() -> None:
    load = Load(places=1, clock=FakeClock())

    def fail() -> None:
        with load.work(600):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (load.waiting, load.expected_wait_s()) == (0, 0)


def test_read_only_begins_at_the_threshold_and_ends_at_half_of_it() -> None:
    load = FixedLoad()
    read_only = ReadOnly(load, enter_s=600)
    for wait_s, expected in ((599, None), (600, 600), (301, 301), (599, 599), (299, None), (599, None), (700, 700)):
        load.wait_s = wait_s
        assert read_only.look() == expected
        assert read_only.look() == expected, "to look changes nothing"
