"""Settings: the only reader of the environment.

Every field is set by the environment variable of the same name in capitals. Secrets may come from a file instead:
``DISCORD_TOKEN_FILE=/run/secrets/discord_token``. An empty value counts as not set.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

TEMPLATE = "template"
"""Name of the chain's last link, which needs no model."""

MAX_SECRET_BYTES = 16_384

_REDIS_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"})
"""What may stand behind the ``?`` of an address: time limits and retries are the bot's own."""


class InvalidSettings(Exception):
    """Settings that cannot be used; the text has one line for each. It never holds a value: values may be secret."""


def _split(value: object) -> object:
    """A list, written as ``a, b, c``."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _without_nul(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _parsed(value: object) -> object:
    """JSON. Its errors must not repeat what may be secret."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None


def _ends_with_template(chain: tuple[str, ...]) -> tuple[str, ...]:
    if TEMPLATE in chain[:-1]:
        raise ValueError(f"`{TEMPLATE}` always answers: nothing may come after it")
    if len(set(chain)) != len(chain):
        raise ValueError("a model is named twice")
    return chain


def _http(value: str) -> str:
    if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
        raise ValueError("must be an address that begins with http:// or https://")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Models = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    BeforeValidator(_split),
    Field(min_length=1, max_length=16),
    AfterValidator(_ends_with_template),
]
"""Links of a chain, by name."""
Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Address = Annotated[str, AfterValidator(_http)]
Snowflakes = Annotated[tuple[Annotated[int, Field(gt=0, lt=1 << 63)], ...], BeforeValidator(_split)]
"""Ids of Discord's, written as a list."""
Folder = Annotated[Path, BeforeValidator(_without_nul)]


class TokenPrice(BaseModel):
    """What a model's tokens cost, in USD for a million."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    input: float = Field(ge=0, le=100_000)
    output: float = Field(ge=0, le=100_000)


class Provider(BaseModel):
    """Where one model of the chain lives, and what is known of it.

    Without a ``base_url`` that is where OPENAI_BASE_URL says; ``model`` is the server's name of it, if that is another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Address | None = None
    api_key: SecretStr | None = None
    model: str | None = Field(default=None, min_length=1, max_length=200)
    reasoning: bool | None = Field(default=None, description="Whether it thinks before it speaks; None: by its name.")
    capabilities: tuple[Literal["json_schema", "json_object", "text"], ...] | None = Field(
        default=None, min_length=1, max_length=3, description="How it can be asked for JSON; None: found by trying."
    )
    price: TokenPrice | None = None


