"""Depots: how audio reaches the process that listens to it, on this machine or on another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from bot.adapters.depots.bucket import BucketAccess, BucketAddress, BucketDepot
from bot.adapters.depots.fetcher import DepotFetcher
from bot.adapters.depots.shared_folder import SharedFolderDepot

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from bot.adapters.spool import FileSpool
    from bot.core.jobs import AudioDepot

__all__ = ["DepotFetcher", "make_depot"]

_FOLDER: Final = "depot"
_SHARED: Final = "earshot-depot"
"""In a share that others may use too, a folder of our own, as it is made private."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[\w.-]{1,255}", re.ASCII)
_REGION: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
_OPTIONS: Final = frozenset({"endpoint", "region", "addressing"})


def make_depot(
    url: str | None,
    spool: FileSpool,
    *,
    now: Callable[[], float],
    access_key: str | None = None,
    secret_key: str | None = None,
) -> AudioDepot:
    """The depot that an operator asked for.

    Args:
        url: None for a folder beside the spool; ``file:///mnt/share``, a folder that all processes see;
            ``s3://bucket/prefix?endpoint=https://…&region=…&addressing=path``. ``addressing=virtual`` is for services
            that want the bucket's name in the host; the endpoint is then the bucket's own.
        spool: where withdrawn audio goes.
        now: Unix time in seconds.
        access_key: the bucket's, by its id.
        secret_key: the bucket's.

    Raises:
        ValueError: it cannot be understood; the text says what, and nothing that is secret.
        OSError: the folder cannot be made.
    """
    if url is None:
        return SharedFolderDepot(spool.root.parent / _FOLDER, spool)
    parts = _split(url)
    if parts.scheme == "file":
        return SharedFolderDepot(_folder_in(parts) / _SHARED, spool)
    if parts.scheme == "s3":
        if not access_key or not secret_key:
            raise ValueError("a bucket needs an access key and a secret key")
        return BucketDepot(
            _address_in(parts), BucketAccess(access_key=access_key, secret_key=secret_key), spool, now=now
        )
    raise ValueError("the depot is file:///a/folder or s3://bucket/prefix?endpoint=https://host&region=name")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the depot's URL cannot be read") from None  # the original may quote all of it
    if "@" in parts.netloc:
        raise ValueError("the depot's URL names a user or a key; keys have settings of their own")
    if port is not None or parts.fragment:
        raise ValueError("the depot's URL has a port or a fragment; a service's port belongs into its endpoint")
    return parts


def _folder_in(parts: SplitResult) -> Path:
    path = unquote(parts.path)
    if parts.netloc or parts.query or not path.startswith("/") or "\0" in path:
        raise ValueError("a folder is named like this: file:///mnt/share")
    return Path(path)


def _address_in(parts: SplitResult) -> BucketAddress:
    if _BUCKET.fullmatch(parts.netloc) is None:
        raise ValueError("the bucket's name is not one: 3 to 63 lower-case letters, digits, dots and hyphens")
    prefix = parts.path.strip("/")
    if prefix and not all(_SEGMENT.fullmatch(segment) for segment in prefix.split("/")):
        raise ValueError("the bucket's prefix has other characters than letters, digits, '.', '_', '-' and '/'")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if not options.keys() <= _OPTIONS or len(options) < len(pairs):
        raise ValueError("a bucket's options are endpoint, region and addressing, each of them once")
    region = options.get("region", "us-east-1")
    if _REGION.fullmatch(region) is None:
        raise ValueError("the bucket's region is not the name of one")
    addressing = options.get("addressing", "path")
    if addressing not in {"path", "virtual"}:
        raise ValueError("the bucket's addressing is path or virtual")
    endpoint = options.get("endpoint")
    if endpoint is None and addressing == "virtual":
        raise ValueError("virtual addressing needs an endpoint: that of the bucket itself")
    return BucketAddress(
        bucket=parts.netloc,
        endpoint=f"https://s3.{region}.amazonaws.com" if endpoint is None else _checked(endpoint),
        region=region,
        prefix=prefix,
        path_style=addressing == "path",
    )


def _checked(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole, parts = False, urlsplit("")
    if not is_whole or parts.scheme not in {"http", "https"} or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("the bucket's endpoint is a URL like https://host:port, without keys in it")
    return endpoint.rstrip("/")
