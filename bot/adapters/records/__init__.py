"""The core's ports for what lasts, on top of `bot.adapters.documents.Documents`: in Redis, or in this process.

What a member had deleted stays deleted. In its place lies `forgotten.FORGOTTEN` until no request of that id can still
be running, and nothing is written over it.
"""

from __future__ import annotations

from bot.adapters.records.admission import StoredLedgers
from bot.adapters.records.circuits import StoredCircuits
from bot.adapters.records.leases import StoredLeases
from bot.adapters.records.requests import StoredDeliveries, StoredRequests
from bot.adapters.records.settings import StoredAudit, StoredSettings
from bot.adapters.records.stop_flags import StoredStopFlags
from bot.adapters.records.transcripts import StoredTranscripts

__all__ = [
    "StoredAudit",
    "StoredCircuits",
    "StoredDeliveries",
    "StoredLeases",
    "StoredLedgers",
    "StoredRequests",
    "StoredSettings",
    "StoredStopFlags",
    "StoredTranscripts",
]