class Settings(BaseModel):
    """What an operator can set. README.md and ``.env.example`` say the same; a test holds them together."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    discord_token: SecretStr | None = Field(default=None, description="The bot's token.")
    discord_proxy: Address | None = Field(default=None, description="HTTP proxy for every call to Discord.")

    openai_api_key: SecretStr | None = Field(default=None, description="Key of the OpenAI-compatible service.")
    openai_base_url: Address | None = Field(default=None, description="Address of an OpenAI-compatible service.")
    llm_chain: Models = Field(
        default=("o3", "gpt-4o", "gpt-3.5-turbo", TEMPLATE),
        description="Models in the order in which they are tried; `template` needs none.",
    )
    llm_providers: Annotated[dict[str, Provider], BeforeValidator(_parsed)] = Field(
        default={}, max_length=64, description="JSON: where models of other services live, by their names in the chain."
    )
    llm_aliases: Annotated[dict[Alias, Models], BeforeValidator(_parsed)] = Field(
        default={},
        max_length=16,
        description="JSON: chains that modes may name besides LLM_CHAIN (`smart`).",
    )
    llm_tries: int = Field(default=3, ge=1, le=10, description="How often a model is asked for one result.")
    llm_hedge_seconds: float = Field(
        default=6, ge=0, le=600, description="Silence after which the next model is asked too; 0: never."
    )
    llm_upgrade_seconds: float = Field(
        default=30, ge=0, le=600, description="How long a better model is waited for once another has answered."
    )

    whisper_model: str = Field(
        default="embedded", min_length=1, description="`embedded` (base), a faster-whisper model's name, or a folder."
    )
    whisper_device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where Whisper runs.")
    whisper_compute_type: str = Field(
        default="auto", pattern=r"^[a-z0-9_]+$", description="CTranslate2 compute type, such as int8 or float16."
    )
    whisper_concurrency: int = Field(default=1, ge=1, le=64, description="Transcriptions at the same time.")
    whisper_threads: int = Field(default=0, ge=0, le=256, description="Threads for each; 0 shares the cores out.")
    whisper_standby: int = Field(default=1, ge=0, le=8, description="Warm processes in reserve while work is done.")
    whisper_idle_minutes: float = Field(default=15, gt=0, description="The model is unloaded after idling so long.")

    redis_store_url: SecretStr | None = Field(
        default=None, description="Redis that never evicts: settings, buckets, results. Empty: a server of our own."
    )
    redis_cache_url: SecretStr | None = Field(
        default=None, description="Redis that may evict: finished work. Empty: a server of our own."
    )
    job_lanes: Annotated[tuple[Literal["interactive", "recordings", "none"], ...] | None, BeforeValidator(_split)] = (
        Field(
            default=None,
            max_length=2,
            description="Jobs that this process does: `interactive`, `recordings`; or `none`. "
            "Empty: all in the bot, none in a worker.",
        )
    )
    jobs_at_once: int = Field(default=16, ge=1, le=1_000, description="Jobs of a lane that a process does at a time.")
    spool_url: str | None = Field(
        default=None,
        description="Where workers find audio: `file:///folder` or `s3://bucket/prefix?endpoint=…&region=…`. "
        "Empty: in DATA_DIR.",
    )
    spool_access_key: SecretStr | None = Field(default=None, description="Access key of the bucket in SPOOL_URL.")
    spool_secret_key: SecretStr | None = Field(default=None, description="Secret key of the bucket in SPOOL_URL.")
    transcript_cache_hours: float = Field(default=24, gt=0, le=720, description="How long transcripts are cached.")
    completion_cache_minutes: float = Field(default=60, gt=0, le=10_080, description="How long answers are cached.")
    cache_across_guilds: bool = Field(
        default=False, description="Servers that post the same audio share its cached transcript and results."
    )

    rate_per_hour: float = Field(default=10, gt=0, le=10_000, description="Requests of a member an hour.")
    rate_burst: int = Field(default=3, ge=1, le=1_000, description="Requests of a member at once.")
    max_rate_per_hour: float = Field(default=60, gt=0, le=10_000, description="The most that moderators can allow.")
    max_rate_burst: int = Field(default=20, ge=1, le=1_000, description="The most at once that moderators can allow.")
    guild_daily_tokens: int | None = Field(default=None, ge=1, description="Requests of a whole server a day.")
    admin_mode: bool = Field(default=False, description="The users of ADMIN_IDS are not limited.")
    admin_ids: Snowflakes = Field(default=(), max_length=1_000, description="Users whom ADMIN_MODE lets free.")
    overload_wait_minutes: float = Field(
        default=10, gt=0, le=1_440, description="Expected wait from which new work is refused."
    )

    allowed_guilds: Snowflakes = Field(
        default=(), max_length=10_000, description="Servers that may use the bot; empty: all that it is in."
    )
    allow_user_install: bool = Field(
        default=False, description="Message commands also outside servers, for users who install the bot."
    )
    user_install_daily_tokens: int = Field(
        default=100, ge=1, description="Requests of all users outside servers, together, a day."
    )
    auto_transcribe: bool = Field(
        default=False, description="Moderators may have voice messages written down; needs Message Content Intent."
    )

    max_audio_mb: float = Field(default=100, gt=0, le=10_000, description="Largest file, in MiB.")
    max_audio_minutes: float = Field(default=240, gt=0, le=1_440, description="Longest audio, in minutes.")
    transcript_days: float = Field(
        default=7, gt=0, le=3_650, description="How long transcripts and results are kept, at most."
    )

    modes_dir: Folder = Field(default=Path("modes"), description="Folder of mode files.")
    data_dir: Folder = Field(
        default=Path("data"), description="Folder for the spool, and for Redis where it is our own."
    )
    models_dir: Folder = Field(default=Path(".cache/models"), description="Folder for Whisper models.")

    http_host: str = Field(default="127.0.0.1", min_length=1, description="Address of /healthz, /readyz and /metrics.")
    http_port: int = Field(
        default=8080, ge=0, le=65_535, description="Port of /healthz, /readyz and /metrics; 0 picks one."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    log_format: Literal["text", "json"] = Field(default="text", description="Log lines for people or for machines.")

    @field_validator("redis_store_url", "redis_cache_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        address = value.get_secret_value()
        if urlsplit(address).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must be an address that begins with redis://, rediss:// or unix://")
        try:
            parts = urlsplit(address)
            _ = parts.port
        except ValueError:  # its own text would repeat a part of the password
            raise ValueError("has no valid host and port; a password must be percent-encoded") from None
        if parts.fragment or not set(parse_qs(parts.query, keep_blank_values=True)) <= _REDIS_OPTIONS:
            raise ValueError(f"may have no options but {', '.join(sorted(_REDIS_OPTIONS))}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.admin_mode and not self.admin_ids:
            raise ValueError("ADMIN_MODE: is on, but ADMIN_IDS names nobody")
        if (self.redis_store_url is None) is not (self.redis_cache_url is None):
            raise ValueError("REDIS_STORE_URL, REDIS_CACHE_URL: set both, or neither")
        if self.job_lanes is not None and "none" in self.job_lanes[1:] + self.job_lanes[:-1]:
            raise ValueError("JOB_LANES: `none` stands alone")
        if self.rate_per_hour > self.max_rate_per_hour or self.rate_burst > self.max_rate_burst:
            raise ValueError("RATE_PER_HOUR, RATE_BURST: over MAX_RATE_PER_HOUR or MAX_RATE_BURST")
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read settings from ``environ``.

        Raises:
            InvalidSettings: with a line for each variable that cannot be used.
        """
        values: dict[str, str] = {}
        problems: list[str] = []
        for name, info in cls.model_fields.items():
            variable = name.upper()
            if value := environ.get(variable, "").strip():
                values[name] = value
            elif _is_secret(name, info) and (file := environ.get(f"{variable}_FILE", "").strip()):
                try:
                    values[name] = _read_secret(Path(file))
                except (OSError, ValueError) as exc:
                    problems.append(f"{variable}_FILE: {exc.strerror if isinstance(exc, OSError) else exc}")
        try:
            settings = cls.model_validate(values)
        except ValidationError as exc:
            problems += [_problem(error["loc"], error["msg"]) for error in exc.errors()]
        else:
            if not problems:
                return settings
        raise InvalidSettings("\n".join(problems)) from None

    @classmethod
    def load(cls) -> Self:
        """Read the process's environment, and below it a file ``.env`` in the working directory.

        Raises:
            InvalidSettings: with a line for each variable that cannot be used.
        """
        from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
        return cls.from_env({**from_file, **os.environ})  # noqa: TID251 - the one place

    def secrets(self) -> tuple[str, ...]:
        """Values that must never reach a log."""
        own = (self.discord_token, self.openai_api_key, self.spool_access_key, self.spool_secret_key)
        found = [secret.get_secret_value() for secret in own if secret]
        found += [provider.api_key.get_secret_value() for provider in self.llm_providers.values() if provider.api_key]
        providers = [provider.base_url for provider in self.llm_providers.values()]
        redis = [url.get_secret_value() for url in (self.redis_store_url, self.redis_cache_url) if url]
        found += [
            password
            for address in (self.discord_proxy, self.openai_base_url, *providers, *redis)
            if address and (password := urlsplit(address).password)
        ]
        return tuple(found)


def _is_secret(name: str, info: FieldInfo) -> bool:
    return name == "llm_providers" or info.annotation == SecretStr | None


def _read_secret(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"is larger than {MAX_SECRET_BYTES} bytes")
    secret = content.decode(errors="replace").strip()
    if not secret:
        raise ValueError("is empty")
    return secret


def _problem(location: tuple[int | str, ...], message: str) -> str:
    """A line for a variable; what concerns several names them itself."""
    sentence = message.removeprefix("Value error, ")
    return f"{str(location[0]).upper()}: {sentence}" if location else sentence
