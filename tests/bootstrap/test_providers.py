"""What LLM_PROVIDERS says reaches the models, and what they use up reaches the figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bot.adapters.local_files import LocalFileFetcher
from bot.api.metrics import metrics_page
from bot.bootstrap.services import open_core
from bot.bootstrap.state import in_process_state
from bot.core.models import KeptTranscript, Request
from bot.core.spending import Spending
from bot.settings import Settings
from tests.fakes import a_transcript
from tests.llm_server import Streams, scripted_llm

if TYPE_CHECKING:
    from pathlib import Path

PRICE = {"input": 2.5, "output": 10}


@pytest.mark.parametrize(
    ("provider", "key"),
    [
        ({"price": PRICE}, "Bearer common"),
        ({"price": PRICE, "api_key": "own"}, "Bearer own"),
        ({"price": PRICE, "base_url": "URL"}, "Bearer none"),
        ({"price": PRICE, "base_url": "URL", "api_key": "own"}, "Bearer own"),
    ],
)
async def test_a_model_is_asked_where_it_lives_and_what_it_took_is_counted(
    tmp_path: Path, provider: dict[str, object], key: str
) -> None:
    state, spending = in_process_state(), Spending()
    async with scripted_llm() as llm:
        llm.answers = (Streams(usage=(1_000, 50)),)
        settings = Settings.from_env(
            {
                "DATA_DIR": str(tmp_path),
                "LLM_CHAIN": "mine,template",
                "OPENAI_API_KEY": "common",
                "OPENAI_BASE_URL": "http://127.0.0.1:9/v1" if "base_url" in provider else llm.url,
                "LLM_PROVIDERS": json.dumps({"mine": {"model": "theirs", **provider}}).replace("URL", llm.url),
            }
        )
        await state.transcripts.put("a" * 16, a_transcript("The garden needs water."), keep_s=60)
        request = Request(id="b" * 16, source=KeptTranscript(id="a" * 16), mode="summarize")
        async with open_core(
            settings, state, lambda spool, limit: LocalFileFetcher(spool, max_bytes=limit), spending=spending
        ) as core:
            reply = await core.pipeline.run(request)
    assert (reply.model, reply.result and reply.result.text) == ("mine", "All is well.")
    assert (llm.keys, llm.requests[0]["model"]) == ([key], "theirs")
    page = metrics_page(spending.readings).decode()
    assert 'earshot_model_tokens_total{direction="input",model="mine"} 1000.0' in page
    assert 'earshot_model_tokens_total{direction="output",model="mine"} 50.0' in page
    assert 'earshot_model_cost_usd_total{model="mine"} 0.003' in page
