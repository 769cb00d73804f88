"""Links in what a model wrote.

The words of a recording can make a model write any link under any name: no link may hide where it leads.
"""

from __future__ import annotations

import re
from typing import Final

_TARGET: Final = re.compile(r"\](?=\(\s*<?\s*[a-z][a-z0-9+.-]*:)", re.IGNORECASE)
"""A bracket that closes a link's name, before the link."""


def unmasked(markdown: str) -> str:
    """``markdown`` with every named link shown as it was written, its address included."""
    return _TARGET.sub("]\u200b", markdown)
