from __future__ import annotations

from pathlib import Path

import pytest

from workers.settings import Settings, SettingsError

TOKEN = "one-time-token-0123456789"
GOOD = {"YURT_URL": "https://yurt.example", "YURT_TOKEN": TOKEN}


def test_url_and_token_are_enough() -> None:
    settings = Settings.take(dict(GOOD))
    assert (settings.url, settings.token, settings.label, settings.log) == (GOOD["YURT_URL"], TOKEN, "", "json")
    assert settings.work_dir.is_dir()


def test_the_token_is_gone_from_the_environment_and_from_what_is_printed() -> None:
    environ = dict(GOOD)
    settings = Settings.take(environ)
    assert "YURT_TOKEN" not in environ
    assert TOKEN not in repr(settings)


def test_the_token_is_gone_even_when_something_else_is_wrong() -> None:
    environ = {"YURT_TOKEN": TOKEN}
    with pytest.raises(SettingsError):
        Settings.take(environ)
    assert environ == {}


def test_a_work_folder_is_made(tmp_path: Path) -> None:
    settings = Settings.take(GOOD | {"YURT_WORK_DIR": str(tmp_path / "a" / "b")})
    assert settings.work_dir == tmp_path / "a" / "b"
    assert settings.work_dir.stat().st_mode & 0o777 == 0o700


def test_a_path_in_the_url_is_kept() -> None:
    assert Settings.take(GOOD | {"YURT_URL": "http://[::1]:80/yurt/"}).url == "http://[::1]:80/yurt"


def test_plain_http_to_another_machine_has_to_be_allowed() -> None:
    there = GOOD | {"YURT_URL": "http://control-plane:8080"}
    with pytest.raises(SettingsError, match=r"plain http.*YURT_ALLOW_HTTP=1"):
        Settings.take(dict(there))
    assert Settings.take(there | {"YURT_ALLOW_HTTP": "1"}).url == "http://control-plane:8080"
    assert Settings.take(GOOD | {"YURT_URL": "http://127.0.0.1:8080"}).url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("YURT_ALLOW_HTTP", "yes"),
        ("YURT_URL", "http://192.0.2.1:8080"),
        ("YURT_URL", ""),
        ("YURT_URL", "yurt.example"),
        ("YURT_URL", "ftp://yurt.example"),
        ("YURT_URL", "https://"),
        ("YURT_URL", "https://yurt.example:port"),
        ("YURT_URL", "https://yurt.example:99999"),
        ("YURT_URL", "https://[yurt.example"),
        ("YURT_URL", "https://user@yurt.example"),
        ("YURT_URL", "https://yurt.example?a=b"),
        ("YURT_URL", "https://yurt.example/#a"),
        ("YURT_URL", "https://yurt.example/\n"),
        ("YURT_URL", "https://yurt.example/" + "a" * 2_000),
        ("YURT_TOKEN", ""),
        ("YURT_TOKEN", "short"),
        ("YURT_TOKEN", TOKEN + "\n"),
        ("YURT_TOKEN", f'"{TOKEN}"'),
        ("YURT_TOKEN", "a" * 513),
        ("YURT_LABEL", "a b"),
        ("YURT_LABEL", "a" * 101),
        ("YURT_LOG", "yaml"),
        ("YURT_WORK_DIR", "/dev/null/folder"),
        ("YURT_CACHE_DIR", "/dev/null/folder"),
        ("YURT_CACHE_BYTES", "10 GB"),
        ("YURT_CACHE_BYTES", "-1"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.take(GOOD | {name: value})
    message = str(raised.value)
    assert message.startswith(f"{name} ")
    assert "\n" not in message
    assert len(message) < 200
    assert TOKEN not in message


def test_the_handlers_folder_has_to_be_there(tmp_path: Path) -> None:
    environ = {"YURT_URL": "https://yurt", "YURT_TOKEN": "t" * 20, "YURT_HANDLERS": str(tmp_path / "typo")}
    with pytest.raises(SettingsError, match=r"YURT_HANDLERS .* is no folder"):
        Settings.take(dict(environ))
    assert Settings.take({**environ, "YURT_HANDLERS": str(tmp_path)}).handlers == tmp_path


def test_the_cache_lies_with_the_users_others(tmp_path: Path) -> None:
    def cache(**environ: str) -> Path:
        return Settings.take({**GOOD, "YURT_WORK_DIR": str(tmp_path / "work"), **environ}).cache_dir

    assert cache(HOME=str(tmp_path)) == tmp_path / ".cache" / "yurt" / "models"
    assert cache(HOME=str(tmp_path), XDG_CACHE_HOME="/var/cache/me") == Path("/var/cache/me/yurt/models")
    assert cache(HOME=str(tmp_path), YURT_CACHE_DIR=str(tmp_path / "mount")) == tmp_path / "mount" / "models"
    for nowhere in ({}, {"HOME": "/nowhere"}, {"HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert cache(**nowhere) == tmp_path / "work" / "yurt-cache" / "models"


def test_the_limit_of_the_cache() -> None:
    assert Settings.take(dict(GOOD)).cache_bytes is None
    assert Settings.take({**GOOD, "YURT_CACHE_BYTES": "0"}).cache_bytes == 0
    assert Settings.take({**GOOD, "YURT_CACHE_BYTES": "20000000000"}).cache_bytes == 20_000_000_000
