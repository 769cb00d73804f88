"""The job engine: docket where there is a store, this process itself where there is none."""

from bot.adapters.jobs.docket_jobs import DocketJobs
from bot.adapters.jobs.in_process import InProcessJobs

__all__ = ["DocketJobs", "InProcessJobs"]
