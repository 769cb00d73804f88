"""What models used up: tokens, and money where their price is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bot.core.health import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or several requests to a model, and what they cost in USD, None where nobody knows."""

    input_tokens: int
    output_tokens: int
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=(self.cost or 0.0) + (other.cost or 0.0) if known else None,
        )


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """All that is known of, None where nothing is."""
    known = [usage for usage in usages if usage is not None]
    return sum(known[1:], known[0]) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD for a million tokens."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """What so many tokens cost, in USD."""
        return (self.input * usage.input_tokens + self.output * usage.output_tokens) / _MILLION


class Spending:
    """Counts what this process had the models use up."""

    def __init__(self) -> None:
        self.tokens: Counter[tuple[str, str]] = Counter()
        """By model and direction: ``input`` or ``output``."""
        self.cost: dict[str, float] = {}
        """In USD, by model, of those whose price is known."""

    def note(self, model: str, usage: Usage) -> None:
        """Count what a request used up."""
        self.tokens[model, "input"] += usage.input_tokens
        self.tokens[model, "output"] += usage.output_tokens
        if usage.cost is not None:
            self.cost[model] = self.cost.get(model, 0.0) + usage.cost

    def readings(self) -> Iterator[Reading]:
        """The figures of this process."""
        for (model, direction), count in self.tokens.items():
            yield Reading(
                name="model_tokens",
                help="Tokens that models used, as far as their services tell.",
                kind="counter",
                value=count,
                labels={"model": model, "direction": direction},
            )
        for model, cost in self.cost.items():
            yield Reading(
                name="model_cost_usd",
                help="What those tokens cost by the prices in LLM_PROVIDERS.",
                kind="counter",
                value=cost,
                labels={"model": model},
            )
