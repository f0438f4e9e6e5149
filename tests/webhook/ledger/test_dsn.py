"""DATABASE_URL as providers and other clients print it."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.ledger.dsn import DsnError, parse

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("postgresql://u:p%40%2Fs@h/db", {"user": "u", "password": "p@/s", "host": ["h"], "port": [5432]}),
        ("postgres://u:p@s@h:5433/db\n", {"password": "p@s", "port": [5433], "database": "db"}),
        ("postgresql+asyncpg://u@h/db", {"user": "u", "password": None}),
        ("postgresql+psycopg2://u@/db?host=/cloudsql/a:b:c", {"host": ["/cloudsql/a:b:c"]}),
        ("postgresql:///db?host=%2Ftmp%2Fx&user=me", {"host": ["/tmp/x"], "user": "me", "database": "db"}),
        ("postgresql://u@%2Fvar%2Frun/db", {"host": ["/var/run"]}),
        ("postgresql://u@[::1]:6000/db", {"host": ["::1"], "port": [6000]}),
        ("postgresql://u@a:1,b:2/db", {"host": ["a", "b"], "port": [1, 2], "target_session_attrs": "read-write"}),
        ("postgresql://u@a,b/db?port=7&target_session_attrs=any", {"port": [7, 7], "target_session_attrs": "any"}),
        ("postgresql://u@h/db?sslmode=require", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u@h/db?ssl=true", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u@h/db?sslmode=no-verify", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u@h/db?schema=s", {"server_settings": {"search_path": "s", "application_name": "yurt"}}),
        ("postgresql://u@h/db?application_name=a", {"server_settings": {"application_name": "a"}}),
        ("postgresql://u@h/d?options=-c%20x", {"server_settings": {"options": "-c x", "application_name": "yurt"}}),
    ],
)
def test_what_is_taken(text: str, options: dict[str, object]) -> None:
    found = parse(text).options
    assert {name: found[name] for name in options} == options


@pytest.mark.parametrize(
    "parameter",
    [
        "channel_binding=require", "keepalives=1", "keepalives_idle=30", "tcp_user_timeout=5", "gssencmode=disable",
        "pgbouncer=true", "connection_limit=1", "pool_timeout=20", "supa=base-pooler.x", "uselibpqcompat=true",
        "prepareThreshold=0", "serverVersion=16", "charset=utf8", "sslaccept=strict",
    ],
)  # fmt: skip
def test_what_is_left_out_is_named(parameter: str) -> None:
    assert parse(f"postgresql://u@h/db?{parameter}").left_out == (parameter.partition("=")[0],)


@pytest.mark.parametrize(("text", "seconds"), [("", 3), ("?connect_timeout=10", 10), ("?connect_timeout=0", 60)])
def test_the_time_to_connect(text: str, seconds: float) -> None:
    assert parse(f"postgresql://u@h/db{text}").connect_seconds == seconds


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"mysql://u:{SECRET}@h/db", "postgresql://"),
        (f"host=h password={SECRET}", "postgresql://"),
        (f"'postgresql://u:{SECRET}@h/db'", "quotation mark"),
        (f"postgresql://u:{SECRET}#x@h/db", "#"),
        (f"postgresql://u:{SECRET}/x@h/db", "%2F"),
        (f"postgresql://u:a@b/{SECRET}@h/db", "%2F"),
        (f"postgresql://u:1?{SECRET}=1@h/db", "%3F"),
        (f"postgresql://u:{SECRET}@h:port/db", "port"),
        (f"postgresql://u:{SECRET}@h:99999/db", "port"),
        (f"postgresql://u:{SECRET}@a..b/db", "host"),
        (f"postgresql://u:{SECRET}@h/db?sslmod=verify-full", "sslmod"),
        (f"postgresql://u:{SECRET}@h/db?require_auth=none", "require_auth"),
        (f"postgresql://u:{SECRET}@h/db?sslmode=maybe", "sslmode"),
        (f"postgresql://u:{SECRET}@h/db?sslrootcert=/nowhere", "sslrootcert"),
        (f"postgresql://u:{SECRET}@h/db?connect_timeout=soon", "connect_timeout"),
        (f"postgresql://u:{SECRET}@h/db?target_session_attrs=standby", "target_session_attrs"),
        (f"postgresql://u:{SECRET}@h/db?broken", "cannot be read"),
        (f"postgresql://u:{SECRET}@[::1/db", "host"),
    ],
)
def test_what_is_refused_is_named_in_one_line_without_the_password(text: str, word: str) -> None:
    with pytest.raises(DsnError) as refused:
        parse(text)
    message = str(refused.value)
    assert word in message
    assert message.startswith("DATABASE_URL")
    assert SECRET not in message
    assert "\n" not in message


def test_the_password_is_in_no_representation() -> None:
    assert SECRET not in repr(parse(f"postgresql://u:{SECRET}@h/db"))


def test_a_user_without_a_name_has_to_be_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("PGUSER", raising=False)
    monkeypatch.setattr("getpass.getuser", unknown)
    with pytest.raises(DsnError, match="names no user"):
        parse("postgresql://h/db")
    assert parse("postgresql://u@h/db").options["user"] == "u"


def test_certificates_of_the_system(tmp_path: Path) -> None:
    assert parse("postgresql://u@h/db?sslrootcert=system").options["ssl"].check_hostname
    own = tmp_path / "root.crt"
    own.touch()
    assert str(own.name) in parse(f"postgresql://u@h/db?sslmode=verify-ca&sslrootcert={own}").options["dsn"]
    with pytest.raises(DsnError, match="verify-full"):
        parse("postgresql://u@h/db?sslrootcert=system&sslmode=require")
