"""S3-compatible servers on loopback: a real one, and one that fails as it is told."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sysconfig
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.test_utils import TestServer
from obstore.store import S3Store

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence

BUCKET: Final = "earshot"
ACCESS_KEY: Final = "AKIAEARSHOT"
SECRET_KEY: Final = "wJalrXUtnFEMI-not-a-secret"
_START_S: Final = 20.0


def rclone() -> Path | None:
    """The server's binary: that of the package, or one that the machine has."""
    ours = Path(sysconfig.get_path("scripts")) / "rclone"
    path = ours if ours.is_file() else shutil.which("rclone")
    return Path(path) if path else None


@contextmanager
def an_s3_server(binary: Path, folder: Path) -> Generator[str]:
    """``rclone serve s3``, a process of its own, which checks signatures; the URL of it.

    Buckets are the folders in ``folder``, objects the files in these; it need not see what others change there.
    """
    (folder / BUCKET).mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [
            str(binary),
            *("serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
            *("--config", "", "--vfs-cache-mode", "off", str(folder)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def look_into(endpoint: str) -> S3Store:
    """A client for looking behind the code under test."""
    return S3Store(
        BUCKET,
        config={"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint": endpoint},
        client_options={"allow_http": True},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """An answer. ``cut`` sends half of a download and resets the connection, ``stall`` sends half and then nothing;

    other requests have no answer then.
    """

    status: int = 200
    body: bytes = b""
    cut: bool = False
    stall: bool = False


def an_error(status: int, code: str) -> Says:
    """An error in S3's form, as talkative as AWS is about a wrong signature."""
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId><Message>no</Message></Error>"
    return Says(status=status, body=body.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]


class FaultyBucket:
    """Answers with ``answers`` in turn, the last one from then on. Ranges are served."""

    def __init__(self, answers: Sequence[Says]) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._answers = answers
        self._over = asyncio.Event()

    def end(self) -> None:
        """Let go of whoever was stalled."""
        self._over.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        says = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(Asked(method=request.method, path=request.path, headers=request.headers.copy()))
        await request.read()
        if request.method != "GET":
            await self._break_off(request, says)
        status, start, whole = says.status, 0, len(says.body)
        response_headers = {"ETag": '"1"', "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT"}
        if status == web.HTTPOk.status_code and request.http_range.start:
            status, start = web.HTTPPartialContent.status_code, request.http_range.start
            response_headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        body = says.body[start:]
        response_headers["Content-Length"] = str(len(body))
        response = web.StreamResponse(status=status, headers=response_headers)
        await response.prepare(request)
        await response.write(body[: len(body) // 2] if says.cut or says.stall else body)
        await self._break_off(request, says)
        return response

    async def _break_off(self, request: web.Request, says: Says) -> None:
        if says.stall:
            await self._over.wait()
        if says.cut and request.transport is not None:
            request.transport.abort()


@asynccontextmanager
async def a_faulty_bucket(*answers: Says, tls: ssl.SSLContext | None = None) -> AsyncGenerator[FaultyBucket]:
    """A server that answers as it is told."""
    bucket = FaultyBucket(answers)
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", bucket.handle)
    server = TestServer(application, scheme="https" if tls else "http")
    await server.start_server(ssl=tls)
    bucket.url = str(server.make_url("")).rstrip("/")
    try:
        yield bucket
    finally:
        bucket.end()
        await server.close()
