"""The simulator as a whole: all of Discord's hosts on loopback, behind one proxy."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web

from tests.simulator import cdn, contracts
from tests.simulator.audit import Audit
from tests.simulator.certificates import certificates
from tests.simulator.clock import Clock
from tests.simulator.gateway import Gateway
from tests.simulator.permissions import EVERYBODY, Permission
from tests.simulator.proxy import ConnectProxy
from tests.simulator.rest import RestApi, Violation
from tests.simulator.world import World

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.simulator.errors import FormProblem
    from tests.simulator.guilds import Guild
    from tests.simulator.intents import Intent

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.simulated.not-a-real-token-of-anybody"
"""The bot's token."""

_MAX_BODY = 256 * 1024 * 1024


class DiscordSimulator:
    """Discord on loopback; use it with ``async with``.

    Attributes:
        token: the only token that is accepted.
        clock: the simulator's time, which can be put forward.
        world: the state: guilds, commands, interactions, `Limits`.
        gateway: sessions and what may go wrong with them.
        rest: the HTTP API: its log, faults and rate limits.
        proxy: the way in.
    """

    def __init__(self, *, token: str = TOKEN, privileged: Intent | None = None) -> None:
        self.token = token
        self.clock = Clock()
        schemas = contracts.load()
        self._audit = Audit(schemas)
        self.gateway = Gateway(self.clock, schemas, self._audit, token)
        self.gateway.privileged = privileged or self.gateway.privileged
        self.world = World(self.gateway, self.clock)
        self.gateway.attach(self.world)
        self.gateway.on_violation = self._violated
        self.rest = RestApi(self.world, schemas, self._audit, token)
        self.proxy = ConnectProxy()
        self._hosts: list[str] = []
        self._runner: web.AppRunner | None = None

    # --- members' side ------------------------------------------------------------------------------------------

    @property
    def cdn(self) -> cdn.Cdn:
        """The CDN: upload files here before they are posted."""
        return self.world.cdn

    def add_guild(
        self,
        name: str = "Testers",
        *,
        bot_permissions: int = EVERYBODY | Permission.SET_VOICE_CHANNEL_STATUS,
        locale: str = "en-US",
        guild_id: int | None = None,
    ) -> Guild:
        """Make a guild with the bot in it; ``guild_id`` chooses the shard."""
        return self.world.add_guild(name, bot_permissions=bot_permissions, locale=locale, guild_id=guild_id)

    def add_guild_without_bot(self, name: str = "Elsewhere", *, locale: str = "en-US") -> Guild:
        """Make a guild that the bot is not in."""
        return self.world.add_guild_without_bot(name, locale=locale)

    # --- the bot's side -----------------------------------------------------------------------------------------

    @property
    def proxy_url(self) -> str:
        """For ``discord.Client(proxy=…)`` and DISCORD_PROXY."""
        return self.proxy.url

    @property
    def ca_file(self) -> Path:
        """For SSL_CERT_FILE of another process."""
        return certificates().ca_file

    def connector(self) -> aiohttp.TCPConnector:
        """For ``discord.Client(connector=…)`` in this process, where SSL_CERT_FILE would come too late."""
        return aiohttp.TCPConnector(limit=0, ssl=certificates().client())

    # --- what is reported ---------------------------------------------------------------------------------------

    @property
    def violations(self) -> list[Violation]:
        """What the bot sent and Discord would refuse as malformed."""
        return self.rest.violations

    @property
    def unknown(self) -> list[str]:
        """What the bot asked for and the simulator does not have."""
        refused = [f"connection to {host}" for host in self.proxy.refused]
        return [*self.rest.unknown, *self.gateway.unknown, *self._hosts, *refused]

    def take_violations(self) -> list[Violation]:
        """Give the violations and forget them: for a test that expects some."""
        taken = list(self.rest.violations)
        self.rest.violations.clear()
        return taken

    def take_unknown(self) -> list[str]:
        """Give the unknown requests and forget them: for a test that expects some."""
        taken = self.unknown
        for known in (self.rest.unknown, self.gateway.unknown, self._hosts, self.proxy.refused):
            known.clear()
        return taken

    def check(self) -> None:
        """Fail if the bot broke Discord's rules, or the simulator did.

        Raises:
            AssertionError: it lists all that happened.
        """
        found = [f"the bot sent what Discord refuses: {violation}" for violation in self.violations]
        found += [f"the bot asked for something the simulator does not know: {what}" for what in self.unknown]
        found += [f"the simulator did what Discord never would: {what}" for what in self._audit.findings()]
        if found:
            raise AssertionError("\n".join(found))

    # --- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=certificates().server)
        await site.start()
        port: int = self._runner.addresses[0][1]
        await self.proxy.start(port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.gateway.disconnect(1001)
        await self.proxy.stop()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._serve(request)
        except ConnectionError:
            raise  # whoever asked has hung up
        except Exception:  # noqa: BLE001 - a mistake of the simulator must fail the test, not look like Discord's
            self._audit.report(f"{request.method} {request.path} failed:\n{traceback.format_exc()}")
            return web.Response(status=500)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        if host == "discord.com":
            return await self.rest.handle(request)
        if host.endswith("discord.gg"):
            return await self.gateway.handle(request)
        if host in {cdn.HOST, cdn.MEDIA_HOST}:
            return await self.cdn.handle(request)
        self._hosts.append(f"{request.method} https://{host}{request.path}")
        return web.Response(status=404)

    def _violated(self, where: str, problems: list[FormProblem]) -> None:
        self.rest.violations.append(Violation(where=where, problems=tuple(problems)))
