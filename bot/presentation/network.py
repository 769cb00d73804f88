"""What discord.py raises when a message could not be sent."""

from __future__ import annotations

from typing import Final

import aiohttp
import discord

NETWORK: Final = (aiohttp.ClientError, OSError, TimeoutError)
"""A network that fails; discord.py lets it through."""

UNDELIVERED: Final = (discord.DiscordException, *NETWORK)
"""That, and Discord's refusals."""
