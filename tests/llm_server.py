"""OpenAI-compatible servers on loopback: one that answers as it is told, and one with a real, small model."""

from __future__ import annotations

import asyncio
import importlib
import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """A stream of ``pieces``, then ``finish``. ``cut`` breaks the connection off before the finish.

    ``after_s`` is how long it says nothing at first, in seconds; ``usage`` are the tokens that it read and wrote, None
    where it does not tell.
    """

    pieces: Sequence[str] = ("All ", "is ", "well.")
    finish: str | None = "stop"
    cut: bool = False
    after_s: float = 0.0
    usage: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """``body`` as it is, in the place of a stream."""

    body: bytes
    content_type: str = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fails:
    """An error in OpenAI's form, or, with ``body``, in one of another's making."""

    status: int
    code: str | None = None
    param: str | None = None
    message: str = "It does not work."
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangs:
    """Takes the request, sends ``pieces``, and never ends."""

    pieces: Sequence[str] = ()


Answer = Streams | Sends | Fails | Hangs


class ScriptedLLM:
    """Answers ``answers`` one after another, the last one from then on; ``requests`` are the bodies that came."""

    def __init__(self) -> None:
        self.answers: Sequence[Answer] = (Streams(),)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self.left: asyncio.Event = asyncio.Event()
        """Set when a client broke a request off."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization", ""))
        self.requests.append(await request.json())
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        match answer:
            case Fails():
                return _error(answer)
            case Sends():
                return web.Response(body=answer.body, content_type=answer.content_type)
            case Streams():
                return await self._stream(request, answer)
            case Hangs():
                return await self._hang(request, answer)

    async def _stream(self, request: web.Request, answer: Streams) -> web.StreamResponse:
        await asyncio.sleep(answer.after_s)
        response = await _open(request, answer.pieces)
        if answer.cut:
            transport = request.transport
            assert transport is not None
            transport.abort()
            return response
        if answer.finish is not None:
            await response.write(_event({}, answer.finish))
        if answer.usage is not None:
            await response.write(_usage(*answer.usage))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _hang(self, request: web.Request, answer: Hangs) -> web.StreamResponse:
        try:
            response = await _open(request, answer.pieces)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        return response


async def _open(request: web.Request, pieces: Sequence[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in pieces:
        await response.write(_event({"content": piece}))
    return response


def _event(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _usage(read: int, written: int) -> bytes:
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode()


def _error(answer: Fails) -> web.Response:
    body = answer.body or json.dumps(
        {"error": {"message": answer.message, "type": "error", "param": answer.param, "code": answer.code}}
    )
    return web.Response(status=answer.status, text=body, content_type="application/json", headers=answer.headers)


@asynccontextmanager
async def scripted_llm() -> AsyncGenerator[ScriptedLLM, None]:
    """Run a `ScriptedLLM`."""
    scripted = ScriptedLLM()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", scripted.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    scripted.url = f"http://{host}:{port}/v1"
    try:
        yield scripted
    finally:
        await runner.cleanup()


@contextmanager
def real_llm(model: Path) -> Generator[str, None, None]:
    """Serve the GGUF file ``model`` with llama.cpp; gives the address for ``OPENAI_BASE_URL``."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # compiled, without types
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server  # stops it
