"""Progress from jobs of this process to those who show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.core.models import Progress


class InProcessProgressBus:
    """`bot.core.jobs.ProgressBus`: direct calls."""

    def __init__(self) -> None:
        self._observers: dict[str, dict[object, Callable[[Progress], None]]] = {}

    def publish(self, request_id: str, progress: Progress) -> None:
        """Tell all who observe that request, at once."""
        for observer in tuple(self._observers.get(request_id, {}).values()):
            try:
                observer(progress)
            except Exception as exc:  # noqa: BLE001 - one who cannot show it must harm neither the job nor the others
                logger.opt(exception=exc).warning("the progress of request {} could not be shown", request_id)

    def subscribe(self, request_id: str, observer: Callable[[Progress], None]) -> Callable[[], None]:
        """Call ``observer`` with the progress of a request, until the result is called; twice is harmless."""
        place = object()
        self._observers.setdefault(request_id, {})[place] = observer

        def end() -> None:
            observers = self._observers.get(request_id, {})
            observers.pop(place, None)
            if not observers:
                self._observers.pop(request_id, None)

        return end

    def is_observed(self, request_id: str) -> bool:
        """Whether anybody observes that request."""
        return request_id in self._observers
