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
