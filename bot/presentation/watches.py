"""Jobs whose members watch them from this process: how far each is, and when its answer may take the place of that."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bot.core.models import Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping

    from bot.core.jobs import ProgressBus
    from bot.core.records import RequestRecord
    from bot.core.scheduling import Place

_PATIENCE_S: Final = 30.0
"""How long an answer waits for the last edit of its progress, in seconds: longer than any edit takes."""


class Watch:
    """One job that is watched. Its answer comes once nothing else is written in its place."""

    def __init__(self, observer: Callable[[Progress], None]) -> None:
        self._observer = observer
        self._waiting = True
        self.record: RequestRecord | None = None
        """The job as it was taken."""
        self.gone = False
        """Whether there is no answer any more, as its member had everything forgotten."""
        self._over = asyncio.Event()
        self._left = asyncio.Event()

    def observe(self, progress: Progress) -> None:
        """How far the job is. Its audio is fetched ahead: past that, it has begun."""
        if progress.stage is not Stage.FETCH:
            self._waiting = False
        self._observer(progress)

    def stands(self, place: Place) -> None:
        """It waits for its turn."""
        if self._waiting:
            self._observer(Progress(stage=Stage.FETCH, waiting=True, ahead=place.before, wait_s=place.wait_s))

    @property
    def is_waiting(self) -> bool:
        """Whether it has not begun, as far as is known."""
        return self._waiting

    @property
    def is_over(self) -> bool:
        """Whether there is an answer."""
        return self._over.is_set()

    async def over(self, meanwhile: Coroutine[Any, Any, None] | None = None) -> None:
        """Wait until there is an answer, which ends what is done ``meanwhile``."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(meanwhile) if meanwhile else None
            await self._over.wait()
            if task is not None:
                task.cancel()

    def leave(self) -> None:
        """No more is written in the answer's place."""
        self._left.set()

    async def make_way(self) -> None:
        """There is an answer: wait until it can be put in place."""
        self._over.set()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._left.wait()
        except TimeoutError:
            pass  # an edit hangs; the answer is worth more


class Watches:
    """All of them.

    Args:
        bus: carries the progress of jobs.
    """

    def __init__(self, bus: ProgressBus) -> None:
        self._bus = bus
        self._by_id: dict[str, Watch] = {}

    @contextmanager
    def on(self, request_id: str, observer: Callable[[Progress], None]) -> Generator[Watch]:
        """Watch a job; leave the block once nothing is written in the place of its answer any more."""
        watch = self._by_id[request_id] = Watch(observer)
        unsubscribe = self._bus.subscribe(request_id, watch.observe)
        try:
            yield watch
        finally:
            unsubscribe()
            del self._by_id[request_id]
            watch.leave()

    def has(self, request_id: str) -> bool:
        """Whether a job is watched from here."""
        return request_id in self._by_id

    @property
    def jobs(self) -> tuple[RequestRecord, ...]:
        """Those that were taken, as they were then."""
        return tuple(watch.record for watch in self._by_id.values() if watch.record is not None)

    @property
    def unheard_of(self) -> tuple[RequestRecord, ...]:
        """The jobs that have not begun, as far as is known."""
        return tuple(record for record in self.jobs if self._by_id[record.id].is_waiting)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The ids of those that wait for their turn, as far as is known."""
        return tuple(request_id for request_id, watch in self._by_id.items() if watch.is_waiting)

    def stand(self, places: Mapping[str, Place]) -> None:
        """Tell those that wait where they are in the line."""
        for request_id, place in places.items():
            if (watch := self._by_id.get(request_id)) is not None:
                watch.stands(place)

    async def make_way(self, request_id: str, *, gone: bool = False) -> None:
        """There is an answer, or never will be: wait until nobody writes in its place."""
        if (watch := self._by_id.get(request_id)) is not None:
            watch.gone = gone
            await watch.make_way()
