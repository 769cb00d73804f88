"""The CDN: signed links that expire, and downloads that go wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.simulator.cdn import GONE
from tests.simulator.raw import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.server import DiscordSimulator


@pytest.fixture
async def raw(simulator: DiscordSimulator) -> AsyncIterator[RawClient]:
    async with RawClient(simulator) as raw:
        yield raw


@pytest.mark.parametrize("filename", ["clip.ogg", "a b (1) ü+%.ogg", "名前.mp3"])
async def test_links_work_until_they_expire(simulator: DiscordSimulator, raw: RawClient, filename: str) -> None:
    attachment = simulator.cdn.upload(filename, b"OggS", content_type="audio/ogg")
    url = attachment.url
    answer = await raw.download(url)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"OggS", "audio/ogg")
    assert (await raw.download(attachment.payload()["proxy_url"])).status == 200
    assert attachment.downloads == 2
    simulator.clock.advance(simulator.cdn.link_life_s + 1)
    gone = await raw.download(url)
    assert (gone.status, gone.body.decode()) == (404, GONE)
    assert (await raw.download(attachment.url)).status == 200, "a new link is good again"


@pytest.mark.parametrize("change", ["hm=0", "ex=ffffffff", "ex=zz", "ex=", "is=1"])
async def test_forged_links_are_refused(simulator: DiscordSimulator, raw: RawClient, change: str) -> None:
    url = simulator.cdn.upload("clip.ogg", b"OggS").url
    name = change.partition("=")[0]
    parts = [change if part.startswith(f"{name}=") else part for part in url.partition("?")[2].split("&")]
    assert (await raw.download(f"{url.partition('?')[0]}?{'&'.join(parts)}")).status == 404
    assert (await raw.download(url.partition("?")[0])).status == 404
    assert (await raw.download("https://cdn.discordapp.com/nothing")).status == 404


async def test_download_that_breaks_off(simulator: DiscordSimulator, raw: RawClient) -> None:
    attachment = simulator.cdn.upload("clip.ogg", b"x" * 300_000)
    attachment.delivery.cut_after = 100_000
    with pytest.raises(aiohttp.ClientPayloadError):
        await raw.download(attachment.url)


async def test_length_that_is_not_true(simulator: DiscordSimulator, raw: RawClient) -> None:
    attachment = simulator.cdn.upload("clip.ogg", b"x" * 1000)
    attachment.delivery.announced = 5000
    with pytest.raises(aiohttp.ClientPayloadError):
        await raw.download(attachment.url)
    attachment.delivery.announced = 10
    assert len((await raw.download(attachment.url)).body) == 10
    attachment.delivery.announced = None
    attachment.delivery.unannounced = True
    answer = await raw.download(attachment.url)
    assert len(answer.body) == 1000
    assert "Content-Length" not in answer.headers
    attachment.declared_size = 17
    assert attachment.payload()["size"] == 17


async def test_redirect_status_and_slowness(simulator: DiscordSimulator, raw: RawClient) -> None:
    attachment = simulator.cdn.upload("clip.ogg", b"x" * 2000)
    attachment.delivery.redirect_to = "http://169.254.169.254/"
    answer = await raw.download(attachment.url)
    assert (answer.status, answer.headers["Location"]) == (302, "http://169.254.169.254/")
    attachment.delivery.redirect_to = None
    attachment.delivery.status = 503
    assert (await raw.download(attachment.url)).status == 503
    attachment.delivery.status = None
    attachment.delivery.bytes_per_s = 10_000
    began = time.monotonic()
    assert len((await raw.download(attachment.url)).body) == 2000
    assert time.monotonic() - began >= 0.15
