"""Bodies of requests: JSON, or a form with JSON and files.

Source: https://discord.com/developers/docs/reference#uploading-files
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader

from tests.simulator.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

_FILE_FIELD = re.compile(r"files\[(\d{1,2})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """A file in a form."""

    filename: str
    data: bytes
    content_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request carries. ``files`` are by the number in their field's name, ``files[0]``."""

    json: Any = None
    files: Mapping[int, UploadedFile] = field(default_factory=dict[int, UploadedFile])


async def read_body(request: web.Request) -> Body:
    """Read the body of a request.

    Raises:
        ApiError: it cannot be read.
    """
    if request.content_type == "multipart/form-data":
        return await _read_form(request)
    raw = await request.read()
    if not raw:
        return Body()
    if request.content_type != "application/json":
        raise ApiError(400, 50035, f"Expected application/json, got {request.content_type}")
    return Body(json=_parse(raw))


async def _read_form(request: web.Request) -> Body:
    payload: Any = None
    files: dict[int, UploadedFile] = {}
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, 50035, "A form within a form")
        name = part.name or ""
        data = bytes(await part.read(decode=True))
        if name == "payload_json":
            payload = _parse(data)
        elif match := _FILE_FIELD.fullmatch(name):
            files[int(match[1])] = UploadedFile(
                filename=part.filename or "unknown",
                data=data,
                content_type=part.headers.get("Content-Type"),
            )
        else:
            raise ApiError(400, 50035, f"Unknown form field: {name}")
    return Body(json=payload, files=files)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
