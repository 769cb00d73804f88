"""The shortest way through everything, for every Python version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import audio
from tests.e2e.town import COMMANDS, answer

if TYPE_CHECKING:
    from tests.e2e.town import Town

pytestmark = [pytest.mark.e2e, pytest.mark.smoke, pytest.mark.xdist_group("e2e")]


async def test_it_starts_listens_and_stops(own_town: Town) -> None:
    async with own_town.process() as bot:
        await bot.ready(commands=COMMANDS)
        clip = own_town.simulator.cdn.upload("clip.ogg", audio.encoded("ogg"), content_type="audio/ogg")
        message = await answer(await own_town.ada.slash(own_town.channel, "summarize", audio=clip))
        assert message.embeds[0]["title"] == "Summary"
        assert "ask not what your country can do for you" in message.text.lower()
        assert await bot.terminate() == 0
        assert "Traceback" not in bot.log
