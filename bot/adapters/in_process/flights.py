"""Single flight within a process: one leads, the others wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.core.caching import decode_error, encode_error
from bot.core.errors import EarshotError
from bot.core.ports import Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.ports import Flights

    OnNews = Callable[[bytes], None]
    Work = Callable[[OnNews], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Landed:
    """Work that is done: the value, or the error as others get it."""

    value: bytes = b""
    error: bytes | None = None
    cause: BaseException | None = None


class _YourTurn:
    """The leader left; whoever gets this leads."""


_YOUR_TURN: Final = _YourTurn()


@dataclass(slots=True)
class _Flight:
    waiting: dict[asyncio.Future[_Landed | _YourTurn], OnNews] = field(
        default_factory=dict[asyncio.Future[_Landed | _YourTurn], "OnNews"]
    )
    """In the order in which they came."""
    newest: bytes | None = None

    def tell(self, news: bytes) -> None:
        self.newest = news
        for on_news in tuple(self.waiting.values()):
            _give(on_news, news)


class LocalFlights:
    """One leader a key in this process.

    Args:
        beyond: flights of more than this process, in which the leader takes part for all who wait here.
    """

    def __init__(self, beyond: Flights | None = None) -> None:
        self._beyond = beyond
        self._flights: dict[str, _Flight] = {}

    async def share(self, key: str, work: Work, *, on_news: OnNews) -> Shared:
        """Do ``work``, or wait for whoever is at it; see `bot.core.ports.Flights`.

        An error that is none of `EarshotError` is a slip in the program: whoever led gets it as it is, the others get a
        plain `EarshotError`, as the same work would end in the same way.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            return await self._lead(key, flight, work, on_news)
        landed = await self._wait(key, flight, on_news)
        if isinstance(landed, _YourTurn):
            return await self._lead(key, flight, work, on_news)
        if landed.error is not None:
            raise decode_error(landed.error) from landed.cause
        return Shared(value=landed.value, led=False)

    async def _wait(self, key: str, flight: _Flight, on_news: OnNews) -> _Landed | _YourTurn:
        turn: asyncio.Future[_Landed | _YourTurn] = asyncio.get_running_loop().create_future()
        flight.waiting[turn] = on_news
        if flight.newest is not None:
            _give(on_news, flight.newest)
        try:
            return await turn
        except asyncio.CancelledError:
            flight.waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and isinstance(turn.result(), _YourTurn):
                self._hand_over(key, flight)  # it was this caller's turn when it left
            raise

    async def _lead(self, key: str, flight: _Flight, work: Work, on_news: OnNews) -> Shared:
        try:
            shared = await self._done(key, flight, work, on_news)
        except asyncio.CancelledError as exc:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                self._hand_over(key, flight)
            else:  # nobody cancelled the caller: the work ended so by itself, and would again
                self._land(key, flight, _crashed(exc))
            raise
        except EarshotError as exc:
            self._land(key, flight, _Landed(error=encode_error(exc), cause=exc))
            raise
        except BaseException as exc:
            self._land(key, flight, _crashed(exc))
            raise
        self._land(key, flight, _Landed(value=shared.value))
        return shared

    async def _done(self, key: str, flight: _Flight, work: Work, on_news: OnNews) -> Shared:
        if self._beyond is None:
            return Shared(value=await work(flight.tell), led=True)

        async def for_all(tell_beyond: OnNews) -> bytes:
            def tell(news: bytes) -> None:
                flight.tell(news)
                tell_beyond(news)

            return await work(tell)

        def heard(news: bytes) -> None:
            _give(on_news, news)
            flight.tell(news)

        return await self._beyond.share(key, for_all, on_news=heard)

    def _land(self, key: str, flight: _Flight, landed: _Landed) -> None:
        del self._flights[key]  # first: whoever comes from here on gets nothing of this
        for turn in flight.waiting:
            if not turn.done():
                turn.set_result(landed)
        flight.waiting.clear()

    def _hand_over(self, key: str, flight: _Flight) -> None:
        while flight.waiting:
            turn = next(iter(flight.waiting))
            del flight.waiting[turn]
            if not turn.done():
                turn.set_result(_YOUR_TURN)
                return
        del self._flights[key]


def _crashed(cause: BaseException) -> _Landed:
    return _Landed(error=encode_error(EarshotError(f"shared work crashed: {type(cause).__name__}")), cause=cause)


def _give(on_news: OnNews, news: bytes) -> None:
    try:
        on_news(news)
    except Exception as exc:  # noqa: BLE001 - one who cannot listen must not end the work of all
        logger.opt(exception=exc).warning("news of shared work could not be told")
