"""What goes wrong, in Discord's words.

Source: https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulator.payloads import Json

INVALID_FORM_BODY = 50035


class Refused(AssertionError):
    """A member tried what Discord's client would not let them do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormProblem:
    """One thing that is wrong with a body. ``path`` leads to it; ``code`` is Discord's."""

    path: tuple[str | int, ...]
    code: str
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path) or '(body)'}: {self.message}"


class ApiError(Exception):
    """An answer that is an error, in Discord's JSON form."""

    def __init__(self, status: int, code: int, message: str, problems: Iterable[FormProblem] = ()) -> None:
        super().__init__(f"{status} ({code}): {message}")
        self.status = status
        self.code = code
        self.message = message
        self.problems = tuple(problems)

    def body(self) -> Json:
        """The answer's body; problems are nested by their path, with ``_errors`` at the leaves."""
        body: Json = {"message": self.message, "code": self.code}
        if self.problems:
            body["errors"] = _nested(self.problems)
        return body


def _nested(problems: Iterable[FormProblem]) -> Json:
    root: dict[str, Any] = {}
    for problem in problems:
        node = root
        for part in problem.path:
            node = node.setdefault(str(part), {})
        node.setdefault("_errors", []).append({"code": problem.code, "message": problem.message})
    return root


def invalid_form(problems: Iterable[FormProblem]) -> ApiError:
    """400: the body is not as it has to be."""
    return ApiError(400, INVALID_FORM_BODY, "Invalid Form Body", problems)


def bad_value(path: tuple[str | int, ...], message: str, code: str = "BASE_TYPE_CHOICES") -> ApiError:
    """400 with a single problem."""
    return invalid_form([FormProblem(path=path, code=code, message=message)])


def unauthorized() -> ApiError:
    """401: no token, or a wrong one."""
    return ApiError(401, 0, "401: Unauthorized")


def not_found() -> ApiError:
    """404: there is no such route."""
    return ApiError(404, 0, "404: Not Found")


def unknown(what: str) -> ApiError:
    """404 for a thing that does not exist, by its kind: channel, guild, interaction, message …"""
    codes = {
        "channel": 10003,
        "guild": 10004,
        "member": 10007,
        "message": 10008,
        "user": 10013,
        "webhook": 10015,
        "interaction": 10062,
        "application command": 10063,
    }
    return ApiError(404, codes[what], f"Unknown {what}")


def already_acknowledged() -> ApiError:
    """400: an interaction is acknowledged exactly once."""
    return ApiError(400, 40060, "Interaction has already been acknowledged.")


def invalid_webhook_token() -> ApiError:
    """401: an interaction's token lives for fifteen minutes."""
    return ApiError(401, 50027, "Invalid Webhook Token")


def too_large() -> ApiError:
    """413: a file is larger than the limit."""
    return ApiError(413, 40005, "Request entity too large")


def empty_message() -> ApiError:
    """400: nothing to show."""
    return ApiError(400, 50006, "Cannot send an empty message")


def missing_access() -> ApiError:
    """403: the bot does not see the channel."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """403: the bot sees the channel, but may not do that there."""
    return ApiError(403, 50013, "Missing Permissions")
