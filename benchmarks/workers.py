"""What a second worker is worth: jobs a second of two over those of one, where this machine's cores are no limit.

The real gateway and workers as processes of their own, with Redis, against the simulator. Their transcriber waits for
two seconds instead of listening, one recording at a time in each worker. All jobs come at once; what counts is the pace
at which members see answers. We are held against 1.8 times one worker.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from rich.table import Table

from benchmarks.results import Result
from tests.chaos.house import a_house
from tests.e2e.town import a_town

JOBS = 40
LISTENS_S = 2.0
GOAL = 1.8
PATIENCE_S = 240.0


def run() -> Result:
    """Measure one worker, then two."""
    one, two = (asyncio.run(jobs_a_second(workers)) for workers in (1, 2))
    table = Table(
        "workers", "jobs a second", "of what its transcribers could do", title=f"{LISTENS_S:.0f} s a recording"
    )
    for workers, pace in ((1, one), (2, two)):
        table.add_row(str(workers), f"{pace:.3f}", f"{pace * LISTENS_S / workers:.0%}")
    return Result(
        name="workers",
        ours=two,
        peers={"one worker": one},
        reference=GOAL * one,
        unit=f"jobs a second of two workers, against {GOAL} times one",
        more_is_better=True,
        tables=(table,),
    )


async def jobs_a_second(workers: int) -> float:
    """The pace of so many workers."""
    with tempfile.TemporaryDirectory() as scratch:
        async with (
            a_town(Path(scratch)) as town,
            a_house(town, listens_s=LISTENS_S, workers=workers, OVERLOAD_WAIT_MINUTES="1440") as house,
        ):
            await asyncio.gather(*(house.ask(town.ada, town.channel, number) for number in range(JOBS)))
            seen = [(await house.result(number, within=PATIENCE_S)).now.at for number in range(JOBS)]
    first, *_, last = sorted(seen)
    return (JOBS - 1) / (last - first)
