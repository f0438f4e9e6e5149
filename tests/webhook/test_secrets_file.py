"""The file of secrets beside a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.config_faults import ConfigError
from webhook.secrets_file import secrets, secrets_file

HIDDEN = "hidden-value"


pytestmark = pytest.mark.usefixtures("empty_environment")


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    return tmp_path / "yurt.toml"


def write(config_path: Path, text: str) -> None:
    secrets_file(config_path).write_text(text, encoding="utf-8")


def test_it_lies_beside_the_configuration(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secrets_file(config_path) == config_path.with_name("yurt.secrets")
    assert secrets_file(config_path.with_name("prod.toml")).name == "prod.secrets"
    monkeypatch.setenv("YURT_SECRETS_FILE", "/run/yurt")
    assert secrets_file(config_path) == Path("/run/yurt")


def test_its_lines_are_read_and_the_environment_wins(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        config_path,
        "# comment\n\nYURT_ADMIN_TOKEN=from-the-file-00\nexport AWS_REGION='fra'\n"
        "DATABASE_URL=postgresql://a:b#c$d@host/name\nAWS_ACCESS_KEY_ID=\n",
    )
    monkeypatch.setenv("AWS_REGION", "sin")
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "")
    read = secrets(config_path)
    assert read.yurt_admin_token.get_secret_value() == "from-the-file-00"  # an empty variable is not set
    assert read.aws_region == "sin"
    assert read.database_url.get_secret_value() == "postgresql://a:b#c$d@host/name"
    assert read.aws_access_key_id.get_secret_value() == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"YURT_ADMIN_TOKN={HIDDEN}", "line 2: YURT_ADMIN_TOKN is no secret of Yurt: did you mean YURT_ADMIN_TOKEN?"),
        (f"PASSWORD={HIDDEN}", "line 2: PASSWORD is no secret of Yurt: there are: "),
        (f"YURT_ADMIN_TOKEN: {HIDDEN}", "line 2: has to be of the form NAME=value"),
        (HIDDEN, "line 2: has to be of the form NAME=value"),
        (f"AWS_ENDPOINT_URL_S3=ftp://{HIDDEN}", "AWS_ENDPOINT_URL_S3: has to be of the form https://host"),
    ],
)
def test_a_line_that_would_be_ignored_is_named_without_its_value(config_path: Path, line: str, says: str) -> None:
    write(config_path, f"# secrets\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        secrets(config_path)
    assert says in str(caught.value)
    assert "yurt.secrets" in str(caught.value)
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "short", "long"),
    [
        ("YURT_ADMIN_TOKEN", "fifteen-letters", "sixteen--letters"),
        ("YURT_WEBHOOK_SECRETS", "sixteen--letters,fifteen-letters", "sixteen--letters,other-16-letters"),
        ("YURT_WEBHOOK_SECRETS", "a-long-user-name:fifteen-letters", "u:sixteen--letters"),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused_with_the_way_to_make_one(
    config_path: Path, variable: str, short: str, long: str
) -> None:
    write(config_path, f"{variable}={long}\n")
    secrets(config_path)
    write(config_path, f"{variable}={short}\n")
    with pytest.raises(ConfigError, match=rf"{variable}: .* fewer than 16 .* `openssl rand -hex 32`") as caught:
        secrets(config_path)
    assert short not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_file(config_path).write_bytes(b"YURT_ADMIN_TOKEN=\xff")
    with pytest.raises(ConfigError, match=r"yurt\.secrets cannot be read: it is not UTF-8"):
        secrets(config_path)
    monkeypatch.setenv("YURT_SECRETS_FILE", "/no/such/file")
    with pytest.raises(ConfigError, match="YURT_SECRETS_FILE names /no/such/file, which does not exist"):
        secrets(config_path)
