"""Downloads over real sockets: what comes whole is kept, whatever else happens leaves nothing behind."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from bot.adapters.discord_cdn import DiscordCdnFetcher, FetchLimits
from bot.adapters.links import LinkPolicy
from bot.adapters.spool import FileSpool
from bot.core.errors import (
    AudioEmpty,
    AudioTooLarge,
    EarshotError,
    FetchFailed,
    LinkExpired,
    LinkRefused,
    SpoolFull,
)
from bot.core.models import AudioFile, AudioLink, FetchedAudio
from tests.waiting import until

DATA = bytes(range(256)) * 1000
LIMITS = FetchLimits(max_bytes=300_000, connect_s=2, idle_s=0.3, total_s=5, tries=3, wait_s=0.01)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True)
class Cdn:
    """A server whose answer a test sets, and a fetcher that is allowed to ask it."""

    server: BaseTestServer
    session: aiohttp.ClientSession
    spool: FileSpool
    answer: Handler
    requests: list[web.Request] = field(default_factory=list[web.Request])
    fractions: list[float] = field(default_factory=list[float])

    def link(self, path: str = "/a.ogg", *, size: int | None = None) -> AudioLink:
        return AudioLink(url=str(self.server.make_url(path)), filename="../a.ogg", size=size, declared_s=2.5)

    def fetcher(self, *, limits: FetchLimits = LIMITS, proxy: str | None = None) -> DiscordCdnFetcher:
        policy = LinkPolicy(origins=frozenset({str(self.server.make_url("/")).rstrip("/")}))
        return DiscordCdnFetcher(self.session, self.spool, limits=limits, policy=policy, proxy=proxy)

    async def fetch(self, *, size: int | None = None, limits: FetchLimits = LIMITS) -> FetchedAudio:
        return await self.fetcher(limits=limits).fetch(self.link(size=size), on_fraction=self.fractions.append)

    async def fails(self, error: type[EarshotError], *, tries: int, size: int | None = None) -> EarshotError:
        """The fetch fails with ``error`` after so many requests, and leaves nothing."""
        with pytest.raises(EarshotError) as caught:
            await self.fetch(size=size)
        assert type(caught.value) is error, caught.value
        assert len(self.requests) == tries
        assert list(self.spool.root.iterdir()) == []
        return caught.value


@pytest.fixture
async def cdn(tmp_path: Path) -> AsyncIterator[Cdn]:
    async def handle(request: web.Request) -> web.StreamResponse:
        cdn.requests.append(request)
        return await cdn.answer(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    spool = FileSpool(tmp_path / "spool", reserve_bytes=0)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        cdn = Cdn(server=server, session=session, spool=spool, answer=with_body(DATA))
        yield cdn


def with_body(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status, body=body, headers=headers)

    return answer


def streamed(*chunks: bytes) -> Handler:
    """Without a declared length."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    return answer


