"""What the bot posts: checked, stored, shown.

Source: https://discord.com/developers/docs/resources/message#create-message
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulator.bodies import UploadedFile
from tests.simulator.components import Media, component_problems, stored_components
from tests.simulator.embeds import embed_problems, stored_embed
from tests.simulator.errors import FormProblem, bad_value, empty_message, invalid_form, too_large
from tests.simulator.mentions import Pings, allowed, mentioned
from tests.simulator.messages import MESSAGE, TEXT_DISPLAY, Content, Message, MessageFlag, nested
from tests.simulator.payloads import items
from tests.simulator.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.simulator.cdn import Attachment
    from tests.simulator.channels import Channel
    from tests.simulator.payloads import Json
    from tests.simulator.users import User
    from tests.simulator.world import World

MAX_CONTENT = 2_000
MAX_FILES = 10

_SETTABLE = (
    MessageFlag.SUPPRESS_EMBEDS
    | MessageFlag.SUPPRESS_NOTIFICATIONS
    | MessageFlag.IS_VOICE_MESSAGE
    | MessageFlag.IS_COMPONENTS_V2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A body that makes or changes a message. ``size_limit`` is in bytes, for each file."""

    body: Json
    files: Mapping[int, UploadedFile] = field(default_factory=dict[int, UploadedFile])
    size_limit: int

    @property
    def flags(self) -> int:
        """The flags that it asks for."""
        return self.body.get("flags") or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a message comes from. ``seen_by`` makes it ephemeral; ``reference`` is what it replies to."""

    kind: int = MESSAGE
    seen_by: User | None = None
    reference: Message | None = None
    interaction_metadata: Json | None = None


def create(world: World, channel: Channel, posting: Posting, origin: Origin) -> Message:
    """Post a message as the bot.

    Raises:
        ApiError: Discord would refuse it.
    """
    ephemeral = origin.seen_by is not None
    content = _content(world, channel, posting, previous=None, flags=posting.flags, ephemeral=ephemeral)
    message = Message(
        id=world.ids.next(),
        channel=channel,
        author=world.bot,
        created_at=world.clock.now(),
        versions=[content],
        type=origin.kind,
        flags=posting.flags & _SETTABLE | (MessageFlag.EPHEMERAL if ephemeral else 0),
        seen_by=origin.seen_by,
        reference=origin.reference,
        nonce=posting.body.get("nonce"),
        application_id=world.application_id,
        interaction_metadata=origin.interaction_metadata,
    )
    message.pinged = pings(world, message, posting.body.get("allowed_mentions"))
    world.publish(message)
    return message


def edit(world: World, message: Message, posting: Posting) -> None:
    """Change a message; what the body does not name stays.

    Raises:
        ApiError: Discord would refuse it.
    """
    v2 = MessageFlag.IS_COMPONENTS_V2
    if message.flags & v2 and "flags" in posting.body and not posting.flags & v2:
        raise bad_value(("flags",), "The components flag cannot be removed from a message")
    flags = message.flags | (posting.flags & _SETTABLE)
    content = _content(world, message.channel, posting, previous=message.now, flags=flags, ephemeral=message.ephemeral)
    was_loading = message.loading
    message.versions.append(content)
    message.flags = flags & ~MessageFlag.LOADING
    if not was_loading:
        message.edited_at = world.clock.now()
    message.pinged |= pings(world, message, posting.body.get("allowed_mentions"))
    world.republish(message)


def pings(world: World, message: Message, rules: Json | None) -> Pings:
    """Whom the present content of a message of the bot pings; an ephemeral one pings nobody."""
    if message.ephemeral:
        return Pings()
    _check_mentions(rules)
    guild = message.channel.guild
    powerful = guild is None or (
        guild.has_bot and bool(guild.me.permissions_in(message.channel) & Permission.MENTION_EVERYONE)
    )
    named = mentioned("\n".join([message.content, *_displayed(message.components)]))
    if guild is not None and not powerful:
        named = Pings(
            users=named.users,
            roles=frozenset(r for r in named.roles if r in guild.roles and guild.roles[r].mentionable),
            everyone=named.everyone,
        )
    replied_to = message.reference.author.id if message.reference else None
    return allowed(named, rules, replied_to=replied_to, everyone_permitted=powerful)


def _displayed(components: Iterable[Json]) -> Iterator[str]:
    yield from (part["content"] for part in nested(components) if part["type"] == TEXT_DISPLAY)


def _check_mentions(rules: Json | None) -> None:
    for kind in ("users", "roles"):
        if rules and rules.get(kind) and kind in (rules.get("parse") or []):
            raise bad_value(
                ("allowed_mentions",),
                f"parse:[{kind!r}] and {kind}: [ids...] are mutually exclusive.",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
            )


def _content(
    world: World, channel: Channel, posting: Posting, *, previous: Content | None, flags: int, ephemeral: bool
) -> Content:
    body = posting.body
    v2 = bool(flags & MessageFlag.IS_COMPONENTS_V2)
    base = previous or Content(at=0)
    text: str = (body["content"] or "") if "content" in body else base.content
    embeds: Sequence[Json] = (body["embeds"] or ()) if "embeds" in body else base.embeds
    components: Sequence[Json] = (body["components"] or ()) if "components" in body else base.components
    problems = [
        *_text_problems(text, embeds, v2=v2),
        *component_problems(components, v2=v2),
        *_file_problems(posting, base.attachments),
    ]
    if problems:
        raise invalid_form(problems)
    attachments = _attachments(world, channel, posting, base.attachments, ephemeral=ephemeral)
    if not (text.strip() or embeds or components or attachments):
        raise empty_message()

    def media(url: str) -> Media:
        return _media(world, url, attachments)

    return Content(
        at=world.clock.monotonic(),
        content=text,
        embeds=tuple(stored_embed(embed, lambda url: _link(url, attachments)) for embed in embeds),
        components=stored_components(components, media) if "components" in body else base.components,
        attachments=attachments,
    )


def _text_problems(text: str, embeds: Sequence[Json], *, v2: bool) -> Iterator[FormProblem]:
    if len(text) > MAX_CONTENT:
        yield FormProblem(path=("content",), code="BASE_TYPE_MAX_LENGTH", message="Must be 2000 or fewer in length.")
    if v2 and (text or embeds):
        yield FormProblem(
            path=("content" if text else "embeds",),
            code="MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            message="The 'content' and 'embeds' fields cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )
    yield from embed_problems(embeds)


def _media(world: World, url: str, attachments: Iterable[Attachment]) -> Media:
    file = _named_file(url, attachments)
    if file is None:
        return Media(id=world.ids.next(), url=url)
    return Media(id=file.id, url=file.url, name=file.filename, size=len(file.data))


def _link(url: str, attachments: Iterable[Attachment]) -> str:
    file = _named_file(url, attachments)
    return url if file is None else file.url


def _named_file(url: str, attachments: Iterable[Attachment]) -> Attachment | None:
    """The file that ``attachment://name`` means, None for any other link.

    Raises:
        ApiError: the message has no file of that name.
    """
    if not url.startswith("attachment://"):
        return None
    name = url.removeprefix("attachment://")
    for attachment in attachments:
        if attachment.filename == name:
            return attachment
    raise bad_value(("attachments",), f"The message has no file named {name}", "EMBED_ATTACHMENT_NOT_FOUND")


def _file_problems(posting: Posting, present: Sequence[Attachment]) -> Iterator[FormProblem]:
    known = {attachment.id for attachment in present}
    for index, entry in enumerate(posting.body.get("attachments") or []):
        if int(entry["id"]) not in posting.files and int(entry["id"]) not in known:
            yield FormProblem(
                path=("attachments", index, "id"), code="ATTACHMENT_NOT_FOUND", message="Attachment data not found"
            )


def _attachments(
    world: World, channel: Channel, posting: Posting, present: Sequence[Attachment], *, ephemeral: bool
) -> tuple[Attachment, ...]:
    """The files that stay, then the new ones; where ``attachments`` is named, it says which stay."""
    if any(len(file.data) > posting.size_limit for file in posting.files.values()):
        raise too_large()
    entries = posting.body.get("attachments")
    described: dict[int, Json] = {int(entry["id"]): entry for entry in items(entries)}
    kept = [a for a in present if "attachments" not in posting.body or a.id in described]
    for number, file in sorted(posting.files.items()):
        entry = described.get(number, {})
        attachment = world.cdn.upload(
            entry.get("filename") or file.filename,
            file.data,
            content_type=file.content_type,
            duration_secs=entry.get("duration_secs"),
            waveform=entry.get("waveform"),
            ephemeral=ephemeral,
        )
        attachment.description = entry.get("description")
        attachment.folder = channel.id
        kept.append(attachment)
    if len(kept) > MAX_FILES:
        raise bad_value(("attachments",), "Must be 10 or fewer in length.", "BASE_TYPE_BAD_LENGTH")
    return tuple(kept)
