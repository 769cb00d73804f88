"""A bot's process from a command to its answer: real discord.py objects, and a wire on which Discord's answers come."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord

from bot.core.jobs import Lane
from bot.presentation.courier import Courier
from bot.presentation.deliveries import Deliveries
from bot.presentation.moderation import AccessPolicy
from bot.presentation.reception import Reception
from bot.presentation.requests import Ask
from bot.presentation.watches import Watches
from tests.core.workplace import ID, LANE, LINK, Store
from tests.presentation.guildhall import CHANNEL, a_member, an_interaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.core.models import Source


class Wire:
    """Edits of the placeholder, as they reach Discord: it answers once it is ``open``, first with what it ``fails``."""

    def __init__(self) -> None:
        self.edits: list[dict[str, Any]] = []
        self.fails: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def request(self, method: str, url: str, *, data: Any, **_: Any) -> AsyncGenerator[Any]:
        assert method == "PATCH"
        assert url.partition("?")[0].endswith("/messages/%40original")
        await self.open.wait()
        status = self.fails.pop(0) if self.fails else 200
        if status == 200:
            self.edits.append(json.loads(data))

        async def text(encoding: str) -> str:
            return _MESSAGE.decode() if status == 200 else '{"code": 0, "message": "no"}'

        yield SimpleNamespace(status=status, reason="", headers={"content-type": "application/json"}, text=text)

    @property
    def shown(self) -> list[str]:
        """What stood there, one after another."""
        return [edit["embeds"][0]["description"] for edit in self.edits]

    @property
    def buttons(self) -> list[str]:
        """What can be pressed now."""
        return [item["custom_id"] for row in self.edits[-1]["components"] for item in row["components"]]


_MESSAGE = json.dumps(
    {
        "id": "5",
        "channel_id": str(CHANNEL),
        "author": {"id": "1", "username": "bot", "discriminator": "0", "avatar": None},
        "content": "",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "type": 20,
        **dict.fromkeys(("tts", "mention_everyone", "pinned"), False),
        **{name: [] for name in ("mentions", "mention_roles", "attachments", "embeds", "components")},
    }
).encode()


class Lobby:
    """A reception, and all that stands behind it."""

    def __init__(self, *, store: Store | None = None, outlived: bool = True, **parts: Any) -> None:
        self.store = store = store or Store(**parts)
        self.process = here = store.process()
        self.wire = Wire()
        self.client = discord.Client(intents=discord.Intents.none())
        self.client.http._HTTPClient__session = self.wire  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue] - what webhooks go by
        self.watches = Watches(store.bus)
        courier = Courier(lambda: ())
        self.deliveries = Deliveries(
            here.desk,
            courier,
            outbox=here.gate.through(store.outbox),
            requests=here.requests,
            transcripts=here.transcripts,
            deliveries=here.deliveries,
            watches=self.watches,
            consumer="here",
            now=store.clock,
        )
        here.runner.at_hand = self.deliveries.hand_over
        self.reception = Reception(
            here.desk,
            here.dispatch,
            self.watches,
            courier,
            AccessPolicy(),
            outlived=outlived,
            now=store.clock,
            new_id=lambda: ID,
        )

    @asynccontextmanager
    async def open(self, *, works: bool = True) -> AsyncGenerator[None]:
        """Answers are delivered, and if it ``works``, jobs are done."""
        here = self.process
        tasks = [asyncio.create_task(self.deliveries.run(self.client))]
        if works:
            await here.admission.announce(LANE, "worker", 1, 10.0, 1e6)
            for lane in (LANE, Lane.READY):
                handler = partial(here.runner.run, lane=lane)
                working = self.store.queue.work(lane, handler, places=1, name="worker", grace_s=0.0)
                tasks.append(asyncio.create_task(working))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def ask(self, source: Source | Exception = LINK, *, private: bool = False, **more: Any) -> asyncio.Task[None]:
        """Somebody uses a command."""

        async def defer(*, ephemeral: bool, thinking: bool) -> Any:
            assert (ephemeral, thinking) == (private, True)
            return SimpleNamespace(message_id=5)

        async def find() -> Source:
            if isinstance(source, Exception):
                raise source
            return source

        response = more.pop("response", SimpleNamespace(defer=defer))
        interaction = an_interaction(a_member(), client=self.client, response=response, **more)
        return asyncio.create_task(self.reception.listen(interaction, find, Ask(mode="summarize", private=private)))
