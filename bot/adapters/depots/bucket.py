"""A depot in a bucket of any S3-compatible service.

The library (obstore, over Rust's object_store) signs, retries and goes on with a broken download where it broke off.
What is left of an upload whose process was killed is invisible, and the service's to delete: a lifecycle rule.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore
from loguru import logger
from obstore.exceptions import BaseError
from obstore.store import S3Store

from bot.adapters.depots.shared_folder import DAY_S, NAME, as_fetched, name_of
from bot.core.errors import SpoolFailed, SpoolFull
from bot.core.models import SpooledAudio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from obstore import GetResult
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

    from bot.adapters.spool import FileSpool
    from bot.core.models import AudioLink, FetchedAudio

_MIB: Final = 1 << 20
_STATUS: Final = re.compile(r"status code: (\d{3})\b", re.ASCII)
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>", re.ASCII)
_NO_BUCKET: Final = "NoSuchBucket"
_NO_ROOM: Final = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
"""What services say when they are full: a status of WebDAV's (RFC 4918), and codes of Ceph's and MinIO's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    """Where a bucket is.

    Args:
        bucket: its name.
        endpoint: URL of the service, or, without ``path_style``, that of the bucket itself.
        region: what requests are signed for.
        prefix: what the names of all our objects begin with, as of a folder.
        path_style: whether the bucket's name stands in the path of a request.
    """

    bucket: str
    endpoint: str
    region: str
    prefix: str = ""
    path_style: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """A pair of keys, never shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLimits:
    """How much is in memory, and how long things may take.

    Args:
        part_bytes: of an upload; what is larger goes up in parts. S3 wants 5 MiB at least.
        parts_at_once: how many of them are under way, and in memory.
        connect_s: until a connection stands.
        idle_s: until a part is sent and answered, or without a byte of a download.
        total_s: for all of it, plus the time that the file takes at ``least_bytes_per_s``.
        least_bytes_per_s: a slower service is given up.
        tries: how often a request is made.
        wait_s: before the second; it grows.
    """

    part_bytes: int = 8 * _MIB
    parts_at_once: int = 3
    connect_s: float = 10.0
    idle_s: float = 60.0
    total_s: float = 300.0
    least_bytes_per_s: int = 1 << 17
    tries: int = 4
    wait_s: float = 0.5

    def total_for(self, size: int) -> float:
        """Seconds for a file of ``size`` bytes."""
        return self.total_s + size / self.least_bytes_per_s


