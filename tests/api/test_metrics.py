from __future__ import annotations

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bot.api.health import serve_health
from bot.core.health import Health, Reading

READINGS = (
    *(
        Reading(
            name="limiter_decisions",
            help="Verdicts.",
            kind="counter",
            value=count,
            labels={"verdict": verdict, "made_by": made_by},
        )
        for verdict, made_by, count in (("allowed", "redis", 3), ("allowed", "process", 2), ("refused", "redis", 1))
    ),
    Reading(name="read_only", help="Whether new work is refused.", kind="gauge", value=1),
)


async def test_figures_are_read_when_they_are_asked_for() -> None:
    readings = list[Reading]()
    health = Health((), lambda: 0.0)
    async with serve_health(health, host="127.0.0.1", port=0, read=lambda: readings) as port:
        readings.extend(READINGS)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            page = await answer.text()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples == {
        ("earshot_limiter_decisions_total", "redis", "allowed"): 3.0,
        ("earshot_limiter_decisions_total", "process", "allowed"): 2.0,
        ("earshot_limiter_decisions_total", "redis", "refused"): 1.0,
        ("earshot_read_only",): 1.0,
    }
