"""Discord's schemas: they are there, they find mistakes, and they are quick."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.simulator import contracts
from tests.simulator.routes import ALL_ROUTES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.contracts import Contracts

CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
MESSAGES = "/channels/{channel_id}/messages"


@pytest.fixture
def schemas() -> Contracts:
    loaded = contracts.load()
    if loaded is None:
        pytest.skip(f"Discord's schemas are not in {contracts.FOLDER}: nothing is checked against them")
    return loaded


def test_contracts_present(schemas: Contracts) -> None:
    assert schemas.knows("GET", "/users/@me")


def test_every_route_is_one_of_discords(schemas: Contracts) -> None:
    assert [route for route in ALL_ROUTES.table if not schemas.knows(route.method, route.template)] == []


def test_mistakes_are_found(schemas: Contracts) -> None:
    for body in ({"type": 3}, {"type": 4, "data": {"content": "x" * 2001}}, {"type": 9, "data": {"custom_id": "a"}}):
        assert schemas.request("POST", CALLBACK, body=body, query={"with_response": "1"})
    assert not schemas.request("POST", CALLBACK, body={"type": 5, "data": {"flags": 64}}, query={})
    assert schemas.request("POST", CALLBACK, body=None, query={})
    (problem,) = schemas.request("GET", MESSAGES, body=None, query={"limits": "5"})
    assert problem.path == ("limits",)
    assert schemas.answer("POST", MESSAGES, status=200, body={"id": "1"})
    assert schemas.answer("POST", MESSAGES, status=302, body=None)
    assert schemas.answer("DELETE", f"{MESSAGES}/{{message_id}}", status=204, body={})
    assert schemas.sent({"op": 2, "d": {"token": "x"}})
    assert schemas.sent({"op": 17, "d": None})
    assert schemas.received({"op": 0, "s": 1, "t": "MESSAGE_CREATE", "d": {}})
    assert schemas.received({"op": 0, "s": 1, "t": "NO_SUCH_EVENT", "d": {}})
    assert schemas.received({"op": 10, "s": None, "t": None, "d": {}})


def test_ids_may_be_numbers_in_requests_alone(schemas: Contracts) -> None:
    body = {"content": "x", "attachments": [{"id": 0, "filename": "a"}]}
    assert not schemas.request("POST", MESSAGES, body=body, query={})
    assert schemas.answer("GET", "/users/{user_id}", status=200, body={"id": 5})


def test_missing_files_mean_no_checks(tmp_path: Path) -> None:
    assert contracts.load(tmp_path) is None


def test_a_check_is_quick(schemas: Contracts) -> None:
    body = {
        "content": "x",
        "embeds": [{"title": "t", "fields": [{"name": "n", "value": "v"}] * 10}],
        "components": [
            {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": str(n)} for n in range(5)]}
        ],
    }
    schemas.request("POST", MESSAGES, body=body, query={})
    began = time.perf_counter()
    for _ in range(10):
        assert not schemas.request("POST", MESSAGES, body=body, query={})
    assert (time.perf_counter() - began) / 10 < 0.1, "seconds; about 0.005 on an idle machine"
