"""Certificates for Discord's host names, from an authority that only the simulator's clients trust."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme

NAMES = ("discord.com", "discord.gg", "*.discord.gg", "*.discordapp.com", "*.discordapp.net", "*.discord.media")


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """``ca_file`` is what goes into SSL_CERT_FILE; ``server`` is for the listening side."""

    ca_file: Path
    server: ssl.SSLContext

    def client(self) -> ssl.SSLContext:
        """For a client in this process."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@cache
def certificates() -> Certificates:
    """Make them once for the process; the files go away with it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(server)  # pyright: ignore[reportUnknownMemberType] # names a class of pyOpenSSL
    folder = tempfile.mkdtemp(prefix="simulator-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ca_file = Path(folder) / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Certificates(ca_file=ca_file, server=server)
