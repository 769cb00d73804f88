"""Which mode answers a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.core.errors import UnknownMode
from bot.core.models import Routing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.core.modes import Mode

AUTO: Final = "auto"
DEFAULT_MODE: Final = "summarize"


def route(wanted: str, modes: Mapping[str, Mode], *, default: str | None = None) -> Routing:
    """Choose a mode; ``wanted`` is an id, or ``"auto"``, which takes the ``default`` of who asks where there is one.

    Raises:
        UnknownMode: there is no such mode.
    """
    if wanted != AUTO:
        chosen, reason = wanted, "asked for"
    elif default is not None and default in modes:
        chosen, reason = default, "the default mode of this server"
    elif DEFAULT_MODE in modes:
        chosen, reason = DEFAULT_MODE, "the default mode"
    else:
        chosen, reason = min(modes, default=DEFAULT_MODE), "the first mode there is"
    if chosen not in modes:
        raise UnknownMode(mode=chosen[:50], known=", ".join(sorted(modes)) or "none")
    return Routing(chosen=chosen, scores={chosen: 1.0}, reason=reason)
