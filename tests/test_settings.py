from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.settings import InvalidSettings, Settings

ROOT = Path(__file__).parents[1]
VARIABLES = [name.upper() for name in Settings.model_fields]


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_env({})
    assert settings.discord_token is None
    assert settings.llm_chain == ("o3", "gpt-4o", "gpt-3.5-turbo", "template")
    assert settings.whisper_model == "embedded"


def test_values_are_read_and_empty_ones_are_not_set() -> None:
    settings = Settings.from_env({"LLM_CHAIN": " llama3 , template ", "MAX_AUDIO_MB": "5", "HTTP_PORT": "", "X": "y"})
    assert settings.llm_chain == ("llama3", "template")
    assert settings.max_audio_mb == 5
    assert settings.http_port == 8080


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_AUDIO_MB", "-1"),
        ("MAX_AUDIO_MB", "many"),
        ("MAX_AUDIO_MB", "nan"),
        ("HTTP_PORT", "70000"),
        ("LLM_CHAIN", "template,gpt-4o"),
        ("LLM_CHAIN", "a,a"),
        ("LLM_CHAIN", ","),
        ("LLM_PROVIDERS", '{"a": "sk-secret"'),
        ("LLM_PROVIDERS", '["sk-secret"]'),
        ("LLM_PROVIDERS", '{"a": {"base_url": "ftp://secret-host/v1"}}'),
        ("LLM_PROVIDERS", '{"a": {"base_url": "http://host/v1", "api-key": "sk-secret"}}'),
        ("LLM_PROVIDERS", "[" * 100_000),
        ("LLM_PROVIDERS", '{"a": {"capabilities": []}}'),
        ("LLM_PROVIDERS", '{"a": {"capabilities": ["telepathy"]}}'),
        ("LLM_PROVIDERS", '{"a": {"price": {"input": 2.5}}}'),
        ("LLM_PROVIDERS", '{"a": {"price": {"input": -1, "output": 2}}}'),
        ("LLM_PROVIDERS", '{"a": {"price": {"input": NaN, "output": 2}}}'),
        ("LLM_ALIASES", '{"fast": []}'),
        ("LLM_ALIASES", '{"fast": ["template", "gpt-4o"]}'),
        ("LLM_ALIASES", '{"Not an alias": ["gpt-4o"]}'),
        ("LLM_HEDGE_SECONDS", "-1"),
        ("LLM_TRIES", "0"),
        ("OPENAI_BASE_URL", "file:///etc/passwd"),
        ("DISCORD_PROXY", "localhost:8080"),
        ("WHISPER_DEVICE", "toaster"),
        ("WHISPER_COMPUTE_TYPE", "int8; rm"),
        ("DATA_DIR", "a\0b"),
        ("LOG_LEVEL", "loud"),
        ("REDIS_STORE_URL", "http://user:secret@host"),
        ("REDIS_CACHE_URL", "redis://:pa/ss@host:6379"),
        ("REDIS_CACHE_URL", "redis://host/0?socket_timeout=9"),
        ("REDIS_CACHE_URL", "redis://host/0?password=hidden"),
        ("RATE_BURST", "0"),
        ("RATE_PER_HOUR", "inf"),
        ("ADMIN_IDS", "1,two"),
        ("ALLOWED_GUILDS", "-5"),
        ("ALLOWED_GUILDS", "99999999999999999999"),
        ("GUILD_DAILY_TOKENS", "0"),
    ],
)
def test_a_bad_value_is_named_and_never_shown(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({variable: value})
    assert str(caught.value).startswith(f"{variable}: ")
    if len(value) > 3:
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ADMIN_MODE": "true"}, "ADMIN_IDS names nobody"),
        ({"REDIS_STORE_URL": "redis://localhost"}, "set both, or neither"),
        ({"RATE_PER_HOUR": "100"}, "over MAX_RATE_PER_HOUR"),
        ({"RATE_BURST": "50"}, "over MAX_RATE_PER_HOUR or MAX_RATE_BURST"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        Settings.from_env(given)


def test_ids_are_a_list() -> None:
    settings = Settings.from_env({"ADMIN_MODE": "yes", "ADMIN_IDS": " 12, 34 ", "ALLOWED_GUILDS": "56"})
    assert (settings.admin_ids, settings.allowed_guilds) == ((12, 34), (56,))


def test_every_bad_value_has_a_line() -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"HTTP_PORT": "x", "MAX_AUDIO_MINUTES": "0"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    settings = Settings.from_env({"DISCORD_TOKEN_FILE": str(file)})
    assert settings.discord_token is not None
    assert settings.discord_token.get_secret_value() == "from-a-file"


@pytest.mark.parametrize("content", [b"", b" \n", b"x" * 20_000])
def test_a_secret_file_that_cannot_be_one_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InvalidSettings, match="DISCORD_TOKEN_FILE"):
        Settings.from_env({"DISCORD_TOKEN_FILE": str(file)})


def test_a_missing_secret_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="DISCORD_TOKEN_FILE: No such file"):
        Settings.from_env({"DISCORD_TOKEN_FILE": str(tmp_path / "none")})


