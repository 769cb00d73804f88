"""/results: what a member asked for here before, for that member alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.e2e.company import WORDS, Company, a_company
from tests.e2e.town import COMMANDS, Town, a_town, answer, fields, menu_id
from tests.simulator.errors import Refused
from tests.simulator.messages import nested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.members import Member
    from tests.simulator.messages import Message
    from tests.simulator.process import BotProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.asyncio(loop_scope="session")]

NO_SUCH = "You have no such result here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A town and the bot that is at work there."""

    town: Town
    bot: BotProcess


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with a_town(tmp_path_factory.mktemp("data")) as town, town.process() as bot:
        await bot.ready(commands=COMMANDS)
        yield Scene(town=town, bot=bot)


@pytest_asyncio.fixture(loop_scope="session")
async def company(scene: Scene) -> Company:
    return await a_company(scene.town)


async def listed(company: Company, member: Member) -> list[str]:
    """The lines of ``/results list``."""
    return (await company.ask(member, "results list")).embeds[0]["description"].splitlines()


async def suggested(company: Company, member: Member, typed: str = "", command: str = "get") -> list[Any]:
    return await member.autocomplete(company.channel, f"results {command}", focused="result", result=typed)


def options(message: Message) -> list[Any]:
    """What the menu of a list offers."""
    return next(part["options"] for part in nested(message.components) if ":results:" in part.get("custom_id", ""))


async def test_who_asked_for_nothing_is_told_how_to(company: Company) -> None:
    told = await company.ask(company.bob, "results list")
    assert told.ephemeral
    assert "You have none here yet" in told.text
    assert "/summarize" in told.text
    assert told.components == ()
    assert await suggested(company, company.bob) == []


async def test_results_are_listed_with_the_way_to_their_answers(company: Company) -> None:
    heard = await company.ask(company.bob, "transcribe", audio=company.clip(name="monday.ogg"))
    summed = await company.ask(company.bob, "summarize", audio=company.clip(name="*tues*day.ogg"), private=True)
    newest, oldest = await listed(company, company.bob)
    assert oldest.startswith("<t:")
    assert "**Transcript** · monday.ogg" in oldest
    assert f"[answer]({heard.url})" in oldest
    assert "**Summary** · \\*tues\\*day.ogg" in newest
    assert "[answer]" not in newest, "nobody can be led to what only they have seen"
    assert summed.ephemeral
    assert "*" not in newest.replace("**Summary**", "").replace("\\*", ""), (
        "delivered, so nothing is the matter with it"
    )


async def test_the_menu_opens_a_result_also_after_a_restart(scene: Scene, company: Company) -> None:
    summed = await company.ask(company.bob, "summarize", audio=company.clip(name="monday.ogg"))
    shown = await company.ask(company.bob, "results list")
    (option,) = options(shown)
    assert option["label"].endswith("Summary · monday.ogg")
    opened = await answer(await company.bob.choose(shown, menu_id(shown, "results"), [option["value"]]))
    assert opened.ephemeral
    assert opened.embeds[0]["description"] == summed.embeds[0]["description"]
    assert fields(opened)["Mode"] == "Summary"

    await scene.bot.restart()
    await scene.bot.ready(commands=COMMANDS)
    again = await answer(await company.bob.choose(shown, menu_id(shown, "results"), [option["value"]]))
    assert again.text == opened.text
    redone = await answer(await company.bob.choose(again, menu_id(again, "redo"), ["-"]))
    assert (redone.embeds[0]["title"], redone.ephemeral) == ("Transcript", True)
    (file,) = (await answer(await company.bob.choose(again, menu_id(again, "files"), ["txt"]))).attachments
    assert WORDS in file.data.decode().lower()


async def test_a_result_is_found_by_what_one_types(company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name="monday.ogg"))
    await company.ask(company.bob, "summarize", audio=company.clip(name="tuesday.ogg"))
    assert [choice["name"].split(" · ")[-1] for choice in await suggested(company, company.bob)] == [
        "tuesday.ogg",
        "monday.ogg",
    ]
    (found,) = await suggested(company, company.bob, "MONDAY")
    opened = await company.ask(company.bob, "results get", result=found["value"])
    assert (opened.embeds[0]["title"], opened.ephemeral) == ("Transcript", True)
    assert WORDS in opened.text.lower()
    assert await suggested(company, company.bob, "wednesday") == []


