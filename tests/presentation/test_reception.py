"""Whatever happens to a command, its member hears of it, in the end and where they look."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.core.errors import NotFound, TranscriptionFailed
from bot.core.models import AudioLink, KeptTranscript
from bot.core.records import RequestState
from bot.core.scheduling import Entry
from tests.core.workplace import ID, LANE, Slow
from tests.fakes import HANG, FakeCompletionModel, FakeFetcher, FakeTranscriber
from tests.presentation.guildhall import GUILD
from tests.presentation.lobby import Lobby
from tests.waiting import until

RESTARTING = "I am being restarted. Nothing is lost: your answer comes here by itself."
RUN_AGAIN = "I was restarted in the middle of this. Please run the command again."
CANCEL = f"earshot:cancel:{ID}"


async def pending(lobby: Lobby) -> bool:
    record = await lobby.store.record()
    return ID in await lobby.process.deliveries.pending(record.guild_id, record.member_id)


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_a_command_is_answered_by_its_job() -> None:
    lobby = Lobby()
    async with lobby.open():
        await lobby.ask()
        await until(lambda: lobby.store.outbox.finished)
    assert lobby.wire.shown == ["All is well."]
    record = await lobby.store.record()
    assert (record.state, record.starts, record.order, record.address) == (RequestState.DONE, 1, None, None)
    assert record.answer_url is not None
    assert not await pending(lobby)
    assert not await lobby.store.in_line()
    assert not lobby.watches.has(ID)


async def test_a_private_answer_has_no_link() -> None:
    lobby = Lobby()
    async with lobby.open():
        await lobby.ask(private=True)
        await until(lambda: lobby.store.outbox.finished)
    record = await lobby.store.record()
    assert (record.private, record.answer_url, record.address) == (True, None, None)


async def test_without_a_store_a_command_is_answered_here() -> None:
    lobby = Lobby()
    lobby.process.gate.away = True
    await lobby.ask()
    assert lobby.wire.shown == ["All is well."]


@pytest.mark.parametrize("source", [AudioLink(url="u", filename="f", declared_s=-1.0), ZeroDivisionError()], ids=repr)
async def test_a_slip_is_told(source: Any) -> None:
    lobby = Lobby()
    await lobby.ask(source)
    (shown,) = lobby.wire.shown
    assert "error" in shown.lower() or "wrong" in shown.lower()
    assert await lobby.process.requests.of_member(GUILD, 1) == []
    assert not await lobby.store.in_line()


async def test_a_message_that_discord_does_not_give_is_told() -> None:
    lobby = Lobby()
    unavailable: Any = SimpleNamespace(status=503, reason="")
    await lobby.ask(discord.DiscordServerError(unavailable, "x"))
    assert len(lobby.wire.shown) == 1


async def test_where_the_bot_may_not_be_used_nothing_is_taken() -> None:
    lobby = Lobby()
    await lobby.ask(guild_id=None, is_guild_integration=lambda: False)
    assert len(lobby.wire.shown) == 1
    assert lobby.store.fetcher.calls == []


async def test_a_command_that_cannot_be_acknowledged_leaves_nothing() -> None:
    lobby = Lobby()

    async def defer(**_: Any) -> Any:
        gone: Any = SimpleNamespace(status=404, reason="")
        raise discord.NotFound(gone, {"code": 10_062, "message": "Unknown interaction"})

    await lobby.ask(response=SimpleNamespace(defer=defer))
    assert (lobby.wire.edits, await lobby.store.in_line()) == ([], False)


async def test_a_failure_of_the_job_is_told() -> None:
    lobby = Lobby(transcriber=FakeTranscriber(TranscriptionFailed("x")))
    async with lobby.open():
        await lobby.ask()
        await until(lambda: lobby.store.outbox.finished)
    assert len(lobby.wire.shown) == 1
    assert (await lobby.store.record()).state is RequestState.FAILED


async def test_a_transcript_that_is_gone_is_told() -> None:
    lobby = Lobby()
    async with lobby.open():
        await lobby.ask(KeptTranscript(id="fedcba9876543210"))
        await until(lambda: lobby.store.outbox.finished)
    assert len(lobby.wire.shown) == 1
    assert (await lobby.store.record()).error == "error.not_found"


# --- meanwhile --------------------------------------------------------------------------------------------------------


async def test_who_waits_for_their_turn_is_shown_where_they_are_and_can_cancel() -> None:
    lobby = Lobby()
    entry = Entry(request_id="a" * 16, guild_id=1, member_id=1, since=1.0, length_s=60.0)
    await lobby.process.admission.join(LANE, entry)
    async with lobby.open(works=False):
        task = lobby.ask()
        await until(lambda: lobby.store.depot.held)
        assert lobby.watches.waiting == (ID,)
        lobby.watches.stand(await lobby.process.dispatch.places(lobby.watches.waiting))
        await until(lambda: any("1 request is before yours" in shown for shown in lobby.wire.shown))
        assert lobby.wire.buttons == [CANCEL]
        await lobby.process.dispatch.cancel(await lobby.store.record())
        await lobby.process.run()
        await task
        await until(lambda: lobby.store.outbox.finished)
    assert (lobby.wire.shown[-1], lobby.wire.buttons) == ("Cancelled.", [])


async def test_what_is_cancelled_while_it_is_fetched_says_so_at_once() -> None:
    lobby = Lobby(fetcher=FakeFetcher(HANG))
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: lobby.store.fetcher.calls)
        await lobby.process.dispatch.cancel(await lobby.store.record())
        async with asyncio.timeout(5):
            await task
        await until(lambda: lobby.store.outbox.finished)
    assert lobby.wire.shown[-1] == "Cancelled."
    assert lobby.store.depot.held == {}


async def test_what_is_forgotten_meanwhile_says_so() -> None:
    lobby = Lobby()
    async with lobby.open(works=False):
        task = lobby.ask()
        await until(lambda: lobby.store.depot.held)
        record = await lobby.store.record()
        await lobby.process.requests.delete(record)
        await lobby.process.run()
        await task
        await until(lambda: lobby.store.outbox.finished)
    assert (lobby.wire.shown[-1], lobby.wire.buttons) == ("This was deleted, as asked.", [])


async def test_what_is_forgotten_and_cannot_be_said_ends_quietly() -> None:
    lobby = Lobby()
    async with lobby.open(works=False):
        task = lobby.ask()
        await until(lambda: lobby.store.depot.held)
        await lobby.process.requests.delete(await lobby.store.record())
        lobby.wire.fails = [404] * 9
        await lobby.process.run()
        await task
    assert lobby.wire.edits == []


async def test_while_the_store_is_away_a_job_that_is_under_way_is_answered_all_the_same() -> None:
    model = Slow()
    lobby = Lobby(model=model)
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: model.calls)
        lobby.process.gate.away = True
        model.open.set()
        await task
        await until(lambda: lobby.wire.shown[-1:] == ["All is well."])
        lobby.process.gate.away = False
        await until(lambda: lobby.store.outbox.finished)
    assert lobby.wire.shown.count("All is well.") == 1
    record = await lobby.store.record()
    assert (record.state, record.address) == (RequestState.DONE, None)


# --- the process ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True], ids=["told", "not told"])
async def test_a_job_goes_on_without_the_process_and_its_member_is_told(fails: bool) -> None:
    lobby = Lobby(model=FakeCompletionModel(HANG, "All is well."))
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: lobby.store.model.calls)
        lobby.wire.fails = [404] * 9 if fails else []
        await lobby.reception.aclose(within_s=5)
        await task
    if not fails:
        assert (lobby.wire.shown[-1], lobby.wire.buttons) == (RESTARTING, [CANCEL])
    assert RUN_AGAIN not in lobby.wire.shown
    assert (await lobby.store.record()).state is RequestState.RUNNING
    after = Lobby(store=lobby.store)
    async with after.open():
        await until(lambda: lobby.store.outbox.finished)
    assert (after.wire.shown, CANCEL in after.wire.buttons) == (["All is well."], False)
    assert (await lobby.store.record()).starts == 1, "that it was cut off is not the job's fault"


async def test_a_job_whose_audio_is_being_fetched_goes_on_without_it() -> None:
    lobby = Lobby(fetcher=FakeFetcher(HANG))
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: lobby.store.fetcher.calls)
        await lobby.reception.aclose(within_s=5)
        await task
    assert lobby.wire.shown == [RESTARTING]
    assert await lobby.store.in_line()
    assert (await lobby.store.record()).state is RequestState.RUNNING


async def test_a_job_that_ends_with_its_process_is_to_be_run_again() -> None:
    lobby = Lobby(outlived=False, model=FakeCompletionModel(HANG))
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: lobby.store.model.calls)
        await lobby.reception.aclose(within_s=5)
        await task
    assert lobby.wire.shown[-1] == RUN_AGAIN


async def test_an_answer_that_is_there_is_not_written_over_by_the_end() -> None:
    model = Slow()
    lobby = Lobby(model=model)
    async with lobby.open():
        task = lobby.ask()
        await until(lambda: lobby.wire.shown)
        model.open.set()
        watch = lobby.watches._by_id[ID]  # pyright: ignore[reportPrivateUsage] - whether its answer waits already
        await watch.over()
        await lobby.reception.aclose(within_s=5)
        await task
        await until(lambda: lobby.store.outbox.finished)
    assert lobby.wire.shown[-1] == "All is well."
    assert RESTARTING not in lobby.wire.shown


async def test_an_answer_comes_after_the_word_of_a_restart() -> None:
    lobby = Lobby(model=FakeCompletionModel(HANG))
    async with lobby.open(works=False):
        task = lobby.ask()
        await until(lambda: lobby.store.depot.held)
        lobby.wire.open.clear()
        closing = asyncio.create_task(lobby.reception.aclose(within_s=5))
        await asyncio.sleep(0)
        await lobby.process.dispatch.cancel(await lobby.store.record())
        await lobby.process.run()
        for _ in range(20):
            await asyncio.sleep(0)
        lobby.wire.open.set()
        await asyncio.gather(task, closing)
        await until(lambda: lobby.store.outbox.finished)
    assert lobby.wire.shown == [RESTARTING, "Cancelled."]


async def test_whoever_comes_while_the_process_ends_is_told_to_come_again() -> None:
    lobby = Lobby()
    await lobby.reception.aclose(within_s=1)
    await lobby.ask()
    assert lobby.wire.shown == [RUN_AGAIN]
    assert lobby.store.fetcher.calls == []


async def test_a_request_that_is_being_taken_when_the_process_ends_is_to_be_run_again_and_leaves_nothing() -> None:
    lobby = Lobby()
    closing: list[asyncio.Task[None]] = []

    def trouble(call: int) -> None:
        if call == 4:  # its record is being written
            closing.append(asyncio.create_task(lobby.reception.aclose(within_s=5)))

    lobby.process.gate.trouble = trouble
    await lobby.ask()
    await asyncio.gather(*closing)
    assert lobby.wire.shown == [RUN_AGAIN]
    with pytest.raises(NotFound):
        await lobby.store.record()
    assert not await lobby.store.in_line()
