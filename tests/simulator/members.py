"""What members do: commands, menus, buttons, modals. Refuses what Discord's own client would not let them do."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.simulator.command_rules import CommandKind
from tests.simulator.errors import Refused
from tests.simulator.interactions import Interaction, InteractionKind
from tests.simulator.invocations import Resolver, find_command, owners, slash_options
from tests.simulator.memberships import Membership
from tests.simulator.messages import BUTTON, STRING_SELECT
from tests.simulator.modals import filled_in
from tests.simulator.payloads import without_none
from tests.simulator.permissions import EVERYBODY, Permission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulator.channels import Channel
    from tests.simulator.messages import Message
    from tests.simulator.modals import Answer
    from tests.simulator.payloads import Json

_LINK = 5


class Member(Membership):
    """Somebody in a guild, and all that they can do with the bot."""

    def direct_channel(self) -> Channel:
        """The member's conversation with the bot."""
        return self.world.direct_channel(self.user)

    def install(self) -> None:
        """Add the app to one's own: its commands for users come along, wherever one goes."""
        self.world.installers.add(self.user)

    async def slash(
        self, channel: Channel, name: str, /, *, locale: str | None = None, **options: object
    ) -> Interaction:
        """Use a slash command.

        Args:
            channel: where.
            name: the command's name, with its sub-commands: ``"mode reload"``.
            locale: the language of the member's client, their usual one by default.
            options: values by the options' names: text, numbers, booleans, `Attachment`, `User`, `Role`, `Channel`.

        Raises:
            Refused: the client would not send it.
        """
        root, *path = name.split()
        command = find_command(self, channel, CommandKind.CHAT_INPUT, root)
        resolver = Resolver(self, channel)
        data: Json = {"options": slash_options(command, path, options, resolver), "resolved": resolver.resolved}
        return await self._use(
            InteractionKind.COMMAND,
            channel,
            {**command_data(command.id, command.kind, command.name, command.guild_id), **data},
            locale=locale,
            owners=owners(self, channel, command),
        )

    async def autocomplete(self, channel: Channel, name: str, /, *, focused: str, **options: object) -> list[Json]:
        """Type into an option that completes; gives the choices that come up.

        Args:
            channel: where.
            name: the command's name, with its sub-commands.
            focused: the option that is typed into; its text so far is among ``options``.
            options: what is filled in so far.

        Raises:
            Refused: the option does not complete.
            NotSeen: no choices came in time.
        """
        root, *path = name.split()
        command = find_command(self, channel, CommandKind.CHAT_INPUT, root)
        resolver = Resolver(self, channel)
        filled = slash_options(command, path, {focused: "", **options}, resolver, focused=focused)
        data: Json = {"options": filled, "resolved": resolver.resolved}
        interaction = await self._use(
            InteractionKind.AUTOCOMPLETE,
            channel,
            {**command_data(command.id, command.kind, command.name, command.guild_id), **data},
            owners=owners(self, channel, command),
        )
        await interaction.acknowledged()
        return interaction.choices or []

    async def message_command(
        self, channel: Channel, name: str, message: Message, *, locale: str | None = None
    ) -> Interaction:
        """Use a command from a message's "Apps" menu.

        Raises:
            Refused: there is no such command, or the member does not see the message.
        """
        command = find_command(self, channel, CommandKind.MESSAGE, name)
        self._check_sees(message)
        resolver = Resolver(self, channel)
        resolver.add("messages", message.id, message.payload())
        data: Json = {"target_id": str(message.id), "resolved": resolver.resolved}
        return await self._use(
            InteractionKind.COMMAND,
            channel,
            {**command_data(command.id, command.kind, command.name, command.guild_id), **data},
            locale=locale,
            owners=owners(self, channel, command),
        )

    async def click(self, message: Message, *, custom_id: str | None = None, label: str | None = None) -> Interaction:
        """Press a button, named by its custom id or its label.

        Raises:
            Refused: there is no such button, or it cannot be pressed.
        """
        button = self._component(message, BUTTON, custom_id, label)
        if button["style"] == _LINK:
            raise Refused("a link button opens a page and tells the bot nothing")
        data: Json = {"component_type": BUTTON, "custom_id": button["custom_id"], "id": button["id"]}
        return await self._use(
            InteractionKind.COMPONENT, message.channel, data, owners=self._owners_of(message), source=message
        )

    async def choose(self, message: Message, custom_id: str, values: Sequence[str]) -> Interaction:
        """Choose from a menu.

        Raises:
            Refused: there is no such menu, or it does not offer that.
        """
        menu = self._component(message, STRING_SELECT, custom_id, None)
        offered = [option["value"] for option in menu["options"]]
        if not menu["min_values"] <= len(values) <= menu["max_values"] or set(values) - set(offered):
            raise Refused(f"{menu['min_values']} to {menu['max_values']} of {offered}, not {list(values)}")
        data: Json = {
            "component_type": STRING_SELECT,
            "custom_id": custom_id,
            "id": menu["id"],
            "values": list(values),
        }
        return await self._use(
            InteractionKind.COMPONENT, message.channel, data, owners=self._owners_of(message), source=message
        )

    async def submit(self, opened_by: Interaction, answers: Mapping[str, Answer]) -> Interaction:
        """Fill in the modal that an interaction opened.

        Args:
            opened_by: the interaction that the bot answered with a modal.
            answers: by custom id: text, a list of chosen values, a boolean, or a list of `Attachment`.

        Raises:
            Refused: there is no modal, or it does not take that.
        """
        modal = opened_by.modal
        if modal is None:
            raise Refused(f"{opened_by.describe()} opened no modal")
        resolver = Resolver(self, opened_by.channel)
        data: Json = {
            "custom_id": modal["custom_id"],
            "components": filled_in(modal, answers, resolver),
            "resolved": resolver.resolved,
        }
        interaction = await self._use(
            InteractionKind.MODAL,
            opened_by.channel,
            data,
            owners=opened_by.payload["authorizing_integration_owners"],
            source=opened_by.source,
            opened_by=opened_by.metadata(),
        )
        opened_by.modal = None
        return interaction

    def _component(self, message: Message, kind: int, custom_id: str | None, label: str | None) -> Json:
        self._check_sees(message)
        part = message.component(custom_id, label=label)
        if part is None or part["type"] != kind:
            raise Refused(f"the message has no such component ({custom_id or label!r}): {message.components}")
        if part.get("disabled"):
            raise Refused(f"{custom_id or label!r} is disabled")
        return part

    def _owners_of(self, message: Message) -> Json:
        """Whose installation the message came of."""
        if message.interaction_metadata is not None:
            return message.interaction_metadata["authorizing_integration_owners"]
        guild = message.channel.guild
        return {"0": str(guild.id) if guild else "0"}

    def _check_sees(self, message: Message) -> None:
        channel = message.channel
        hidden = channel.guild is not None and not self.permissions_in(channel) & Permission.VIEW_CHANNEL
        if message.deleted or message.seen_by not in {None, self.user} or hidden:
            raise Refused(f"{self.user.name} does not see that message")

    async def _use(  # noqa: PLR0913 - each is a part of what the bot is sent
        self,
        kind: InteractionKind,
        channel: Channel,
        data: Json,
        *,
        owners: Json,
        locale: str | None = None,
        source: Message | None = None,
        opened_by: Json | None = None,
    ) -> Interaction:
        world = self.world
        interaction = Interaction(
            world=world,
            id=world.ids.next(),
            token=secrets.token_urlsafe(64),
            kind=kind,
            user=self.user,
            channel=channel,
            payload=self._envelope(channel, locale, owners) | {"type": int(kind), "data": data},
            dispatched_at=world.clock.monotonic(),
            source=source,
            opened_by=opened_by,
        )
        interaction.payload |= {"id": str(interaction.id), "token": interaction.token}
        if source is not None:
            interaction.payload["message"] = source.payload()
        world.interactions[interaction.id] = interaction
        guild_id = channel.guild.id if channel.guild else None
        world.gateway.dispatch("INTERACTION_CREATE", interaction.payload, guild_id=guild_id, intent=None)
        await world.gateway.flushed()
        return interaction

    def _envelope(self, channel: Channel, locale: str | None, owners: Json) -> Json:
        """What every interaction carries."""
        world = self.world
        common: Json = {
            "version": 1,
            "application_id": str(world.application_id),
            "channel_id": str(channel.id),
            "channel": channel.partial_payload(self if channel.guild else None),
            "locale": locale or self.user.locale,
            "entitlements": [],
            "authorizing_integration_owners": owners,
            "attachment_size_limit": world.limits.upload_bytes,
        }
        guild = channel.guild
        if guild is None:
            return common | {
                "user": self.user.payload(),
                "context": 1,
                "app_permissions": str(int(EVERYBODY)),
            }
        return common | {
            "guild_id": str(guild.id),
            "guild": guild.partial_payload(),
            "guild_locale": guild.locale,
            "member": self.payload() | {"permissions": str(self.permissions_in(channel))},
            "context": 0,
            "app_permissions": str(guild.me.permissions_in(channel) if guild.has_bot else int(EVERYBODY)),
        }


def command_data(command_id: int, kind: CommandKind, name: str, guild_id: int | None) -> Json:
    """The part of an interaction's data that names the command."""
    return without_none(
        {
            "id": str(command_id),
            "type": int(kind),
            "name": name,
            "guild_id": str(guild_id) if guild_id is not None else None,
        }
    )