async def test_a_deleted_result_is_gone_with_its_transcript(company: Company) -> None:
    posted = await company.ask(company.bob, "transcribe", audio=company.clip(name="monday.ogg"))
    await company.ask(company.bob, "summarize", audio=company.clip("kept", name="tuesday.ogg"))
    (found,) = await suggested(company, company.bob, "monday", command="delete")
    told = await company.ask(company.bob, "results delete", result=found["value"])
    assert "The transcript that was made for it is deleted too" in told.text
    assert "monday.ogg" in told.text
    (line,) = await listed(company, company.bob)
    assert "tuesday.ogg" in line
    for command in ("get", "delete"):
        assert NO_SUCH in (await company.ask(company.bob, f"results {command}", result=found["value"])).text
    redo = await answer(await company.bob.choose(posted, menu_id(posted, "redo"), ["summarize"]))
    assert "no longer kept" in redo.text
    assert not posted.deleted, "what stands in the channel is for its members to delete"


async def test_a_deleted_redo_leaves_the_transcript_to_the_request_that_made_it(company: Company) -> None:
    posted = await company.ask(company.bob, "transcribe", audio=company.clip(name="monday.ogg"))
    await answer(await company.bob.choose(posted, menu_id(posted, "redo"), ["summarize"]))
    (found,) = await suggested(company, company.bob, "summary", command="delete")
    told = await company.ask(company.bob, "results delete", result=found["value"])
    assert "it belongs to an earlier request" in told.text
    assert "deleted too" not in told.text
    redone = await answer(await company.bob.choose(posted, menu_id(posted, "redo"), ["summarize"]))
    assert redone.embeds[0]["title"] == "Summary"


async def test_anothers_result_answers_like_one_that_is_missing(company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip(name="monday.ogg"))
    (found,) = await suggested(company, company.bob)
    for command in ("get", "delete"):
        theirs, missing, nonsense = [
            await company.ask(company.helper, f"results {command}", result=value)
            for value in (found["value"], "0123456789abcdef", "../../x")
        ]
        assert NO_SUCH in theirs.text
        words = {message.embeds[0]["description"] for message in (theirs, missing, nonsense)}
        assert len(words) == 1, "nobody learns whether it exists"
    assert await suggested(company, company.helper, found["value"]) == []
    assert "You have none here yet" in (await company.ask(company.helper, "results list")).text
    assert NO_SUCH in (await company.ask(company.moderator, "results get", result=found["value"])).text
    assert WORDS in (await company.ask(company.bob, "results get", result=found["value"])).text.lower()


async def test_results_are_of_one_guild(scene: Scene, company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip())
    (found,) = await suggested(company, company.bob)
    other = await a_company(scene.town, "Others")
    there = other.guild.join(company.bob.user)
    assert "You have none here yet" in (await other.ask(there, "results list")).text
    assert NO_SUCH in (await other.ask(there, "results get", result=found["value"])).text


async def test_a_list_is_for_whoever_asked_for_it(company: Company) -> None:
    await company.ask(company.bob, "transcribe", audio=company.clip())
    shown = await company.ask(company.bob, "results list")
    with pytest.raises(Refused, match="does not see that message"):
        await company.helper.choose(shown, menu_id(shown, "results"), [options(shown)[0]["value"]])


async def test_what_failed_is_marked_and_says_why(company: Company) -> None:
    damaged = company.town.simulator.cdn.upload("noise.ogg", b"not a sound\n" * 50, content_type="audio/ogg")
    refused = await company.ask(company.bob, "summarize", audio=damaged)
    (line,) = await listed(company, company.bob)
    assert "noise.ogg" in line
    assert line.endswith("*failed*")
    (found,) = await suggested(company, company.bob)
    assert found["name"].endswith("noise.ogg · failed")
    opened = await company.ask(company.bob, "results get", result=found["value"])
    assert "That one failed." in opened.text
    assert refused.embeds[0]["description"] in opened.text
    assert opened.components == ()
    await company.ask(company.bob, "results delete", result=found["value"])
    assert "You have none here yet" in (await company.ask(company.bob, "results list")).text
