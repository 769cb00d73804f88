"""What a job is done by, and where its answer goes: what any process needs to take over from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bot.core.durable import Record, RequestId, ShortText, Snowflake, Text, UnixTime
from bot.core.jobs import Lane
from bot.core.models import AudioLink, KeptTranscript, SpooledAudio
from bot.core.quotas import DAY_S

if TYPE_CHECKING:
    from bot.core.models import Request, Source

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{8,128}$")]


class LinkRecord(Record):
    """`AudioLink`. Its signature opens the file for a day: it is as secret as what it leads to."""

    url: Text = Field(repr=False)
    filename: ShortText
    size: int | None = Field(default=None, ge=0)
    declared_s: float | None = Field(default=None, ge=0)

    @classmethod
    def of(cls, link: AudioLink) -> LinkRecord:
        """Of a link."""
        return cls(url=link.url, filename=link.filename, size=link.size, declared_s=link.declared_s)

    @property
    def source(self) -> AudioLink:
        """As the pipeline takes it."""
        return AudioLink(url=self.url, filename=self.filename, size=self.size, declared_s=self.declared_s)


class SpooledRecord(Record):
    """`SpooledAudio`, of the order's link."""

    key: Hex
    sha256: Hex
    size: int = Field(ge=0)


class Order(Record):
    """What of a request its record does not say already: the fields are those of `Request` and `Asker`.

    ``link`` or ``kept`` is its source; ``spooled`` is the audio of the link once it was fetched.
    """

    lane: Lane = Lane.INTERACTIVE
    link: LinkRecord | None = None
    spooled: SpooledRecord | None = None
    kept: RequestId | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    hot_words: tuple[str, ...] = ()
    role_ids: tuple[Snowflake, ...] = ()
    default_mode: str | None = None
    scope: str
    keep_s: float = Field(gt=0)

    @classmethod
    def of(cls, request: Request) -> Order:
        """Of a request for a link or a kept transcript."""
        source = request.source
        return cls(
            link=LinkRecord.of(source) if isinstance(source, AudioLink) else None,
            kept=source.id if isinstance(source, KeptTranscript) else None,
            variables=dict(request.variables),
            hot_words=request.options.hot_words,
            role_ids=tuple(request.asker.role_ids) if request.asker else (),
            default_mode=request.default_mode,
            scope=request.scope,
            keep_s=request.keep_s,
        )

    @property
    def open_s(self) -> float:
        """Seconds for which a job is kept while it has not come to its end."""
        return max(self.keep_s, DAY_S)

    @property
    def source(self) -> Source:
        """What to listen to."""
        if self.kept is not None:
            return KeptTranscript(id=self.kept)
        assert self.link is not None, "an order has a source"
        if self.spooled is None:
            return self.link.source
        spooled = self.spooled
        return SpooledAudio(key=spooled.key, sha256=spooled.sha256, size=spooled.size, link=self.link.source)


class Address(Record):
    """Where an answer goes: in place of a message that stands for it, else to a channel, else to its member.

    ``token`` edits the placeholder until ``token_ends_at``; it is a secret. ``placeholder_id`` is None where it is not
    known. Where nobody asked, ``reply_to`` is the message that is answered instead, and there is no placeholder.
    ``file_limit`` is that of a file there, in bytes.
    """

    application_id: Snowflake = 0
    token: str = Field(default="", repr=False)
    token_ends_at: UnixTime = 0.0
    placeholder_id: Snowflake | None = None
    reply_to: Snowflake | None = None
    guild_id: Snowflake | None = None
    channel_id: Snowflake | None = None
    member_id: Snowflake
    private: bool = False
    locale: str = "en-US"
    file_limit: int = Field(ge=0)
