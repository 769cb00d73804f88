from __future__ import annotations

import asyncio

import pytest

from bot.core.models import Progress, Stage
from bot.core.scheduling import Place
from bot.presentation import watches as module
from bot.presentation.watches import Watches
from tests.core.workplace import ID, Store
from tests.fakes import FakeObserver, FakeProgressBus
from tests.waiting import until

OTHER = "fedcba9876543210"
FETCH, LISTEN = Progress(stage=Stage.FETCH, fraction=0.5), Progress(stage=Stage.TRANSCRIBE)
PLACE = Place(before=3, wait_s=90.0)


class Window:
    """Watches, and somebody who looks."""

    def __init__(self) -> None:
        self.bus = FakeProgressBus()
        self.watches = Watches(self.bus)
        self.observer = FakeObserver()


async def test_whoever_watches_a_job_sees_how_far_it_is_and_nothing_of_others() -> None:
    here = Window()
    with here.watches.on(ID, here.observer):
        here.bus.publish(ID, LISTEN)
        here.bus.publish(OTHER, FETCH)
        assert here.watches.has(ID)
        assert not here.watches.has(OTHER)
    here.bus.publish(ID, FETCH)
    assert here.observer.seen == [LISTEN]
    assert not here.watches.has(ID)
    assert not here.bus.is_observed(ID)


async def test_a_watch_ends_with_an_error_too() -> None:
    here = Window()
    with pytest.raises(ZeroDivisionError), here.watches.on(ID, here.observer):
        raise ZeroDivisionError
    assert (here.watches.has(ID), here.bus.is_observed(ID)) == (False, False)
    await here.watches.make_way(ID)


async def test_a_place_in_the_line_is_shown_until_the_job_has_begun() -> None:
    here = Window()
    with here.watches.on(ID, here.observer) as watch:
        assert here.watches.waiting == (ID,)
        watch.observe(FETCH)
        assert here.watches.waiting == (ID,), "its audio is fetched ahead, and then it waits"
        here.watches.stand({ID: PLACE, OTHER: PLACE})
        shown = here.observer.seen[-1]
        assert (shown.waiting, shown.ahead, shown.wait_s) == (True, 3, 90.0)
        here.bus.publish(ID, LISTEN)
        assert here.watches.waiting == ()
        here.watches.stand({ID: PLACE})
        assert here.observer.seen == [FETCH, shown, LISTEN], "what was asked before it began comes too late"


async def test_only_jobs_that_have_not_begun_may_have_been_lost() -> None:
    here, record = Window(), await Store().taken()
    with here.watches.on(ID, here.observer) as watch, here.watches.on(OTHER, here.observer):
        assert here.watches.unheard_of == (), "nothing was taken yet"
        watch.record = record
        watch.observe(FETCH)
        assert here.watches.unheard_of == (record,)
        here.bus.publish(ID, LISTEN)
        assert here.watches.unheard_of == ()


async def test_an_answer_waits_until_nothing_is_written_in_its_place() -> None:
    here = Window()
    with here.watches.on(ID, here.observer) as watch:
        answer = asyncio.create_task(here.watches.make_way(ID))
        await watch.over()
        assert (watch.is_over, watch.gone, answer.done()) == (True, False, False)
    await answer


async def test_what_is_gone_is_told_apart() -> None:
    here = Window()
    with here.watches.on(ID, here.observer) as watch:
        telling = asyncio.create_task(here.watches.make_way(ID, gone=True))
        await watch.over()
        assert watch.gone
    await telling


async def test_an_answer_is_worth_more_than_an_edit_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    here = Window()
    with here.watches.on(ID, here.observer):
        await here.watches.make_way(ID)


async def test_an_answer_that_nobody_watches_waits_for_nobody() -> None:
    await Window().watches.make_way(ID)


async def test_an_answer_ends_what_is_done_meanwhile() -> None:
    here, ended = Window(), asyncio.Event()

    async def fetch() -> None:
        try:
            await asyncio.get_running_loop().create_future()  # nobody fulfils it
        finally:
            ended.set()

    with here.watches.on(ID, here.observer) as watch:
        waiting = asyncio.create_task(watch.over(fetch()))
        await asyncio.sleep(0)
        answer = asyncio.create_task(here.watches.make_way(ID))
        await waiting
        assert ended.is_set()
    await answer


async def test_what_is_done_meanwhile_is_no_answer() -> None:
    here, done = Window(), asyncio.Event()

    async def fetch() -> None:
        done.set()

    with here.watches.on(ID, here.observer) as watch:
        waiting = asyncio.create_task(watch.over(fetch()))
        await until(done.is_set)
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
