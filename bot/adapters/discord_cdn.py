"""Fetches what members posted from Discord's CDN into the spool."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stamina
from aiohttp import ClientError, ClientTimeout, hdrs

from bot.adapters.intake import check_size
from bot.adapters.links import LinkPolicy
from bot.core.errors import AudioEmpty, FetchFailed, LinkExpired, LinkRefused
from bot.core.models import AudioLink, FetchedAudio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

    from bot.adapters.spool import Draft, FileSpool
    from bot.core.models import AudioFile, SpooledAudio

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({403, 404, 410})
_TRY_AGAIN = frozenset({408, 425, 429})
_SERVER_ERRORS = range(500, 600)
_CHUNK_BYTES = 1 << 18
_LONGEST_WAIT_S = 10.0
_SECONDS = re.compile(r"\d{1,4}(\.\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How much may come, and how long it may take.

    Args:
        max_bytes: of the file.
        connect_s: until a connection stands.
        idle_s: without a byte.
        total_s: for a try, plus the time that the file takes at ``least_bytes_per_s``.
        least_bytes_per_s: a slower server is given up.
        redirects: how many are followed.
        tries: how often a download is begun.
        wait_s: before the second try; it doubles, and as much again is added at random.
    """

    max_bytes: int
    connect_s: float = 10.0
    idle_s: float = 20.0
    total_s: float = 30.0
    least_bytes_per_s: int = 1 << 17
    redirects: int = 3
    tries: int = 3
    wait_s: float = 0.5

    def total_for(self, size: int | None) -> float:
        """Seconds that a try may take for a file of ``size`` bytes, or of the largest size where that is unknown."""
        expected = self.max_bytes if size is None else min(size, self.max_bytes)
        return self.total_s + expected / self.least_bytes_per_s


class _TryAgain(Exception):
    """The download did not work this time. ``after_s``: when the server wants to be asked again."""

    def __init__(self, detail: str, *, after_s: float | None = None) -> None:
        super().__init__(detail)
        self.after_s = after_s


class DiscordCdnFetcher:
    """Fetches links; a path of this machine is refused, whoever names it.

    Args:
        session: without cookies or headers that are secret: they would be sent along.
        spool: where the files go.
        limits: how much may come, and how long it may take.
        proxy: the URL of a proxy for all requests.
        policy: which links are followed.
    """

    def __init__(
        self,
        session: ClientSession,
        spool: FileSpool,
        *,
        limits: FetchLimits,
        proxy: str | None = None,
        policy: LinkPolicy | None = None,
    ) -> None:
        self._session = session
        self._spool = spool
        self._limits = limits
        self._proxy = proxy
        self._policy = policy or LinkPolicy()
        self._timeout = ClientTimeout(total=None, connect=limits.connect_s, sock_read=limits.idle_s)

    async def fetch(
        self, source: AudioLink | AudioFile | SpooledAudio, *, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        """Stream ``source`` into the spool while its hash is computed. Nothing is left there if it fails.

        Raises:
            LinkRefused, LinkExpired, AudioTooLarge, AudioEmpty: the member can cure it.
            FetchFailed: the network did not play along.
            SpoolFull, SpoolFailed: no room on the disk, or it does not work.
        """
        if not isinstance(source, AudioLink):
            raise LinkRefused("a path of this machine")
        url = self._policy.checked(source.url)
        check_size(source.size, max_bytes=self._limits.max_bytes, found="declared by Discord")
        tries = stamina.retry_context(
            on=_wait_or_never,
            attempts=self._limits.tries,
            timeout=None,
            wait_initial=self._limits.wait_s,
            wait_jitter=self._limits.wait_s,
        )
        try:
            async for attempt in tries:
                with attempt:
                    return await self._try(url, source, on_fraction)
        except _TryAgain as exc:
            raise FetchFailed(f"{self._limits.tries} tries, the last: {exc}") from exc
        raise AssertionError("retrying ends with a result or an error")

    async def _try(self, url: URL, source: AudioLink, on_fraction: Callable[[float], None]) -> FetchedAudio:
        try:
            async with asyncio.timeout(self._limits.total_for(source.size)), self._opened(url) as response:
                return await self._kept(response, source, on_fraction)
        except (ClientError, OSError) as exc:  # the network's: the spool tells its own
            raise _TryAgain(_described(exc)) from None

    @asynccontextmanager
    async def _opened(self, url: URL) -> AsyncGenerator[ClientResponse]:
        """The answer to a request, redirects followed by hand, each of them checked."""
        for _ in range(self._limits.redirects + 1):
            async with self._session.get(
                url,
                allow_redirects=False,
                auto_decompress=False,
                headers={hdrs.ACCEPT_ENCODING: "identity"},
                proxy=self._proxy,
                timeout=self._timeout,
            ) as response:
                if response.status not in _REDIRECTS:
                    _check_answer(response)
                    yield response
                    return
                url = self._policy.redirected(url, response.headers.get(hdrs.LOCATION, ""))
        raise FetchFailed(f"more than {self._limits.redirects} redirects")

    async def _kept(
        self, response: ClientResponse, source: AudioLink, on_fraction: Callable[[float], None]
    ) -> FetchedAudio:
        announced = response.content_length
        check_size(announced, max_bytes=self._limits.max_bytes, found="announced by the server")
        expected = announced or source.size or 0
        with self._spool.draft(expected_bytes=expected) as draft:
            await self._receive(response, draft, expected, on_fraction)
            if announced is None and source.size is not None and draft.size < source.size:
                raise _TryAgain(f"{draft.size} of {source.size} bytes came")
            if draft.size == 0:
                raise AudioEmpty("no bytes came")
            path = draft.keep(draft.sha256)
        on_fraction(1.0)
        return FetchedAudio(
            path=path, sha256=draft.sha256, size=draft.size, filename=source.filename, declared_s=source.declared_s
        )

    async def _receive(
        self, response: ClientResponse, draft: Draft, expected: int, on_fraction: Callable[[float], None]
    ) -> None:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            check_size(draft.size + len(chunk), max_bytes=self._limits.max_bytes, found="received so far")
            await asyncio.to_thread(draft.write, chunk)
            if expected:
                on_fraction(min(1.0, draft.size / expected))


def _check_answer(response: ClientResponse) -> None:
    status = response.status
    if status in _EXPIRED:
        raise LinkExpired(f"status {status}")
    if status in _TRY_AGAIN or status in _SERVER_ERRORS:
        raise _TryAgain(f"status {status}", after_s=_retry_after_s(response))
    if status != _OK:
        raise FetchFailed(f"status {status}")
    encoding = response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if encoding != "identity":  # not asked for; unpacking it would lift the limit on bytes
        raise FetchFailed("a content encoding that nobody asked for")


def _retry_after_s(response: ClientResponse) -> float | None:
    """What the server asks for, if it says so in seconds and is not too long to wait."""
    value = response.headers.get(hdrs.RETRY_AFTER, "")
    return min(float(value), _LONGEST_WAIT_S) if _SECONDS.fullmatch(value) else None


def _wait_or_never(exc: Exception) -> bool | float:
    """Whether to try again: True for a growing wait, a number for a wait of so many seconds."""
    if not isinstance(exc, _TryAgain):
        return False
    return True if exc.after_s is None else exc.after_s


def _described(exc: Exception) -> str:
    """Without the text, which may hold the link and its signature."""
    return type(exc).__name__
