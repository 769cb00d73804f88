"""``/metrics``: the figures of a process, in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from bot.core.health import Reading

PREFIX = "earshot_"


class _Readings(Collector):
    """Reads the figures when somebody asks; readings of one name become one family."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for reading in self._read():
            family = families.get(reading.name)
            if family is None:
                make = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
                family = make(PREFIX + reading.name, reading.help, labels=sorted(reading.labels))
                families[reading.name] = family
            family.add_metric([reading.labels[name] for name in sorted(reading.labels)], reading.value)
        return families.values()


def metrics_page(read: Callable[[], Iterable[Reading]]) -> bytes:
    """The page. Names get the prefix ``earshot_``, and counters the ending ``_total``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Readings(read))
    return generate_latest(registry)
