"""The routes that the simulator has; whatever is not here is answered 404 and reported."""

from __future__ import annotations

from tests.simulator.routes import applications, channels, guilds, interactions, users
from tests.simulator.routing import Routes

ALL_ROUTES = Routes(
    [
        *applications.ROUTES.table,
        *channels.ROUTES.table,
        *guilds.ROUTES.table,
        *interactions.ROUTES.table,
        *users.ROUTES.table,
    ]
)


def check_known(method: str | None, template: str | None) -> None:
    """Refuse the name of a route that is none: what is asked about it would be empty, and a test would pass.

    Raises:
        ValueError: there is no such route.
    """
    fits = any(method in {None, route.method} and template in {None, route.template} for route in ALL_ROUTES.table)
    if not fits:
        known = sorted(f"{route.method} {route.template}" for route in ALL_ROUTES.table)
        raise ValueError(f"no route {method} {template}; there are {known}")
