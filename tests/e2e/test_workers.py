"""Jobs that are done by a process of its own, with a disk of its own, which cannot reach Discord."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests import audio
from tests.e2e.town import COMMANDS, ROOT, answer, is_final, menu_id
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, an_s3_server, rclone

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.e2e.town import Town
    from tests.redis_servers import RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

MINUTE = (ROOT / "benchmarks" / "corpus" / "minute.ogg").read_bytes()
WORKER = (sys.executable, "-m", "bot", "worker")


@pytest.fixture(params=["a folder", "a bucket"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[dict[str, str]]:
    """Where audio goes from one to the other."""
    if request.param == "a folder":
        yield {"SPOOL_URL": (tmp_path / "shared").as_uri()}
        return
    if (binary := rclone()) is None:
        pytest.skip("there is no rclone here")
    (tmp_path / "s3").mkdir()
    with an_s3_server(binary, tmp_path / "s3") as url:
        yield {
            "SPOOL_URL": f"s3://{BUCKET}/audio?endpoint={url}&region=us-east-1",
            "SPOOL_ACCESS_KEY": ACCESS_KEY,
            "SPOOL_SECRET_KEY": SECRET_KEY,
        }


async def test_a_worker_with_another_disk_does_the_work(
    own_town: Town, own_store: RedisProcess, own_cache: RedisProcess, spool: dict[str, str], tmp_path: Path
) -> None:
    town = own_town
    shared = {"REDIS_STORE_URL": own_store.url, "REDIS_CACHE_URL": own_cache.url, **spool}
    elsewhere = {**shared, "DATA_DIR": str(tmp_path / "elsewhere"), "DISCORD_PROXY": "http://127.0.0.1:9"}
    async with (
        town.process(**shared, JOB_LANES="none") as bot,
        town.process(WORKER, **elsewhere, JOB_LANES="interactive") as worker,
    ):
        await bot.ready(commands=COMMANDS)
        await worker.logged("does jobs: interactive", within=60)
        clip = town.simulator.cdn.upload("minute.ogg", audio.retold(MINUTE, "for a worker"), content_type="audio/ogg")
        interaction = await town.ada.slash(town.channel, "transcribe", audio=clip)
        await interaction.reply(lambda message: "Listening" in message.text and not is_final(message), within=90)
        message = await answer(interaction)
        assert "is anything blocking the release" in message.text.lower()
        assert await worker.terminate() == 0
        # What needs no audio does not wait for ever either: it is answered once a worker is there.
        redone = await town.ada.choose(message, menu_id(message, "redo"), ["summarize"])
        async with town.process(WORKER, **elsewhere, JOB_LANES="interactive"):
            assert "let us keep this short" in (await answer(redone)).text.lower()
    assert not any("transcriber" in line for line in bot.lines), "the bot has no model"
    left = [path for folder in ("shared", "s3") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert left == [], "what was handed over is gone"
