"""Answers by a schema, out of models that differ in how they can be asked for one.

A model is asked in the best form that it is thought to take: ``json_schema``, then ``json_object``, then in words. It
is found by trying, and remembered for an hour. The schema stands in the prompt in every form: a server that takes a
form and ignores it has asked its model all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bot.core.completion import Form
from bot.core.errors import CompletionFailed, ErrorKind
from bot.core.json_answers import plain, read_answer
from bot.core.json_schemas import AnswerInvalid
from bot.core.models import ModeResult, NoteKey
from bot.core.prompts import repair_prompt, schema_prompt
from bot.core.spending import total

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bot.core.completion import Completion, CompletionTask
    from bot.core.json_schemas import JsonSchema
    from bot.core.spending import Price, Usage

    Ask = Callable[[CompletionTask], Awaitable[Completion]]

REMEMBERED_S: Final = 3_600.0
"""How long a form that a model did not take is left out: servers are updated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What its operator knows of a model: the forms that it takes, None to find out, and its price."""

    forms: tuple[Form, ...] | None = None
    price: Price | None = None


class FormRefused(CompletionFailed):
    """The model's server does not take the form in which an answer was asked for."""

    kind = ErrorKind.PERMANENT


class AnswerUnusable(CompletionFailed):
    """What the model gave is not by the schema, even after a repair. It says nothing of how it does otherwise."""

    kind = ErrorKind.PERMANENT


class Structured:
    """Gets answers by schemas out of one model.

    Args:
        forms: those that it takes; a question in words is always one.
        clock: seconds from any beginning, never going back.
    """

    def __init__(self, forms: Sequence[Form] | None, *, clock: Callable[[], float]) -> None:
        self._forms = [form for form in Form if forms is None or form in forms or form is Form.TEXT]
        self._clock = clock
        self._left_out: dict[Form, float] = {}

    async def answer(self, task: CompletionTask, schema: JsonSchema, ask: Ask) -> Completion:
        """An answer to ``task`` by ``schema``; its usage is that of all requests together.

        Args:
            task: what to answer.
            schema: of the answer.
            ask: asks the model once.

        Raises:
            AnswerUnusable: what it gives is not by the schema, and neither is its repair.
            CompletionFailed: from ``ask``.
        """
        spent: list[Usage | None] = []

        async def asked(prompted: CompletionTask) -> Completion:
            said = await ask(prompted)
            spent.append(said.usage)
            return said

        said, data, complaint = await self._first(replace(task, prompt=schema_prompt(task.prompt, schema)), asked)
        if complaint is not None:
            prompt = repair_prompt(task.prompt, schema, said.result.text, complaint)
            said = await asked(replace(task, prompt=prompt, form=self._form()))
            try:
                data = await _read(said, schema)
            except AnswerInvalid as exc:
                raise AnswerUnusable(f"the answer {exc.why}, repaired too") from None
        result = ModeResult(format="json", data=data, text=plain(data or {}))
        return replace(said, result=result, usage=total(spent))

    async def _first(self, task: CompletionTask, ask: Ask) -> tuple[Completion, dict[str, object] | None, str | None]:
        """The first answer in a form that the model takes: with its data, or with what is wrong with it."""
        assert task.schema is not None
        while True:
            form = self._form()
            try:
                said = await ask(replace(task, form=form))
            except FormRefused:
                if form is Form.TEXT:
                    raise
                self._leave_out(form)
                continue
            try:
                return said, await _read(said, task.schema), None
            except AnswerInvalid as exc:
                if exc.is_json or form is Form.TEXT:
                    return said, None, exc.complaint
                self._leave_out(form)  # it was taken, and ignored

    def _form(self) -> Form:
        now = self._clock()
        return next(form for form in self._forms if form is Form.TEXT or self._left_out.get(form, now) <= now)

    def _leave_out(self, form: Form) -> None:
        self._left_out[form] = self._clock() + REMEMBERED_S


async def _read(said: Completion, schema: JsonSchema) -> dict[str, object]:
    if any(note.key is NoteKey.RESULT_CUT for note in said.notes):
        raise AnswerInvalid("It was cut off at the limit of its length: say less.", why="was cut at the output limit")
    return await asyncio.to_thread(read_answer, said.result.text, schema)
