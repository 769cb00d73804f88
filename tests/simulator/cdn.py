"""The CDN: files that members and the bot posted, under signed links that expire.

Source: https://discord.com/developers/docs/reference#signed-attachment-cdn-urls
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from tests.simulator.payloads import without_none

if TYPE_CHECKING:
    from tests.simulator.clock import Clock
    from tests.simulator.payloads import Json
    from tests.simulator.snowflakes import Snowflakes

GONE = "This content is no longer available."
HOST = "cdn.discordapp.com"
MEDIA_HOST = "media.discordapp.net"

_CHUNK = 64 * 1024


@dataclass(kw_only=True)
class Delivery:
    """How a file is sent, for tests of what can go wrong on the way.

    Attributes:
        bytes_per_s: a slow line.
        cut_after: the connection breaks after that many bytes, less than the announced length.
        announced: a ``Content-Length`` that is not the file's.
        unannounced: no ``Content-Length`` at all (chunked).
        redirect_to: answer 302 with this location.
        status: answer with this status and no file.
    """

    bytes_per_s: float | None = None
    cut_after: int | None = None
    announced: int | None = None
    unannounced: bool = False
    redirect_to: str | None = None
    status: int | None = None


@dataclass(eq=False, kw_only=True, repr=False)
class Attachment:
    """A file on the CDN. ``declared_size`` is what its JSON says where that is not the truth."""

    cdn: Cdn
    id: int
    filename: str
    data: bytes
    content_type: str | None
    duration_secs: float | None = None
    waveform: str | None = None
    description: str | None = None
    ephemeral: bool = False
    declared_size: int | None = None
    folder: int = 0
    delivery: Delivery = field(default_factory=Delivery)
    downloads: int = 0

    def __repr__(self) -> str:
        return f"<Attachment {self.filename}, {len(self.data)} bytes>"

    @property
    def url(self) -> str:
        """A link that is signed now and lives for `Cdn.link_life_s`."""
        return f"https://{HOST}{quote(self.path)}?{self.cdn.signature(self.path)}"

    @property
    def path(self) -> str:
        """The path on the CDN, neither quoted nor signed."""
        root = "ephemeral-attachments" if self.ephemeral else "attachments"
        return f"/{root}/{self.folder}/{self.id}/{self.filename}"

    def payload(self) -> Json:
        """As messages and interactions show it."""
        return without_none(
            {
                "id": str(self.id),
                "filename": self.filename,
                "size": len(self.data) if self.declared_size is None else self.declared_size,
                "url": self.url,
                "proxy_url": f"https://{MEDIA_HOST}{quote(self.path)}?{self.cdn.signature(self.path)}",
                "content_type": self.content_type,
                "duration_secs": self.duration_secs,
                "waveform": self.waveform,
                "description": self.description,
                "ephemeral": True if self.ephemeral else None,
            }
        )


class Cdn:
    """Keeps files and serves them.

    Attributes:
        link_life_s: how long a link lives, in seconds (Discord: a day).
    """

    def __init__(self, clock: Clock, ids: Snowflakes) -> None:
        self.link_life_s = 24 * 3600.0
        self.attachments: dict[int, Attachment] = {}
        self._clock = clock
        self._ids = ids
        self._secret = secrets.token_bytes(32)

    def upload(
        self,
        filename: str,
        data: bytes,
        *,
        content_type: str | None = None,
        duration_secs: float | None = None,
        waveform: str | None = None,
        ephemeral: bool = False,
    ) -> Attachment:
        """Put a file on the CDN; ``duration_secs`` and ``waveform`` make it a voice message's."""
        attachment = Attachment(
            cdn=self,
            id=self._ids.next(),
            filename=filename,
            data=data,
            content_type=content_type,
            duration_secs=duration_secs,
            waveform=waveform,
            ephemeral=ephemeral,
            folder=self._ids.next(),
        )
        self.attachments[attachment.id] = attachment
        return attachment

    def signature(self, path: str) -> str:
        """The query that makes ``path`` a valid link from now on."""
        issued = int(self._clock.now().timestamp())
        until = int(issued + self.link_life_s)
        return f"ex={until:x}&is={issued:x}&hm={self._hash(path, f'{until:x}', f'{issued:x}')}&"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one download."""
        attachment = self._wanted(request)
        if attachment is None:
            return web.Response(status=404, text=GONE)
        attachment.downloads += 1
        delivery = attachment.delivery
        if delivery.redirect_to is not None:
            return web.Response(status=302, headers={"Location": delivery.redirect_to})
        if delivery.status is not None:
            return web.Response(status=delivery.status, text="")
        return await self._send(request, attachment)

    async def _send(self, request: web.Request, attachment: Attachment) -> web.StreamResponse:
        delivery = attachment.delivery
        response = web.StreamResponse(headers={"Content-Type": attachment.content_type or "application/octet-stream"})
        if not delivery.unannounced:
            response.content_length = len(attachment.data) if delivery.announced is None else delivery.announced
        await response.prepare(request)
        end = len(attachment.data) if delivery.cut_after is None else delivery.cut_after
        step = _CHUNK if delivery.bytes_per_s is None else max(1, min(_CHUNK, int(delivery.bytes_per_s / 20)))
        for start in range(0, end, step):
            await response.write(attachment.data[start : min(end, start + step)])
            if delivery.bytes_per_s is not None:
                await asyncio.sleep(step / delivery.bytes_per_s)
        broken = delivery.cut_after is not None or response.content_length not in {None, len(attachment.data)}
        if broken and request.transport is not None:
            request.transport.close()
        return response

    def _wanted(self, request: web.Request) -> Attachment | None:
        """The file that a link leads to, None where the link is not valid (any more)."""
        query = request.query
        until, issued, signature = (query.get(name, "") for name in ("ex", "is", "hm"))
        if not hmac.compare_digest(self._hash(request.path, until, issued), signature):
            return None
        if int(until, 16) <= self._clock.now().timestamp():
            return None
        parts = request.path.split("/")
        return self.attachments.get(int(parts[3]))

    def _hash(self, path: str, until: str, issued: str) -> str:
        return hmac.digest(self._secret, f"{path}?{until}&{issued}".encode(), "sha256").hex()