class BucketDepot:
    """Audio in a bucket.

    Args:
        address: where it is.
        access: keys that may read, write, delete and list.
        spool: where withdrawn audio goes.
        now: Unix time in seconds.
        limits: how much is in memory, and how long things may take.
        max_age_s: `sweep` deletes what is older, in seconds.
    """

    def __init__(
        self,
        address: BucketAddress,
        access: BucketAccess,
        spool: FileSpool,
        *,
        now: Callable[[], float],
        limits: BucketLimits | None = None,
        max_age_s: float = DAY_S,
    ) -> None:
        self._limits = limits or BucketLimits()
        self._store = _store(address, access, self._limits)
        self._spool = spool
        self._now = now
        self._max_age_s = max_age_s

    async def deposit(self, audio: FetchedAudio, link: AudioLink) -> SpooledAudio:
        """Hand audio over; the local file stays the caller's to release.

        Raises:
            SpoolFull, SpoolFailed: no room in the bucket, or it does not work.
        """
        spooled = SpooledAudio(key=uuid4().hex, sha256=audio.sha256, size=audio.size, link=link)
        async with self._working(audio.size):
            await obstore.put_async(
                self._store,
                f"{spooled.sha256}-{spooled.key}",
                audio.path,
                chunk_size=self._limits.part_bytes,
                max_concurrency=self._limits.parts_at_once,
            )
        return spooled

    async def withdraw(self, audio: SpooledAudio) -> FetchedAudio | None:
        """Bring it into this process' spool, as a file of the caller's own; None where it is gone, or not what it was.

        Raises:
            SpoolFull, SpoolFailed: no room in the spool, or the bucket does not work.
        """
        name = name_of(audio)
        if name is None:
            return None
        async with self._working(audio.size):
            try:
                found = await obstore.get_async(self._store, name)
            except FileNotFoundError as exc:
                if _code(exc) == _NO_BUCKET:
                    raise
                return None
            path = await self._received(found, audio)
        return as_fetched(audio, path)

    async def discard(self, audio: SpooledAudio) -> None:
        """Delete what was deposited; doing it twice is harmless.

        Raises:
            SpoolFailed: the bucket does not work.
        """
        name = name_of(audio)
        if name is not None:
            async with self._working():
                await self._delete(name)

    async def sweep(self) -> int:
        """Delete what nobody will ask for any more; how many files. What is not of a depot's making stays.

        Raises:
            SpoolFailed: the bucket does not work.
        """
        oldest = self._now() - self._max_age_s
        deleted = 0
        async with self._working():
            # Its other form gives tables of a library that is not here.
            async for objects in obstore.list(self._store, chunk_size=1_000):  # pyright: ignore[reportUnknownMemberType]
                for found in objects:
                    name = found["path"]
                    if NAME.fullmatch(name) is not None and found["last_modified"].timestamp() < oldest:
                        await self._delete(name)
                        deleted += 1
        if deleted:
            logger.info("deleted {} left-over files from the bucket", deleted)
        return deleted

    async def _received(self, found: GetResult, audio: SpooledAudio) -> Path | None:
        if found.meta["size"] != audio.size:
            return None
        with self._spool.draft(expected_bytes=audio.size) as draft:
            async for chunk in found.stream(min_chunk_size=_MIB):
                await asyncio.to_thread(draft.write, chunk)
            whole = (draft.size, draft.sha256) == (audio.size, audio.sha256)
            return draft.keep(audio.sha256) if whole else None

    async def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, name)

    @asynccontextmanager
    async def _working(self, size: int = 0) -> AsyncGenerator[None]:
        """Says what went wrong by status and code: the rest of an answer may hold what was signed, and the key's id."""
        try:
            async with asyncio.timeout(self._limits.total_for(size)):
                yield
        except (BaseError, OSError, ValueError) as exc:
            said = (_status(exc), _code(exc))
            error = SpoolFull if _NO_ROOM.intersection(said) else SpoolFailed
            raise error(" ".join(filter(None, ("the bucket:", type(exc).__name__, *said)))) from None


def _store(address: BucketAddress, access: BucketAccess, limits: BucketLimits) -> S3Store:
    credential: S3Credential = {
        "access_key_id": access.access_key,
        "secret_access_key": access.secret_key,
        "token": None,
        "expires_at": None,
    }
    # The library would take from the environment what is not said here.
    config: S3Config = {
        "endpoint": address.endpoint,
        "aws_endpoint_url_s3": address.endpoint,
        "region": address.region,
        "skip_signature": False,
        "unsigned_payload": False,
        "virtual_hosted_style_request": not address.path_style,
        "disable_bulk_delete": True,  # not every service has it
    }
    client: ClientConfig = {
        "allow_http": address.endpoint.startswith("http:"),
        "connect_timeout": timedelta(seconds=limits.connect_s),
        "read_timeout": timedelta(seconds=limits.idle_s),
        "timeout": timedelta(days=1),  # by default 30 s, for all of a download: what holds is ours
    }
    retries: RetryConfig = {
        "max_retries": limits.tries - 1,
        "retry_timeout": timedelta(days=1),
        "backoff": {"init_backoff": timedelta(seconds=limits.wait_s), "max_backoff": timedelta(seconds=10), "base": 2},
    }
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config=config,
        client_options=client,
        retry_config=retries,
        credential_provider=lambda: credential,
    )


def _status(exc: Exception) -> str | None:
    found = _STATUS.search(str(exc))
    return found and found[1]


def _code(exc: Exception) -> str | None:
    found = _CODE.search(str(exc))
    return found and found[1]
