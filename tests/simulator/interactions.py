"""Interactions: what a member did, and all that the bot answers to it.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from tests.simulator.changes import NotSeen
from tests.simulator.errors import already_acknowledged, bad_value, invalid_webhook_token, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.channels import Channel
    from tests.simulator.messages import Message
    from tests.simulator.payloads import Json
    from tests.simulator.users import User
    from tests.simulator.world import World


class InteractionKind(IntEnum):
    """What a member did."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class CallbackKind(IntEnum):
    """How the bot can acknowledge it."""

    PONG = 1
    MESSAGE = 4
    DEFER = 5
    DEFER_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


_MESSAGES = {CallbackKind.MESSAGE, CallbackKind.DEFER}
_UPDATES = {CallbackKind.DEFER_UPDATE, CallbackKind.UPDATE}
_ALLOWED = {
    InteractionKind.COMMAND: _MESSAGES | {CallbackKind.MODAL},
    InteractionKind.COMPONENT: _MESSAGES | _UPDATES | {CallbackKind.MODAL},
    InteractionKind.AUTOCOMPLETE: {CallbackKind.CHOICES},
    InteractionKind.MODAL: _MESSAGES | _UPDATES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """How and when the bot acknowledged. ``at`` is the clock's monotonic time in seconds."""

    kind: CallbackKind
    at: float
    ephemeral: bool


def _anything(_: Message) -> bool:
    return True


@dataclass(eq=False, kw_only=True, repr=False)
class Interaction:
    """One thing that a member did.

    Attributes:
        source: the message whose component was used, or under which the modal was opened.
        opened_by: the metadata of the interaction that opened the modal.
        payload: what the bot was sent.
        dispatched_at: when; the clock's monotonic time in seconds.
        original: the message that ``@original`` means.
        modal: the modal that the bot opened.
        choices: the answers to an autocompletion.
    """

    world: World
    id: int
    token: str
    kind: InteractionKind
    user: User
    channel: Channel
    payload: Json
    dispatched_at: float
    source: Message | None = None
    opened_by: Json | None = None
    acknowledgement: Acknowledgement | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list["Message"])
    modal: Json | None = None
    choices: list[Json] | None = None

    def __repr__(self) -> str:
        return f"<Interaction {self.describe()}>"

    @property
    def ack_latency(self) -> float | None:
        """Seconds from the interaction's way onto the wire to its acknowledgement's arrival."""
        return None if self.acknowledgement is None else self.acknowledgement.at - self.dispatched_at

    @property
    def upload_bytes(self) -> int:
        """The largest file that may be answered with, as the bot was told."""
        return self.payload["attachment_size_limit"]

    @property
    def ephemeral(self) -> bool:
        """Whether the answer is for the member alone."""
        return self.acknowledgement is not None and self.acknowledgement.ephemeral

    @property
    def messages(self) -> list[Message]:
        """The original answer and the follow-ups, without what was deleted."""
        originals = [self.original] if self.original else []
        return [message for message in [*originals, *self.followups] if not message.deleted]

    async def acknowledged(self, within: float | None = None) -> Acknowledgement:
        """Wait for the acknowledgement; ``within`` is in seconds, Discord's deadline by default.

        Raises:
            NotSeen: there was none in time.
        """
        limit = self.world.limits.acknowledge_s if within is None else within
        found = await self.world.changes.until(
            lambda: self.acknowledgement, timeout_s=limit, what=lambda: f"an acknowledgement of {self.describe()}"
        )
        if found.at - self.dispatched_at > limit:
            raise NotSeen(f"{self.describe()} was acknowledged only after {found.at - self.dispatched_at:.2f} s")
        return found

    async def reply(self, predicate: Callable[[Message], bool] = _anything, *, within: float = 10.0) -> Message:
        """Wait for a message among the answers that has come to its content and fulfils ``predicate``.

        Args:
            predicate: what the message has to fulfil.
            within: how long to wait, in seconds.

        Raises:
            NotSeen: there was none in time; the error lists what there is.
        """

        def look() -> Message | None:
            return next((m for m in self.messages if not m.loading and predicate(m)), None)

        return await self.world.changes.until(look, timeout_s=within, what=self._what_there_is)

    def check_acknowledgement(self, kind: CallbackKind, at: float) -> None:
        """Whether the bot may acknowledge like that, now.

        Raises:
            ApiError: it comes too late, twice, or is of the wrong kind.
        """
        if self.acknowledgement is not None:
            raise already_acknowledged()
        if at - self.dispatched_at > self.world.limits.acknowledge_s:
            raise unknown("interaction")
        fits = kind in _ALLOWED[self.kind]
        if kind in _UPDATES and self.source is None:
            fits = False
        if not fits:
            raise bad_value(("type",), f"An interaction of type {self.kind} cannot be answered with {kind}")

    def check_token(self) -> None:
        """Whether the token opens anything yet, and still.

        Raises:
            ApiError: the interaction is not acknowledged, or its fifteen minutes are over.
        """
        if self.acknowledgement is None:
            raise unknown("webhook")
        if self.world.clock.monotonic() - self.dispatched_at > self.world.limits.token_s:
            raise invalid_webhook_token()

    def metadata(self) -> Json:
        """What the answers say of where they come from."""
        base: Json = {
            "id": str(self.id),
            "type": int(self.kind),
            "user": self.user.payload(),
            "authorizing_integration_owners": self.payload["authorizing_integration_owners"],
        }
        if self.kind is InteractionKind.COMPONENT and self.source is not None:
            base["interacted_message_id"] = str(self.source.id)
        if self.kind is InteractionKind.MODAL:
            base["triggering_interaction_metadata"] = self.opened_by
        return base

    def describe(self) -> str:
        """A few words for an error's text."""
        data = self.payload["data"]
        return f"{self.kind.name.lower()} {data.get('name') or data.get('custom_id')!r} of {self.user.name}"

    def _what_there_is(self) -> str:
        seen = "\n".join(
            f"- {'loading' if m.loading else 'message'} {m.id} ({len(m.versions)} versions): {m.text!r}"
            f" files={[a.filename for a in m.attachments]}"
            for m in self.messages
        )
        state = "acknowledged" if self.acknowledgement else "not acknowledged"
        return f"a reply to {self.describe()} ({state}). There is:\n{seen or '- nothing'}"