def raw(head: str, body: bytes) -> Handler:
    """Bytes as they are, and then the connection ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)
        request.transport.close()
        return web.Response()

    return answer


def first(*answers: Handler) -> Handler:
    """One answer after the other."""
    remaining = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await remaining.pop(0)(request)

    return answer


async def silent(request: web.Request) -> web.StreamResponse:
    """Says that something comes, and then nothing does."""
    response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
    await response.prepare(request)
    await response.write(DATA[:1000])
    await asyncio.Event().wait()
    return response


async def test_a_file_comes_whole_hashed_and_counted(cdn: Cdn) -> None:
    fetched = await cdn.fetch(size=len(DATA))
    assert fetched.path.read_bytes() == DATA
    assert fetched == FetchedAudio(
        path=fetched.path, sha256=sha256(DATA).hexdigest(), size=len(DATA), filename="../a.ogg", declared_s=2.5
    )
    assert fetched.path.parent == cdn.spool.root
    assert cdn.fractions == sorted(cdn.fractions)
    assert cdn.fractions[-1] == 1.0
    assert all(0 < fraction <= 1 for fraction in cdn.fractions)


async def test_a_length_that_nobody_states_is_no_obstacle(cdn: Cdn) -> None:
    cdn.answer = streamed(DATA[:100_000], DATA[100_000:])
    assert (await cdn.fetch()).path.read_bytes() == DATA
    assert cdn.fractions == [1.0]


async def test_the_link_is_requested_to_the_letter(cdn: Cdn) -> None:
    path = "/attachments/1/a%20b%2Fc.ogg?ex=65f&is=%2B&hm=0a+b&"
    link = AudioLink(url=str(cdn.server.make_url("/")).rstrip("/") + path, filename="a")
    await cdn.fetcher().fetch(link, on_fraction=cdn.fractions.append)
    assert cdn.requests[0].raw_path == path
    assert cdn.requests[0].headers["Accept-Encoding"] == "identity"


async def test_what_is_declared_too_large_is_not_asked_for(cdn: Cdn) -> None:
    error = await cdn.fails(AudioTooLarge, size=300_001, tries=0)
    assert error.values == {"limit_mb": 300_000 / (1 << 20)}


async def test_what_is_announced_too_large_is_not_read(cdn: Cdn) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(1 << 40)})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    cdn.answer = endless
    await cdn.fails(AudioTooLarge, tries=1)


async def test_what_turns_out_too_large_is_cut_off(cdn: Cdn) -> None:
    cdn.answer = streamed(DATA, DATA)
    await cdn.fails(AudioTooLarge, size=1000, tries=1)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_link_that_is_over_is_not_tried_again(cdn: Cdn, status: int) -> None:
    cdn.answer = with_body(b"This content is no longer available.", status=status)
    await cdn.fails(LinkExpired, tries=1)


@pytest.mark.parametrize("status", [400, 401, 206, 204, 304])
async def test_an_answer_that_makes_no_sense_is_not_tried_again(cdn: Cdn, status: int) -> None:
    cdn.answer = with_body(b"", status=status)
    await cdn.fails(FetchFailed, tries=1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_server_in_trouble_is_asked_three_times(cdn: Cdn, status: int) -> None:
    cdn.answer = with_body(b"", status=status)
    await cdn.fails(FetchFailed, tries=3)


async def test_trouble_that_passes_goes_unnoticed(cdn: Cdn) -> None:
    cdn.answer = first(
        with_body(b"", status=503, headers={"Retry-After": "0.01"}),
        raw(f"Content-Length: {len(DATA)}", DATA[:5000]),
        with_body(DATA),
    )
    fetched = await cdn.fetch(size=len(DATA))
    assert fetched.path.read_bytes() == DATA
    assert len(list(cdn.spool.root.iterdir())) == 1


@pytest.mark.parametrize(
    "answer",
    [
        raw(f"Content-Length: {len(DATA)}", DATA[:5000]),
        raw("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        raw("Transfer-Encoding: chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
        raw("Content-Length: 5", DATA),
        raw("Content-Length: -5", b""),
        raw("Content-Length: many", b""),
        silent,
    ],
    ids=[
        "cut off",
        "cut off between chunks",
        "broken chunk",
        "too much",
        "negative length",
        "nonsense length",
        "silent",
    ],
)
async def test_a_broken_transfer_is_a_failed_download(cdn: Cdn, answer: Handler) -> None:
    cdn.answer = answer
    await cdn.fails(FetchFailed, tries=3)


async def test_less_than_discord_declared_is_a_broken_transfer(cdn: Cdn) -> None:
    cdn.answer = raw("Connection: close", DATA[:5000])
    await cdn.fails(FetchFailed, size=len(DATA), tries=3)


async def test_a_drip_is_given_up(cdn: Cdn) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)  # this is the server's misdeed

    cdn.answer = drip
    limits = FetchLimits(max_bytes=300_000, total_s=0.2, least_bytes_per_s=10_000_000, tries=2, wait_s=0.01)
    with pytest.raises(FetchFailed, match="TimeoutError"):
        await cdn.fetch(size=len(DATA), limits=limits)
    assert len(cdn.requests) == 2
    assert list(cdn.spool.root.iterdir()) == []


@pytest.mark.parametrize(
    "answer", [with_body(b""), streamed(), raw("Content-Length: 0", b"")], ids=["body", "chunked", "length"]
)
async def test_no_bytes_are_no_audio(cdn: Cdn, answer: Handler) -> None:
    cdn.answer = answer
    await cdn.fails(AudioEmpty, tries=1)


async def test_packed_content_is_not_unpacked(cdn: Cdn) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    cdn.answer = with_body(bomb, headers={"Content-Encoding": "gzip"})
    await cdn.fails(FetchFailed, tries=1)


async def test_redirects_within_the_list_are_followed(cdn: Cdn) -> None:
    cdn.answer = first(
        with_body(b"", status=302, headers={"Location": "/b"}),
        with_body(b"", status=307, headers={"Location": str(cdn.server.make_url("/c"))}),
        with_body(b"", status=301, headers={"Location": "d"}),
        with_body(DATA),
    )
    assert (await cdn.fetch()).size == len(DATA)
    assert [request.path for request in cdn.requests] == ["/a.ogg", "/b", "/c", "/d"]


async def test_redirects_do_not_go_on_for_ever(cdn: Cdn) -> None:
    cdn.answer = with_body(b"", status=302, headers={"Location": "/a.ogg"})
    await cdn.fails(FetchFailed, tries=4)


@pytest.mark.parametrize("location", ["https://evil.example/", "//127.0.0.1:1/", "file:///etc/passwd", "ftp://x/"])
async def test_a_redirect_elsewhere_is_refused(cdn: Cdn, location: str) -> None:
    cdn.answer = with_body(b"", status=302, headers={"Location": location})
    await cdn.fails(LinkRefused, tries=1)


async def test_another_host_or_a_local_path_is_not_even_tried(cdn: Cdn) -> None:
    for source in (AudioLink(url="http://127.0.0.1:1/x", filename="x"), AudioFile(path=Path("/etc/passwd"))):
        with pytest.raises(LinkRefused):
            await cdn.fetcher().fetch(source, on_fraction=cdn.fractions.append)
    assert cdn.requests == []


async def test_everything_goes_through_the_proxy(cdn: Cdn) -> None:
    proxied = AudioLink(url="http://cdn.example/a.ogg", filename="a.ogg")
    fetcher = DiscordCdnFetcher(
        cdn.session,
        cdn.spool,
        limits=LIMITS,
        proxy=str(cdn.server.make_url("/")),
        policy=LinkPolicy(origins=frozenset({"http://cdn.example"})),
    )
    fetched = await fetcher.fetch(proxied, on_fraction=cdn.fractions.append)
    assert fetched.size == len(DATA)
    assert cdn.requests[0].headers["Host"] == "cdn.example"


async def test_a_server_that_is_not_there_is_a_failed_download(cdn: Cdn, unused_tcp_port: int) -> None:
    fetcher = cdn.fetcher(proxy=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(cdn.link("/secret?hm=signature"), on_fraction=cdn.fractions.append)
    assert "signature" not in caught.value.detail


async def test_cancelling_leaves_nothing(cdn: Cdn) -> None:
    cdn.answer = silent
    limits = FetchLimits(max_bytes=300_000, idle_s=30)
    work = asyncio.create_task(cdn.fetch(limits=limits))
    await until(lambda: cdn.fractions)
    assert len(list(cdn.spool.root.iterdir())) == 1
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert list(cdn.spool.root.iterdir()) == []


async def test_a_full_disk_is_told_and_not_tried_again(cdn: Cdn) -> None:
    full = FileSpool(cdn.spool.root, reserve_bytes=1 << 60)
    policy = LinkPolicy(origins=frozenset({str(cdn.server.make_url("/")).rstrip("/")}))
    fetcher = DiscordCdnFetcher(cdn.session, full, limits=LIMITS, policy=policy)
    with pytest.raises(SpoolFull):
        await fetcher.fetch(cdn.link(), on_fraction=cdn.fractions.append)
    assert len(cdn.requests) == 1


def test_a_larger_file_may_take_longer_up_to_the_largest() -> None:
    limits = FetchLimits(max_bytes=1000, total_s=1, least_bytes_per_s=100)
    assert limits.total_for(500) == 6
    assert limits.total_for(1_000_000) == limits.total_for(None) == 11
