"""Answers arrive, once, and only where they may: with an ended token, a failing Discord, a placeholder that is gone."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import redis

from tests import audio
from tests.e2e.town import (
    COMMANDS,
    PATIENCE_S,
    ROOT,
    Town,
    a_town,
    answer,
    is_final,
    menu_id,
    modes_with_timeout,
    store_socket,
)
from tests.llm_server import Hangs, scripted_llm
from tests.simulator.messages import nested
from tests.simulator.permissions import Overwrite, Permission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.simulator.cdn import Attachment
    from tests.simulator.channels import Channel
    from tests.simulator.interactions import Interaction
    from tests.simulator.messages import Message
    from tests.simulator.request_log import LoggedRequest

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

EDIT = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
POST = "/channels/{channel_id}/messages"
WORDS = "ask not what your country can do for you"
MINUTE = (ROOT / "benchmarks" / "corpus" / "minute.ogg").read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town whose bot asks a model that begins and never ends; the mode's limit ends the wait after six seconds."""
    folder = tmp_path_factory.mktemp("data")
    modes = modes_with_timeout(folder / "modes", seconds=6)
    async with scripted_llm() as llm, a_town(folder) as town:
        llm.answers = (Hangs(pieces=["Thinking"]),)
        async with town.process(OPENAI_BASE_URL=llm.url, LLM_CHAIN="slow,template", MODES_DIR=str(modes)) as bot:
            await bot.ready(commands=COMMANDS)
            yield town


@pytest.fixture(autouse=True)
def no_fault_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"town", "slow_town"} & set(request.fixturenames):
        town: Town = request.getfixturevalue(name)
        town.simulator.rest.faults.clear()


def clip(town: Town, data: bytes | None = None) -> Attachment:
    content = audio.encoded("ogg") if data is None else data
    return town.simulator.cdn.upload("clip.ogg", content, content_type="audio/ogg")


def carries_the_result(body: Any) -> bool:
    """Whether an edit or a new message is more than progress: results alone have menus."""
    return isinstance(body, dict) and "earshot:files:" in str(body.get("components"))


def carries_progress(body: Any) -> bool:
    return not carries_the_result(body)


def results(interaction: Interaction, town: Town) -> list[Message]:
    """Everything with the result that came of an interaction, wherever it is."""
    places = (interaction.channel, town.ada.direct_channel())
    everything = [message for place in places for message in place.messages.values()]
    return [m for m in everything if m.id >= interaction.id and m.components and is_final(m) and not m.deleted]


async def result(interaction: Interaction, town: Town) -> Message:
    """The result, wherever it arrives; it has to be the only one."""
    await interaction.acknowledged()
    message = await town.simulator.world.changes.until(
        lambda: next(iter(results(interaction, town)), None),
        timeout_s=PATIENCE_S,
        what=lambda: f"the result of {interaction.describe()}",
    )
    assert results(interaction, town) == [message]
    assert WORDS in message.text.lower()
    return message


async def thinking(town: Town, channel: Channel, *, private: bool = False) -> Interaction:
    """A member waits for the slow model, and has seen it begin. Of earlier failures nothing is known any more."""
    with redis.Redis(unix_socket_path=store_socket(town.data_dir)) as store:
        for kind in ("circuit", "request"):  # those open a circuit, and are tried again
            for key in store.scan_iter(f"earshot:{kind}:*"):
                store.delete(key)
    interaction = await town.ada.slash(channel, "summarize", audio=clip(town), private=private)
    await interaction.reply(lambda message: "Thinking" in message.text, within=PATIENCE_S)
    return interaction


async def the_bot_goes_on(town: Town) -> None:
    interaction = await town.ada.slash(town.channel, "help")
    assert "I listen" in (await interaction.reply()).text


def final_edits(town: Town, since: int) -> list[LoggedRequest]:
    edits = town.simulator.rest.log.matching("PATCH", EDIT)[since:]
    return [edit for edit in edits if carries_the_result(edit.body)]


# --- the token has ended ----------------------------------------------------------------------------------------------


async def test_a_late_private_answer_is_a_direct_message(slow_town: Town) -> None:
    town = slow_town
    interaction = await thinking(town, town.channel, private=True)
    town.simulator.clock.advance(16 * 60)
    message = await result(interaction, town)
    assert message.channel is town.ada.direct_channel()
    shown = [m for m in town.channel.messages.values() if m.id > interaction.id and not m.ephemeral]
    assert shown == [], "nothing of it may be seen in the channel"


