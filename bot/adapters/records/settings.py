"""What moderators decided, and who decided what."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.documents import Line
from bot.adapters.redis import keys
from bot.core.errors import RecordInvalid, RecordTooNew, StoreUnavailable
from bot.core.records import AUDIT, GUILD_SETTINGS, AuditEntry, GuildSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bot.adapters.documents import Documents

FRESH_S: Final = 5.0
"""How long settings are believed without asking: what another process changes is seen by then."""
GUILDS: Final = 2_048
"""Guilds that are remembered, those that were asked for last."""
TRIES: Final = 64
"""Each is lost to somebody whose change counted."""


def _line(entry: AuditEntry) -> Line:
    return Line(key=keys.audit(entry.guild_id), value=AUDIT.encode(entry), keep=keys.AUDIT_ENTRIES, ttl_s=keys.AUDIT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read last, and when it is to be read again."""

    settings: GuildSettings
    fresh_until: float


class StoredSettings:
    """`bot.core.ports.SettingsStore`. `get` never fails for want of a store: what was known last counts, or nothing.

    Args:
        documents: where they are kept.
        clock: seconds on a clock that never goes back.
        reading: the same documents, asked less patiently: every command waits for its guild's settings.
    """

    def __init__(self, documents: Documents, *, clock: Callable[[], float], reading: Documents | None = None) -> None:
        self._documents = documents
        self._reading = reading or documents
        self._clock = clock
        self._known: OrderedDict[int, _Known] = OrderedDict()

    async def get(self, guild_id: int) -> GuildSettings:
        """A guild's settings; the defaults where nothing was ever set, or nothing can be known.

        Raises:
            RecordTooNew: a later version of the bot wrote them.
        """
        known = self._known.get(guild_id)
        if known is not None and self._clock() < known.fresh_until:
            return known.settings
        try:
            raw = await self._reading.get(keys.settings(guild_id))
        except StoreUnavailable:
            return known.settings if known else GuildSettings(guild_id=guild_id)
        meanwhile = self._known.get(guild_id)
        if meanwhile is not None and self._clock() < meanwhile.fresh_until:
            return meanwhile.settings  # changed while this was read: what was read may be the older
        return self._learn(guild_id, _read(guild_id, raw))

    async def look_up(self, guild_id: int) -> GuildSettings:
        """A guild's settings as they are in the store at this moment.

        Raises:
            StoreUnavailable: they cannot be read now.
            RecordTooNew: a later version of the bot wrote them.
        """
        return _read(guild_id, await self._documents.get(keys.settings(guild_id)))

    async def change(
        self, guild_id: int, change: Callable[[GuildSettings], GuildSettings], entry: AuditEntry
    ) -> GuildSettings:
        """Apply ``change`` to the present settings, and note ``entry`` with it; two at a time both count.

        ``change`` may be called again, with what somebody else has changed meanwhile.

        Raises:
            StoreUnavailable: it cannot be done now. Where the answer was lost, it may have been done.
            RecordTooNew: a later version of the bot wrote them; they stay as they are.
            RecordInvalid: what ``change`` gave cannot be kept.
        """
        key = keys.settings(guild_id)
        self._doubt(guild_id)
        for _ in range(TRIES):
            raw = await self._documents.get(key)
            new = GUILD_SETTINGS.encode(change(_read(guild_id, raw)))
            settings = GUILD_SETTINGS.decode(new)  # ``model_copy`` checks nothing
            if await self._documents.swap(key, raw, new, keys.SETTINGS_S, line=_line(entry)):
                return self._learn(guild_id, settings)
        raise StoreUnavailable(f"the settings of guild {guild_id} change faster than they can be read")

    async def keep(self, guild_ids: Iterable[int]) -> None:
        """The bot is in these guilds: what was set there lasts for another `keys.SETTINGS_S`.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        for guild_id in guild_ids:
            await self._documents.expire(keys.settings(guild_id), keys.SETTINGS_S)

    async def expire(self, guild_id: int, *, within_s: float) -> None:
        """Forget a guild that the bot has left, in a while. The audit log ends by itself.

        Raises:
            StoreUnavailable: it cannot be done now.
        """
        await self._documents.expire(keys.settings(guild_id), within_s)

    def _learn(self, guild_id: int, settings: GuildSettings) -> GuildSettings:
        self._known[guild_id] = _Known(settings=settings, fresh_until=self._clock() + FRESH_S)
        self._known.move_to_end(guild_id)
        if len(self._known) > GUILDS:
            self._known.popitem(last=False)
        return settings

    def _doubt(self, guild_id: int) -> None:
        """A change is on its way, and may happen even where it seems to fail: what is known is for need only."""
        if guild_id in self._known:
            self._known[guild_id] = replace(self._known[guild_id], fresh_until=float("-inf"))


def _read(guild_id: int, raw: bytes | None) -> GuildSettings:
    """Settings as they are written; damaged ones are as good as none, or nobody could set them again."""
    if raw is None:
        return GuildSettings(guild_id=guild_id)
    try:
        return GUILD_SETTINGS.decode(raw)
    except RecordTooNew:
        raise
    except RecordInvalid as exc:
        logger.error("the settings of guild {} are damaged, the defaults count: {}", guild_id, exc)
        return GuildSettings(guild_id=guild_id)


class StoredAudit:
    """`bot.core.ports.AuditLog`: so many entries for each guild, until some time after the last."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def note(self, entry: AuditEntry) -> None:
        """Add an entry."""
        await self._documents.append(_line(entry))

    async def entries(self, guild_id: int, count: int) -> list[AuditEntry]:
        """The newest first; those that cannot be read are left out."""
        found: list[AuditEntry] = []
        for raw in await self._documents.tail(keys.audit(guild_id), count):
            try:
                found.append(AUDIT.decode(raw))
            except RecordInvalid as exc:
                logger.warning("an entry in the audit log of guild {} is left out: {}", guild_id, exc)
        return found
