"""The HTTP API: authentication, faults, rate limits, checks, then the route's handler.

Source: https://discord.com/developers/docs/reference
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.simulator.bodies import Body, read_body
from tests.simulator.errors import INVALID_FORM_BODY, ApiError, FormProblem, invalid_form, not_found, unauthorized
from tests.simulator.faults import Faults
from tests.simulator.ratelimits import RateLimits, Verdict, refusal
from tests.simulator.request_log import LoggedRequest, RequestLog
from tests.simulator.routes import ALL_ROUTES
from tests.simulator.routing import Answer, Call, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.audit import Audit
    from tests.simulator.contracts import Contracts
    from tests.simulator.faults import Fault
    from tests.simulator.world import World

PREFIX = "/api/v10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that the bot sent and Discord would refuse."""

    where: str
    problems: tuple[FormProblem, ...]
    body: Any = None

    def __str__(self) -> str:
        return f"{self.where}: {'; '.join(map(str, self.problems))} in {json.dumps(self.body)[:2000]}"


class RestApi:
    """Answers requests.

    Attributes:
        log: every request.
        faults: what a test orders to go wrong.
        rate_limits: the buckets.
        violations: bodies that were refused (400, code 50035).
        unknown: requests that the simulator has no route for.
    """

    def __init__(self, world: World, contracts: Contracts | None, audit: Audit, token: str) -> None:
        self.log = RequestLog()
        self.faults = Faults()
        self.rate_limits = RateLimits(world.clock)
        self.violations: list[Violation] = []
        self.unknown: list[str] = []
        self._world = world
        self._contracts = contracts
        self._audit = audit
        self._token = token

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        arrived = self._world.clock.monotonic()
        entry = LoggedRequest(at=time.monotonic(), method=request.method, path=request.path, query=dict(request.query))
        self.log.all.append(entry)
        try:
            response = await self._answer(request, entry, arrived)
            # Sent here and not by the server, so that whoever waits for the answer is woken when it is on its way.
            await response.prepare(request)
            await response.write_eof()
        finally:
            entry.answered_at = time.monotonic()
            self._world.changes.notify()
        return response

    async def _answer(self, request: web.Request, entry: LoggedRequest, arrived: float) -> web.StreamResponse:
        found = ALL_ROUTES.find(request.method, request.path.removeprefix(PREFIX))
        if found is None or not request.path.startswith(PREFIX):
            refused = self._error(entry, not_found(), {})
            self.unknown.append(str(entry))
            return refused
        route, entry.params = found
        entry.template = route.template
        try:
            body = await read_body(request) if request.can_read_body else Body()
        except ApiError as error:
            self._note_violation(entry, error)
            return self._error(entry, error, {})
        entry.body = body.json
        entry.files = {file.filename: len(file.data) for file in body.files.values()}
        return await self._serve(route, request, entry, body, arrived)

    async def _serve(
        self, route: Route, request: web.Request, entry: LoggedRequest, body: Body, arrived: float
    ) -> web.StreamResponse:
        fault = self.faults.take(route.method, route.template, entry.body)
        if fault is not None:
            interrupted = await self._suffer(fault, request, entry)
            if interrupted is not None:
                return interrupted
        verdict = self.rate_limits.check(route.method, route.template, entry.params)
        if verdict.retry_after_s is not None:
            return self._limited(entry, verdict)
        try:
            if not route.for_anyone and request.headers.get("Authorization") != f"Bot {self._token}":
                raise unauthorized()
            answer = await self._carry_out(route, entry, body, arrived)
        except ApiError as error:
            self._note_violation(entry, error)
            return self._error(entry, error, verdict.headers)
        self._audit.answer(entry.method, entry.template, answer.status, answer.body)
        if fault is not None and fault.lose_answer:
            return _cut(request)
        entry.status, entry.answer = answer.status, answer.body
        return _response(answer.status, answer.body, verdict.headers)

    async def _carry_out(self, route: Route, entry: LoggedRequest, body: Body, arrived: float) -> Answer:
        if self._contracts is not None:
            problems = self._contracts.request(route.method, route.template, body=body.json, query=entry.query)
            if problems:
                raise invalid_form(problems)
        call = Call(
            world=self._world,
            params=entry.params,
            query=entry.query,
            body=body.json,
            files=body.files,
            at=arrived,
        )
        result = route.handler(call)
        return await result if inspect.isawaitable(result) else result

    async def _suffer(self, fault: Fault, request: web.Request, entry: LoggedRequest) -> web.StreamResponse | None:
        """Let a fault happen; None where the request goes on."""
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.drop:
            return _cut(request)
        if fault.status is None:
            return None
        if fault.status == 429:
            return self._limited(entry, refusal(fault.retry_after_s, of_all=fault.of_all))
        entry.status = fault.status
        return web.json_response({"message": f"{fault.status}: Server Error", "code": 0}, status=fault.status)

    def _limited(self, entry: LoggedRequest, verdict: Verdict) -> web.StreamResponse:
        entry.status, entry.answer = 429, verdict.body()
        self._audit.answer(entry.method, entry.template, 429, entry.answer)
        return _response(429, entry.answer, verdict.headers)

    def _error(self, entry: LoggedRequest, error: ApiError, headers: Mapping[str, str]) -> web.StreamResponse:
        entry.status, entry.answer = error.status, error.body()
        if entry.template:
            self._audit.answer(entry.method, entry.template, error.status, entry.answer)
        return _response(error.status, entry.answer, headers)

    def _note_violation(self, entry: LoggedRequest, error: ApiError) -> None:
        if error.code == INVALID_FORM_BODY:
            problems = error.problems or (FormProblem(path=(), code="", message=error.message),)
            where = f"{entry.method} {entry.template}"
            self.violations.append(Violation(where=where, problems=problems, body=entry.body))


def _response(status: int, body: object, headers: Mapping[str, str]) -> web.Response:
    if body is None:
        return web.Response(status=status, headers=headers)
    # Exactly "application/json": with a charset, clients take the body for text.
    return web.Response(
        status=status, body=json.dumps(body).encode(), headers={**headers, "Content-Type": "application/json"}
    )


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