async def test_a_late_public_answer_is_sent_where_it_can_be_written(slow_town: Town) -> None:
    town = slow_town
    mute = Overwrite(target_id=town.simulator.world.bot.id, for_member=True, deny=Permission.SEND_MESSAGES)
    channel = town.guild.add_text_channel("read only", overwrites=[mute])
    interaction = await thinking(town, channel)
    town.simulator.clock.advance(16 * 60)
    assert (await result(interaction, town)).channel is town.ada.direct_channel()


async def test_a_late_answer_whose_receipt_is_lost_is_not_sent_twice(slow_town: Town) -> None:
    town = slow_town
    interaction = await thinking(town, town.channel)
    fault = town.simulator.rest.faults.drop("POST", POST, carried_out=True, only=carries_the_result)
    town.simulator.clock.advance(16 * 60)
    message = await result(interaction, town)
    await the_bot_goes_on(town)
    assert await result(interaction, town) is message
    assert message.channel is town.channel
    assert message.pinged.users == {town.ada.user.id}
    assert fault.times == 0
    progress = interaction.original
    assert progress is not None
    await town.simulator.world.changes.until(
        lambda: is_final(progress), timeout_s=10, what=lambda: "that the progress no longer looks as if it went on"
    )


# --- Discord fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_a_result_survives_a_discord_that_is_unavailable(town: Town, private: bool) -> None:
    fault = town.simulator.rest.faults.fail("PATCH", EDIT, status=503, times=2, only=carries_the_result)
    interaction = await town.ada.slash(town.channel, "summarize", audio=clip(town), private=private)
    message = await result(interaction, town)
    assert fault.times == 0, "the fault has to strike"
    assert message is interaction.original
    assert message.ephemeral is private


@pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_a_result_survives_a_cut_connection(town: Town, carried_out: bool, private: bool) -> None:
    fault = town.simulator.rest.faults.drop("PATCH", EDIT, carried_out=carried_out, only=carries_the_result)
    interaction = await town.ada.slash(town.channel, "summarize", audio=clip(town), private=private)
    message = await result(interaction, town)
    assert fault.times == 0, "the fault has to strike"
    assert message is interaction.original
    assert message.ephemeral is private


@pytest.mark.parametrize("status", [None, 503], ids=["cut", "503"])
async def test_progress_that_cannot_be_shown_does_not_cost_the_result(town: Town, status: int | None) -> None:
    faults = town.simulator.rest.faults
    if status is None:
        fault = faults.drop("PATCH", EDIT, only=carries_progress)
    else:
        fault = faults.fail("PATCH", EDIT, status=status, only=carries_progress)
    unheard = clip(town, audio.retold(MINUTE, f"until {status}"))
    interaction = await town.ada.slash(town.channel, "transcribe", audio=unheard)
    message = await answer(interaction)
    assert fault.times == 0, "the fault has to strike"
    assert "is anything blocking the release" in message.text.lower()
    assert message is interaction.original


# --- the placeholder is gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_an_answer_that_a_moderator_deleted_ends_quietly(slow_town: Town, private: bool) -> None:
    town = slow_town
    edits = len(town.simulator.rest.log.matching("PATCH", EDIT))
    interaction = await thinking(town, town.channel, private=private)
    assert interaction.original is not None
    town.simulator.world.delete(interaction.original)
    await town.simulator.world.changes.until(
        lambda: [edit for edit in final_edits(town, edits) if edit.answered_at is not None],
        timeout_s=PATIENCE_S,
        what=lambda: "the edit that fails",
    )
    (edit,) = final_edits(town, edits)
    assert (edit.status, edit.answer["code"]) == (404, 10008)
    await the_bot_goes_on(town)
    assert results(interaction, town) == []
    assert len(final_edits(town, edits)) == 1


# --- files ------------------------------------------------------------------------------------------------------------


async def test_a_file_over_the_servers_limit_is_said_to_be_too_large(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "transcribe", audio=clip(town)))
    limits = town.simulator.world.limits
    before, limits.upload_bytes = limits.upload_bytes, 100
    try:
        menu = await town.ada.choose(message, menu_id(message, "files"), ["json"])
        told = await answer(menu)
    finally:
        limits.upload_bytes = before
    assert "too large" in told.text
    assert told.attachments == ()
    (file,) = (await answer(await town.ada.choose(message, menu_id(message, "files"), ["json"]))).attachments
    assert len(file.data) > 100


# --- without a language model -----------------------------------------------------------------------------------------


async def test_an_extract_where_there_are_no_models_offers_no_retry(town: Town) -> None:
    message = await answer(await town.ada.slash(town.channel, "summarize", audio=clip(town)))
    assert "No language model is set up here" in message.text
    assert "Retry" not in message.text
    assert not any(":retry:" in part.get("custom_id", "") for part in nested(message.components))
