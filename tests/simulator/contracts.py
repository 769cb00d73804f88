"""Discord's own schemas: the OpenAPI file of its HTTP API, and a JSON Schema of its gateway.

They are not part of this repository. Where they are missing, nothing is checked and `load` gives None.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import best_match  # pyright: ignore[reportUnknownVariableType] # its stubs leave it open
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7, DRAFT202012

from tests.simulator.errors import FormProblem
from tests.simulator.payloads import members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.payloads import Json

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "discord"

_REQUESTS = "urn:discord:requests"
_ANSWERS = "urn:discord:answers"
_SENT = "urn:discord:gateway:sent"
_RECEIVED = "urn:discord:gateway:received"

_CODES = {
    "maxLength": "BASE_TYPE_BAD_LENGTH",
    "minLength": "BASE_TYPE_BAD_LENGTH",
    "maxItems": "BASE_TYPE_BAD_LENGTH",
    "minItems": "BASE_TYPE_BAD_LENGTH",
    "required": "BASE_TYPE_REQUIRED",
    "enum": "BASE_TYPE_CHOICES",
    "const": "BASE_TYPE_CHOICES",
    "pattern": "STRING_TYPE_REGEX",
    "uniqueItems": "SET_TYPE_ALREADY_CONTAINS_VALUE",
    "maximum": "NUMBER_TYPE_MAX",
    "minimum": "NUMBER_TYPE_MIN",
}

_SEND_BY_OPCODE = {
    1: "GatewayHeartbeat",
    2: "GatewayIdentify",
    3: "GatewayUpdatePresence",
    4: "GatewayVoiceStateUpdate",
    6: "GatewayResume",
    8: "GatewayRequestGuildMembers",
}
_RECEIVE_BY_OPCODE = {
    1: "GatewayHeartbeatRequest",
    7: "GatewayReconnect",
    9: "GatewayInvalidSession",
    10: "GatewayHello",
    11: "GatewayHeartbeatAck",
}


class Contracts:
    """Checks what goes over the wire; validators are kept, a check takes some milliseconds.

    Args:
        openapi: the OpenAPI document (3.1, so its schemas are JSON Schema 2020-12).
        gateway: the gateway's schema (draft 7).
    """

    def __init__(self, openapi: Json, gateway: Json) -> None:
        self._openapi = openapi
        lenient = copy.deepcopy(openapi)
        # Discord takes ids as numbers as well, and discord.py sends attachments[].id as one.
        lenient["components"]["schemas"]["SnowflakeType"] = {"type": ["string", "integer"]}
        strict = copy.deepcopy(openapi)
        # The file says that the codes inside `errors` are numbers; Discord sends words: BASE_TYPE_BAD_LENGTH.
        strict["components"]["schemas"]["InnerErrors"]["properties"]["_errors"]["items"] = {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
        # It knows replies alone; the documentation has forwarded messages as well (1).
        strict["components"]["schemas"]["MessageReferenceType"] = {"enum": [0, 1]}
        received = _as_discord_sends(gateway)
        sent = {**received, "definitions": {**received["definitions"], "Snowflake": {"type": ["string", "integer"]}}}
        self._definitions: Json = gateway["definitions"]
        registry: Registry[Any] = Registry()
        self._registry = registry.with_resources(
            [
                (_REQUESTS, Resource[Any](contents=lenient, specification=DRAFT202012)),
                (_ANSWERS, Resource[Any](contents=strict, specification=DRAFT202012)),
                (_SENT, Resource[Any](contents=sent, specification=DRAFT7)),
                (_RECEIVED, Resource[Any](contents=received, specification=DRAFT7)),
            ]
        ).crawl()
        self._validators: dict[str, Any] = {}
        self._dispatches = self._dispatch_definitions()

    def knows(self, method: str, template: str) -> bool:
        """Whether Discord documents that route."""
        return method.lower() in self._openapi["paths"].get(template, {})

    def request(
        self, method: str, template: str, *, body: object | None, query: Mapping[str, str]
    ) -> list[FormProblem]:
        """What is wrong with a request of the bot."""
        path = self._openapi["paths"][template]
        operation = path[method.lower()]
        declared = [*path.get("parameters", []), *operation.get("parameters", [])]
        names = {parameter["name"] for parameter in declared if parameter.get("in") == "query"}
        problems = [
            FormProblem(path=(name,), code="UNKNOWN_PARAMETER", message="Discord knows no such query parameter")
            for name in query
            if name not in names
        ]
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content and (body is not None or operation["requestBody"].get("required")):
            pointer = _pointer("paths", template, method.lower(), "requestBody", "content", "application/json")
            problems += self._check(f"{_REQUESTS}{pointer}/schema", body, draft=Draft202012Validator)
        return problems

    def answer(self, method: str, template: str, *, status: int, body: object | None) -> list[FormProblem]:
        """What is wrong with an answer of the simulator."""
        answers = self._openapi["paths"][template][method.lower()]["responses"]
        key = str(status) if str(status) in answers else f"{status // 100}XX"
        if key not in answers:
            return [FormProblem(path=(), code="STATUS", message=f"Discord never answers {status} here")]
        reference = answers[key].get("$ref")
        content = self._resolve(reference)["content"] if reference else answers[key].get("content")
        if content is None:
            return [] if body is None else [FormProblem(path=(), code="BODY", message="Discord sends no body here")]
        pointer = reference or _pointer("paths", template, method.lower(), "responses", key)
        tail = _pointer("content", "application/json", "schema")[1:]
        return self._check(f"{_ANSWERS}{pointer}{tail}", body, draft=Draft202012Validator)

    def sent(self, payload: Json) -> list[FormProblem]:
        """What is wrong with something that the bot sent over the gateway."""
        name = _SEND_BY_OPCODE.get(payload.get("op", -1))
        if name is None:
            return [FormProblem(path=("op",), code="OPCODE", message=f"no opcode of a bot: {payload.get('op')}")]
        return self._check(f"{_SENT}{_pointer('definitions', name)}", payload, draft=Draft7Validator)

    def received(self, payload: Json) -> list[FormProblem]:
        """What is wrong with something that the simulator is about to send over the gateway."""
        opcode = payload["op"]
        name = self._dispatches.get(payload["t"]) if opcode == 0 else _RECEIVE_BY_OPCODE.get(opcode)
        if name is None:
            return [FormProblem(path=("t",), code="EVENT", message=f"no event of Discord: {payload['t']}")]
        return self._check(f"{_RECEIVED}{_pointer('definitions', name)}", payload, draft=Draft7Validator)

    def _check(self, reference: str, instance: object, *, draft: Any) -> list[FormProblem]:
        validator = self._validators.get(reference)
        if validator is None:
            validator = self._validators[reference] = draft({"$ref": reference}, registry=self._registry)
        error = cast("Any", best_match(validator.iter_errors(instance)))
        if error is None:
            return []
        path = tuple(error.absolute_path)
        return [FormProblem(path=path, code=_CODES.get(str(error.validator), "BASE_TYPE"), message=error.message[:500])]

    def _dispatch_definitions(self) -> dict[str, str]:
        """The definition of each event's payload, by the event's name."""
        found: dict[str, str] = {}
        for entry in self._definitions["GatewayDispatchPayload"]["anyOf"]:
            name = _name(entry["$ref"])
            while "$ref" in self._definitions[name]:
                name = _name(self._definitions[name]["$ref"])
            event = self._definitions[name]["properties"]["t"]
            for value in event.get("enum", [event.get("const")]):
                found[value] = name
        return found

    def _resolve(self, reference: str) -> Json:
        return self._registry.resolver(_ANSWERS).lookup(reference).contents


def _as_discord_sends(gateway: Json) -> Json:
    """The gateway's schema, less what is wrong with its making from TypeScript types.

    Enumerations of flags allow one bit alone; any set of bits is right. Some payloads have no ``d`` there, where
    Discord sends null or, with RESUMED, a trace.
    """
    definitions: Json = {}
    for name, schema in gateway["definitions"].items():
        properties = members(schema.get("properties"))
        if name.endswith("Flags") and schema.get("type") == "number":
            definitions[name] = {"type": "integer", "minimum": 0}
        elif "not" in members(properties.get("d")):
            definitions[name] = {**schema, "properties": {**properties, "d": {"type": ["null", "object"]}}}
        else:
            definitions[name] = schema
    snapshot: Json = definitions["APIMessageSnapshotFields"]
    # Each of its fields is said to be a whole message there: it is the message's field of that name.
    definitions["APIMessageSnapshotFields"] = {
        "type": "object",
        "properties": {
            name: {"$ref": f"#/definitions/APIMessage/properties/{name}"} for name in snapshot["properties"]
        },
        "required": [name for name in snapshot["required"] if "sticker" not in name],
    }
    return {**gateway, "definitions": definitions}


def _name(reference: str) -> str:
    return unquote(reference.rsplit("/", 1)[-1])


def _pointer(*parts: str) -> str:
    """A JSON pointer in a URI's fragment (RFC 6901, section 6)."""
    return "#/" + "/".join(quote(part.replace("~", "~0").replace("/", "~1"), safe="~") for part in parts)


@cache
def load(folder: Path = FOLDER) -> Contracts | None:
    """Read the schemas once; None where they are not there."""
    try:
        openapi = json.loads((folder / "openapi.json").read_bytes())
        gateway = json.loads((folder / "gateway.schema.json").read_bytes())
    except FileNotFoundError:
        return None
    return Contracts(openapi, gateway)
