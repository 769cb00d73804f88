"""Answers by a schema from servers that differ in what they take, and from a real one with a small model."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.extractive import ExtractiveModel
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.core.chain import SMART, Chain, ChainPolicy
from bot.core.chain_link import RetryPolicy
from bot.core.circuits import Circuits
from bot.core.completion import CompletionTask, Form
from bot.core.errors import CompletionFailed, NotCached
from bot.core.json_schemas import JsonSchema
from bot.core.modes import ModelBlock
from bot.core.prompts import Prompt, build_prompt
from bot.core.spending import Price, Spending, Usage
from bot.core.structured import FormRefused, ModelFacts
from tests.adapters.test_completion_models import MODEL_FILE
from tests.fakes import FakeCircuitStore, FakeClock, a_mode, a_transcript, some_shared_work
from tests.llm_server import Fails, Streams, real_llm, scripted_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from bot.core.caching import SharedWork
    from bot.core.completion import Completion
    from bot.core.ports import CompletionModel
    from tests.llm_server import Answer, ScriptedLLM

SCHEMA = JsonSchema.of(
    {
        "type": "object",
        "properties": {"title": {"type": "string"}, "points": {"type": "array", "items": {"type": "string"}}},
        "required": ["title", "points"],
        "additionalProperties": False,
    }
)
PRICE = Price(input=2 * 1_000_000 / (1 << 20), output=16 * 1_000_000 / (1 << 20))
"""Such that sums of it are exact."""
DATA = {"title": "Garden", "points": ["Water", "Weeds"]}
GOOD = Streams(pieces=('{"title": "Gar', 'den", "points": ["Water", ', '"Weeds"]}'), usage=(100, 20))
FENCED = Streams(pieces=("Here you are:\n", f"```json\n{json.dumps(DATA)}\n```"), usage=(100, 30))
BAD = Streams(pieces=('{"title": "Garden"}',), usage=(100, 5))
CHAT = Streams(pieces=("The garden needs water.",), usage=(100, 8))
DEEPSEEK = Fails(status=400, code="invalid_request_error", message="This response_format type is unavailable now")
LM_STUDIO = Fails(status=400, body="{\"error\": \"'response_format.type' must be 'json_schema' or 'text'\"}")
PYDANTIC = Fails(status=422, body='{"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs"}]}')
GROQ = Fails(status=400, code="json_validate_failed", message="Failed to generate JSON.")
OPENAI = Fails(status=400, param="response_format", message="Invalid schema for response_format 'answer'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the first server does; in which forms it is asked, and then once more; and who answers."""

    answers: tuple[Answer, ...]
    forms: tuple[str, ...]
    then: str
    by: str = "first"


