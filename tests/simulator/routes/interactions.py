"""Answers to interactions: the callback, the original answer, follow-ups.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding#endpoints
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator import postings
from tests.simulator.command_rules import CommandKind
from tests.simulator.errors import bad_value, invalid_form, unknown
from tests.simulator.interactions import Acknowledgement, CallbackKind, InteractionKind
from tests.simulator.messages import (
    CHAT_INPUT_COMMAND,
    CONTEXT_MENU_COMMAND,
    MESSAGE,
    Content,
    Message,
    MessageFlag,
)
from tests.simulator.modals import modal_problems
from tests.simulator.payloads import truth
from tests.simulator.postings import Origin, Posting
from tests.simulator.routing import NOTHING, Answer, Call, Routes

if TYPE_CHECKING:
    from tests.simulator.interactions import Interaction
    from tests.simulator.payloads import Json

ROUTES = Routes()

_CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
_WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
_ORIGINAL = f"{_WEBHOOK}/messages/@original"
_FOLLOWUP = f"{_WEBHOOK}/messages/{{message_id}}"

_MAX_CHOICES = 25


@ROUTES.on("POST", _CALLBACK, for_anyone=True)
def acknowledge(call: Call) -> Answer:
    """Acknowledge an interaction, in time and once."""
    interaction = call.world.interactions.get(call.id("interaction_id"))
    if interaction is None or interaction.token != call.params["interaction_token"]:
        raise unknown("interaction")
    kind = _callback_kind(call.json)
    interaction.check_acknowledgement(kind, call.at)
    data: Json = call.json.get("data") or {}
    posting = Posting(body=data, files=call.files, size_limit=interaction.upload_bytes)
    message = _carry_out(interaction, kind, posting)
    ephemeral = message is not None and message.ephemeral
    interaction.acknowledgement = Acknowledgement(kind=kind, at=call.at, ephemeral=ephemeral)
    if not truth(call.query.get("with_response")):
        return NOTHING
    return Answer(body=_callback_body(interaction, kind, message))


def _callback_kind(body: Json) -> CallbackKind:
    try:
        return CallbackKind(body["type"])
    except (KeyError, ValueError):
        raise bad_value(("type",), f"Value must be one of {[int(kind) for kind in CallbackKind]}") from None


def _carry_out(interaction: Interaction, kind: CallbackKind, posting: Posting) -> Message | None:
    """Do what the callback says; gives the message that ``@original`` means from now on."""
    world = interaction.world
    match kind:
        case CallbackKind.MESSAGE:
            interaction.original = _create(interaction, posting, ephemeral=_asks_ephemeral(posting))
        case CallbackKind.DEFER:
            interaction.original = _placeholder(interaction, ephemeral=_asks_ephemeral(posting))
        case CallbackKind.DEFER_UPDATE:
            interaction.original = interaction.source
        case CallbackKind.UPDATE:
            assert interaction.source is not None, "checked before"
            interaction.original = interaction.source
            postings.edit(world, interaction.source, posting)
        case CallbackKind.CHOICES:
            choices: list[Json] = posting.body.get("choices") or []
            if len(choices) > _MAX_CHOICES:
                raise bad_value(("data", "choices"), "Must be 25 or fewer in length.", "BASE_TYPE_BAD_LENGTH")
            interaction.choices = choices
        case CallbackKind.MODAL:
            problems = list(modal_problems(posting.body))
            if problems:
                raise invalid_form(problems)
            interaction.modal = posting.body
        case CallbackKind.PONG:
            pass
    return interaction.original


def _callback_body(interaction: Interaction, kind: CallbackKind, message: Message | None) -> Json:
    about: Json = {
        "id": str(interaction.id),
        "type": int(interaction.kind),
        "channel_id": str(interaction.channel.id),
    }
    body: Json = {"interaction": about}
    if interaction.channel.guild is not None:
        about["guild_id"] = str(interaction.channel.guild.id)
    if message is not None:
        about |= {
            "response_message_id": str(message.id),
            "response_message_loading": message.loading,
            "response_message_ephemeral": message.ephemeral,
        }
        if kind in {CallbackKind.MESSAGE, CallbackKind.UPDATE}:
            body["resource"] = {"type": int(kind), "message": message.rest_payload()}
    return body


def _asks_ephemeral(posting: Posting) -> bool:
    return bool(posting.flags & MessageFlag.EPHEMERAL)


def _origin(interaction: Interaction, *, ephemeral: bool, answer: bool) -> Origin:
    kind = MESSAGE
    if answer and interaction.kind is InteractionKind.COMMAND:
        slash = interaction.payload["data"]["type"] == CommandKind.CHAT_INPUT
        kind = CHAT_INPUT_COMMAND if slash else CONTEXT_MENU_COMMAND
    return Origin(
        kind=kind,
        seen_by=interaction.user if ephemeral else None,
        interaction_metadata=interaction.metadata(),
    )


def _create(interaction: Interaction, posting: Posting, *, ephemeral: bool, answer: bool = True) -> Message:
    origin = _origin(interaction, ephemeral=ephemeral, answer=answer)
    return postings.create(interaction.world, interaction.channel, posting, origin)


def _placeholder(interaction: Interaction, *, ephemeral: bool) -> Message:
    """ "… is thinking": a message without content, which only an edit gives one."""
    world = interaction.world
    origin = _origin(interaction, ephemeral=ephemeral, answer=True)
    message = Message(
        id=world.ids.next(),
        channel=interaction.channel,
        author=world.bot,
        created_at=world.clock.now(),
        versions=[Content(at=world.clock.monotonic())],
        type=origin.kind,
        flags=MessageFlag.LOADING | (MessageFlag.EPHEMERAL if ephemeral else 0),
        seen_by=origin.seen_by,
        application_id=world.application_id,
        interaction_metadata=origin.interaction_metadata,
    )
    world.publish(message)
    return message


def _by_token(call: Call) -> Interaction:
    """The interaction whose token is in the path.

    Raises:
        ApiError: there is none, it is not acknowledged, or its time is over.
    """
    token = call.params["webhook_token"]
    found = next((i for i in call.world.interactions.values() if i.token == token), None)
    if found is None or call.id("webhook_id") != call.world.application_id:
        raise unknown("webhook")
    found.check_token()
    return found


def _message(call: Call) -> tuple[Message, Interaction]:
    """The original answer, or the follow-up whose id is in the path.

    Raises:
        ApiError: there is none, or the token does not open it.
    """
    interaction = _by_token(call)
    wanted = call.params.get("message_id")
    if wanted is None:
        message = interaction.original
    else:
        message = next((m for m in interaction.messages if str(m.id) == wanted), None)
    if message is None or message.deleted:
        raise unknown("message")
    return message, interaction


def _posting(call: Call, interaction: Interaction) -> Posting:
    return Posting(body=call.json, files=call.files, size_limit=interaction.upload_bytes)


@ROUTES.on("POST", _WEBHOOK, for_anyone=True)
def follow_up(call: Call) -> Answer:
    """Post another answer. The first one after a deferral takes the place of "… is thinking", and its visibility."""
    interaction = _by_token(call)
    original = interaction.original
    posting = _posting(call, interaction)
    if original is not None and original.loading and not original.deleted:
        postings.edit(call.world, original, posting)
        return Answer(body=original.rest_payload())
    message = _create(interaction, posting, ephemeral=_asks_ephemeral(posting), answer=False)
    interaction.followups.append(message)
    call.world.changes.notify()
    return Answer(body=message.rest_payload())


@ROUTES.on("GET", _ORIGINAL, for_anyone=True)
@ROUTES.on("GET", _FOLLOWUP, for_anyone=True)
def get_answer(call: Call) -> Answer:
    """One of the answers."""
    return Answer(body=_message(call)[0].rest_payload())


@ROUTES.on("PATCH", _ORIGINAL, for_anyone=True)
@ROUTES.on("PATCH", _FOLLOWUP, for_anyone=True)
def edit_answer(call: Call) -> Answer:
    """Edit one of the answers."""
    message, interaction = _message(call)
    postings.edit(call.world, message, _posting(call, interaction))
    return Answer(body=message.rest_payload())


@ROUTES.on("DELETE", _ORIGINAL, for_anyone=True)
@ROUTES.on("DELETE", _FOLLOWUP, for_anyone=True)
def delete_answer(call: Call) -> Answer:
    """Delete one of the answers."""
    call.world.delete(_message(call)[0])
    return NOTHING
