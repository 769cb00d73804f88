"""Routes of the HTTP API, by method and path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from tests.simulator.errors import ApiError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.simulator.bodies import UploadedFile
    from tests.simulator.channels import Channel
    from tests.simulator.guilds import Guild
    from tests.simulator.payloads import Json
    from tests.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read and checked. ``at`` is the clock's monotonic time of its arrival, in seconds."""

    world: World
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    files: Mapping[int, UploadedFile]
    at: float

    @property
    def json(self) -> Json:
        """The body, where it is an object."""
        return cast("Json", self.body) if isinstance(self.body, dict) else {}

    def id(self, name: str) -> int:
        """An id in the path.

        Raises:
            ApiError: it is none.
        """
        text = self.params[name]
        if not text.isdecimal():
            raise ApiError(400, 50035, f"Value {text!r} is not snowflake.")
        return int(text)

    def channel(self) -> Channel:
        """The channel in the path.

        Raises:
            ApiError: there is none of that id.
        """
        try:
            return self.world.channels[self.id("channel_id")]
        except KeyError:
            raise unknown("channel") from None

    def guild(self) -> Guild:
        """The guild in the path.

        Raises:
            ApiError: the bot is in none of that id.
        """
        try:
            return self.world.guilds[self.id("guild_id")]
        except KeyError:
            raise unknown("guild") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered. ``body`` None is no body (204)."""

    status: int = 200
    body: Any = None


NOTHING = Answer(status=204)

Handler: TypeAlias = Callable[[Call], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route; ``for_anyone`` needs no bot token (an interaction's token is in the path)."""

    method: str
    template: str
    handler: Handler
    for_anyone: bool = False


@dataclass(slots=True)
class Routes:
    """A table of routes."""

    table: list[Route] = field(default_factory=list[Route])

    def on(self, method: str, template: str, *, for_anyone: bool = False) -> Callable[[Handler], Handler]:
        """Decorate the handler of a route."""

        def register(handler: Handler) -> Handler:
            self.table.append(Route(method=method, template=template, handler=handler, for_anyone=for_anyone))
            return handler

        return register

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a path, and what its variable parts are; plain parts win over variable ones."""
        parts = path.split("/")
        matches = [(route, params) for route, params in self._matches(method, parts) if params is not None]
        return min(matches, key=lambda match: len(match[1]), default=None)

    def _matches(self, method: str, parts: list[str]) -> Iterator[tuple[Route, dict[str, str] | None]]:
        for route in self.table:
            pattern = route.template.split("/")
            if route.method == method and len(pattern) == len(parts):
                yield route, _params(pattern, parts)


def _params(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for expected, given in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            params[expected[1:-1]] = given
        elif expected != given:
            return None
    return params
