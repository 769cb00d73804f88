"""Which links the bot follows. A member chooses them, so that the rule is a list of origins and nothing cleverer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from yarl import URL

from bot.core.errors import LinkRefused

_LINK = re.compile(r"(?P<origin>[A-Za-z]+://[A-Za-z0-9.:-]+)(?P<rest>(?:[/?#][\x21-\x7E]*)?)")
"""An origin of plain host names and nothing but printable ASCII. There is no place for credentials, brackets, percent
signs or other alphabets, with which one parser is led to a host that another does not see."""
_LONGEST = 4096

DISCORD_ORIGINS = frozenset({"https://cdn.discordapp.com", "https://media.discordapp.net"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPolicy:
    """Follows links of these origins alone: scheme, host and, where it is not the scheme's own, port."""

    origins: frozenset[str] = DISCORD_ORIGINS

    def checked(self, link: str) -> URL:
        """The link as it is to be requested, its signature untouched.

        Raises:
            LinkRefused: it leads elsewhere, or is no link.
        """
        match = _LINK.fullmatch(link)
        if match is None or len(link) > _LONGEST or "\\" in link:
            raise LinkRefused("not a plain link")
        origin = match["origin"].lower()
        if origin not in self.origins:
            raise LinkRefused(f"of another origin: {origin}")
        url = URL(origin + match["rest"], encoded=True).with_fragment(None)
        if str(url.origin()) != origin:
            raise LinkRefused("means another origin to the client")
        return url

    def redirected(self, url: URL, location: str) -> URL:
        """Where a redirect leads.

        Raises:
            LinkRefused: elsewhere.
        """
        return self.checked(urljoin(str(url), location))
