"""Jobs whose process has ended are shown on by the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.core.records import RequestState
from bot.presentation.adoption import Adoption
from bot.presentation.courier import TOKEN_LIFE_S
from tests.core.workplace import ID, LANE, a_request, an_address
from tests.presentation.lobby import Lobby
from tests.waiting import until

if TYPE_CHECKING:
    from bot.core.orders import Address


async def a_job(lobby: Lobby, address: Address | None = None) -> None:
    """One that another process has taken, and that nobody does yet."""
    other = lobby.store.process()
    taken = await other.dispatch.accept(a_request(), address or an_address())
    assert not hasattr(taken, "transcript"), "it is no answer"


def adoption(lobby: Lobby) -> Adoption:
    return Adoption(lobby.process.dispatch, lobby.watches, now=lobby.store.clock)


async def test_what_another_process_took_is_shown_on_until_its_answer_is_there() -> None:
    lobby = Lobby()
    await a_job(lobby)
    task = asyncio.create_task(adoption(lobby).run(lobby.client))
    await until(lambda: lobby.watches.has(ID))
    assert lobby.watches.waiting == (ID,), "it is told where it stands in the line"
    async with lobby.open():
        await lobby.process.admission.ready(LANE, ID)
        await task
        await until(lambda: "All is well." in (lobby.wire.shown or [""])[-1])
    assert (await lobby.process.requests.get(ID)).state is RequestState.DONE


async def test_what_is_watched_already_or_cannot_be_shown_is_let_be() -> None:
    late, mine, unasked = Lobby(), Lobby(), Lobby()
    await a_job(late)
    late.store.clock.now += TOKEN_LIFE_S + 1
    await a_job(mine)
    await a_job(unasked, an_address().model_copy(update={"reply_to": 7}))
    with mine.watches.on(ID, lambda _: None):
        for lobby in (late, mine, unasked):
            await asyncio.wait_for(adoption(lobby).run(lobby.client), timeout=5)
            assert lobby.wire.edits == []


async def test_without_the_store_nothing_is_adopted() -> None:
    lobby = Lobby()
    await a_job(lobby)
    lobby.process.gate.away = True
    await asyncio.wait_for(adoption(lobby).run(lobby.client), timeout=5)
    assert not lobby.watches.has(ID)
