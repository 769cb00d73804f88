"""The ids of requests, which are those of their transcripts too."""

from __future__ import annotations

import re
from typing import Final

ID: Final = re.compile(r"[0-9a-f]{8,64}")
"""Ids come back from Discord in buttons: only what we made ourselves is looked up."""