def test_secrets_do_not_show() -> None:
    settings = Settings.from_env(
        {
            "DISCORD_TOKEN": "tok-123456",
            "OPENAI_API_KEY": "sk-abcdef",
            "DISCORD_PROXY": "http://me:pass-word@proxy:1",
            "REDIS_STORE_URL": "redis://:store-word@redis:1",
            "REDIS_CACHE_URL": "redis://:cache-word@redis:2",
            "SPOOL_ACCESS_KEY": "access-word",
            "SPOOL_SECRET_KEY": "secret-word",
        }
    )
    assert "store-word" not in repr(settings)
    assert "secret-word" not in repr(settings)
    assert "tok-123456" not in repr(settings)
    assert "sk-abcdef" not in repr(settings)
    assert set(settings.secrets()) == {"tok-123456", "sk-abcdef", "pass-word", "store-word", "cache-word"} | {
        "access-word",
        "secret-word",
    }


@pytest.mark.parametrize(
    ("given", "lanes"),
    [
        ("", None),
        ("none", ("none",)),
        ("interactive", ("interactive",)),
        ("recordings, interactive", ("recordings", "interactive")),
    ],
)
def test_lanes_are_a_list(given: str, lanes: tuple[str, ...] | None) -> None:
    assert Settings.from_env({"JOB_LANES": given}).job_lanes == lanes


@pytest.mark.parametrize("given", ["none, interactive", "interactive, none", "everything", "a, b, c"])
def test_lanes_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(InvalidSettings, match="JOB_LANES"):
        Settings.from_env({"JOB_LANES": given})


@pytest.mark.parametrize("document", ["README.md", ".env.example"])
def test_every_setting_is_documented(document: str) -> None:
    words = set(re.findall(r"[A-Z][A-Z_]+", (ROOT / document).read_text()))
    assert set(VARIABLES) - words == set()


def test_the_example_is_valid_and_its_values_are_the_defaults() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"^#?[A-Z_]+=", line))
    settings = Settings.from_env(given)
    for variable, value in given.items():
        if value and variable.lower() in Settings.model_fields:
            field = variable.lower()
            assert getattr(settings, field) == getattr(Settings.from_env({}), field), variable


def test_providers_and_their_keys() -> None:
    given = {"LLM_PROVIDERS": '{"local": {"base_url": "http://me:pass-word@host/v1", "api_key": "key-word"}}'}
    settings = Settings.from_env(given)
    assert str(settings.llm_providers["local"].base_url).endswith("host/v1")
    assert "key-word" not in repr(settings)
    assert set(settings.secrets()) == {"key-word", "pass-word"}


def test_what_an_operator_knows_of_a_model_needs_no_address() -> None:
    known = '{"o3": {"capabilities": ["json_object", "text"], "price": {"input": 2, "output": 8.5}}}'
    provider = Settings.from_env({"LLM_PROVIDERS": known}).llm_providers["o3"]
    assert (provider.base_url, provider.capabilities) == (None, ("json_object", "text"))
    assert provider.price is not None
    assert (provider.price.input, provider.price.output) == (2, 8.5)


def test_providers_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "providers"
    file.write_text('{"local": {"base_url": "http://host/v1"}}')
    assert "local" in Settings.from_env({"LLM_PROVIDERS_FILE": str(file)}).llm_providers


def test_aliases_are_lists_or_written_as_such() -> None:
    settings = Settings.from_env({"LLM_ALIASES": '{"fast": ["a", "template"], "careful": "b, c"}'})
    assert settings.llm_aliases == {"fast": ("a", "template"), "careful": ("b", "c")}
