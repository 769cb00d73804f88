from __future__ import annotations

import pytest

from bot.core.spending import Price, Spending, Usage, total


def test_a_price_is_for_a_million_tokens() -> None:
    usage = Usage(input_tokens=1_500_000, output_tokens=100_000)
    assert Price(input=2.0, output=10.0).of(usage) == pytest.approx(4.0)


def test_a_sum_has_a_cost_where_all_of_it_has() -> None:
    priced = Usage(input_tokens=1, output_tokens=2, cost=0.5)
    free = Usage(input_tokens=10, output_tokens=20)
    assert total([priced, None, priced]) == Usage(input_tokens=2, output_tokens=4, cost=1.0)
    assert total([priced, free]) == Usage(input_tokens=11, output_tokens=22)
    assert total([None]) is None


def test_tokens_and_costs_are_read_by_model() -> None:
    spending = Spending()
    spending.note("gpt-4o", Usage(input_tokens=100, output_tokens=10, cost=0.25))
    spending.note("gpt-4o", Usage(input_tokens=50, output_tokens=5, cost=0.25))
    spending.note("local", Usage(input_tokens=7, output_tokens=1))
    read = {(reading.name, *sorted(reading.labels.values())): reading.value for reading in spending.readings()}
    assert read == {
        ("model_tokens", "gpt-4o", "input"): 150,
        ("model_tokens", "gpt-4o", "output"): 15,
        ("model_tokens", "input", "local"): 7,
        ("model_tokens", "local", "output"): 1,
        ("model_cost_usd", "gpt-4o"): 0.5,
    }
    assert {reading.kind for reading in spending.readings()} == {"counter"}