CASES = {
    "json_schema": Case(answers=(GOOD,), forms=("json_schema",), then="json_schema"),
    "json_schema, in a fence": Case(answers=(FENCED,), forms=("json_schema",), then="json_schema"),
    "json_object alone": Case(answers=(DEEPSEEK, GOOD), forms=("json_schema", "json_object"), then="json_object"),
    "a schema that it refuses": Case(answers=(OPENAI, GOOD), forms=("json_schema", "json_object"), then="json_object"),
    "neither": Case(answers=(PYDANTIC, LM_STUDIO, FENCED), forms=("json_schema", "json_object", "text"), then="text"),
    "a model that makes no JSON": Case(
        answers=(GROQ, GROQ, FENCED), forms=("json_schema", "json_object", "text"), then="text"
    ),
    "ignores json_schema": Case(answers=(CHAT, GOOD), forms=("json_schema", "json_object"), then="json_object"),
    "ignores both, and chats": Case(
        answers=(CHAT, CHAT, FENCED), forms=("json_schema", "json_object", "text"), then="text"
    ),
    "invalid once": Case(answers=(BAD, GOOD), forms=("json_schema", "json_schema"), then="json_schema"),
    "invalid twice": Case(answers=(BAD,), forms=("json_schema", "json_schema"), then="json_schema", by="second"),
    "chats on and on": Case(
        answers=(CHAT,), forms=("json_schema", "json_object", "text", "text"), then="text", by="second"
    ),
    "the context is too short": Case(
        answers=(Fails(status=400, code="context_length_exceeded", message="too long"),),
        forms=("json_schema",),
        then="json_schema",
        by="second",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Two servers and the template behind them."""

    first: ScriptedLLM
    second: ScriptedLLM
    chain: Chain
    spending: Spending

    async def answer(self, said: str = "The garden needs water.", *, shown: list[str] | None = None) -> Completion:
        return await self.chain.run(a_task(said), on_text=([] if shown is None else shown).append)


@asynccontextmanager
async def a_wire(
    *, shared: SharedWork | None = None, facts: Mapping[str, ModelFacts] | None = None
) -> AsyncGenerator[Wire]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(scripted_llm()) for _ in range(2)]
        second.answers = (GOOD,)
        models = [
            OpenAIChatModel(await stack.enter_async_context(openai_client(None, server.url)), name)
            for name, server in (("first", first), ("second", second))
        ]
        spending = Spending()
        chain = chain_of(*models, ExtractiveModel(), shared=shared, facts=facts, spending=spending)
        yield Wire(first=first, second=second, chain=chain, spending=spending)


def chain_of(
    *models: CompletionModel,
    shared: SharedWork | None = None,
    facts: Mapping[str, ModelFacts] | None = None,
    spending: Spending | None = None,
) -> Chain:
    return Chain(
        {SMART: models},
        shared=shared or some_shared_work(),
        circuits=Circuits(FakeCircuitStore(), now=FakeClock()),
        policy=ChainPolicy(retries=RetryPolicy(tries=3, wait_s=0.001), hedge_s=None),
        facts=facts,
        spending=spending,
    )


def a_task(said: str) -> CompletionTask:
    return CompletionTask(
        mode=a_mode(model=ModelBlock(timeout_s=5)),
        transcript=a_transcript(said),
        prompt=Prompt(system="Sum up.", user=said),
        schema=SCHEMA,
    )


def forms_of(server: ScriptedLLM) -> tuple[str, ...]:
    return tuple(sent.get("response_format", {"type": "text"})["type"] for sent in server.requests)


@pytest.mark.parametrize("name", CASES)
async def test_the_answer_comes_by_the_schema_whatever_the_first_server_takes(name: str) -> None:
    case, shown = CASES[name], list[str]()
    async with a_wire() as wire:
        wire.first.answers = case.answers
        completion = await wire.answer(shown=shown)
        assert (completion.model, completion.result.format, completion.result.data) == (case.by, "json", DATA)
        assert forms_of(wire.first) == case.forms
        assert [attempt.model for attempt in completion.failed] == (["first"] if case.by == "second" else [])
        assert shown == [completion.result.text]

        await wire.answer("Something else.")
        assert forms_of(wire.first)[len(case.forms)] == case.then


async def test_the_schema_is_sent_strictly_where_that_holds_and_stands_in_the_prompt_too() -> None:
    async with a_wire() as wire:
        wire.first.answers = (GOOD,)
        await wire.answer()
        (sent,) = wire.first.requests
    assert sent["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA.definition, "strict": True}
    assert SCHEMA.text in sent["messages"][0]["content"]


async def test_a_model_that_fails_at_json_is_not_passed_over_for_that() -> None:
    async with a_wire() as wire:
        wire.first.answers = (BAD,)
        for said in ("One.", "Two.", "Three.", "Four."):
            assert (await wire.answer(said)).model == "second"
        assert len(wire.first.requests) == 8
        wire.first.answers = (Streams(),)
        task = replace(a_task("Five."), schema=None)
        assert (await wire.chain.run(task, on_text=lambda _: None)).model == "first"


async def test_what_the_operator_says_is_taken_is_not_tried() -> None:
    async with a_wire(facts={"first": ModelFacts(forms=(Form.JSON_OBJECT,))}) as wire:
        wire.first.answers = (GOOD,)
        await wire.answer()
        assert forms_of(wire.first) == ("json_object",)


async def test_an_extract_is_no_answer_by_a_schema() -> None:
    async with a_wire() as wire:
        wire.first.answers = wire.second.answers = (Fails(status=404),)
        with pytest.raises(CompletionFailed, match="template: an extract is no answer by a schema"):
            await wire.answer()
    alone = chain_of(ExtractiveModel())
    with pytest.raises(CompletionFailed, match=r"^template: "):
        await alone.run(a_task("Hello."), on_text=lambda _: None)
    with pytest.raises(NotCached):
        await alone.run(replace(a_task("Hello."), only_cached=True), on_text=lambda _: None)


async def test_answers_are_cached_by_their_schema() -> None:
    shared = some_shared_work()
    async with a_wire(shared=shared) as wire:
        wire.first.answers = (GOOD,)
        first, second = await wire.answer(), await wire.answer()
        assert len(wire.first.requests) == 1
        assert (second.cached, second.result, second.usage) == (True, first.result, None)
        for schema in (JsonSchema.of({"type": "object"}), None):
            task = replace(a_task("The garden needs water."), schema=schema)
            assert not (await wire.chain.run(task, on_text=lambda _: None)).cached


async def test_all_that_is_asked_is_counted_at_its_price() -> None:
    async with a_wire(facts={"first": ModelFacts(price=PRICE)}) as wire:
        wire.first.answers = (DEEPSEEK, BAD, GOOD)
        completion = await wire.answer()
        assert completion.usage == Usage(input_tokens=200, output_tokens=25, cost=(200 * 2 + 25 * 16) / (1 << 20))
        wire.first.answers = (BAD,)
        await wire.answer("Something else.")
    assert wire.spending.tokens == {
        ("first", "input"): 400,
        ("first", "output"): 35,
        ("second", "input"): 100,
        ("second", "output"): 20,
    }
    assert wire.spending.cost == {"first": (400 * 2 + 35 * 16) / (1 << 20)}


# --- a real server ------------------------------------------------------------------------------------------------


@pytest.mark.llm
@pytest.mark.xdist_group("llm")
async def test_llama_cpp_holds_a_small_model_to_the_schema() -> None:
    if not MODEL_FILE.exists():
        pytest.skip("the small language model is not here; `make test` fetches it")
    schema = JsonSchema.of(
        {
            "type": "object",
            "properties": {
                "mood": {"enum": ["calm", "angry"]},
                "title": {"type": "string", "maxLength": 20},
                "people": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["mood", "title", "people"],
            "additionalProperties": False,
        }
    )
    mode = a_mode(system="You sum up.", model=ModelBlock(temperature=0, max_output_tokens=120))
    transcript = a_transcript("We water the garden every day.")
    prompt, _ = build_prompt(mode, transcript)
    task = CompletionTask(mode=mode, transcript=transcript, prompt=prompt, schema=schema)
    spending = Spending()
    with real_llm(MODEL_FILE) as url:
        async with openai_client(None, url) as client:
            chain = chain_of(OpenAIChatModel(client, "smollm2"), spending=spending)
            completion = await chain.run(task, on_text=lambda _: None)
            data: Any = completion.result.data
            schema.check(data)
            assert data["mood"] in completion.result.text
            assert completion.usage is not None
            assert spending.tokens["smollm2", "output"] == completion.usage.output_tokens > 0

            nonsense = JsonSchema('{"type": "object", "properties": {"a": {"type": "strin"}}, "required": ["a"]}')
            refused = replace(task, form=Form.JSON_SCHEMA, schema=nonsense)
            with pytest.raises(FormRefused):
                await OpenAIChatModel(client, "smollm2").complete(refused, on_text=lambda _: None)
