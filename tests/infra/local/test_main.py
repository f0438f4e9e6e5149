"""The command line of the local bucket; the settings that it makes."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from infra.local.__main__ import command, options_of
from infra.local.options import Disorder, LocalOptions, Posting


def parsed(*argv: str) -> LocalOptions:
    return options_of(command.make_context("infra.local", [*argv]).params)


def test_without_options_the_defaults_are_those_of_the_settings() -> None:
    assert parsed() == LocalOptions()


OPTIONS = """
--bucket photos-in --bucket photos-out --bucket photos-in --notify photos-in=http://127.0.0.1:1/x?a=b
--duplicates 0.2 --reorder 0.3 --drop 0.05 --hold 0.04 --hold-seconds 3 --seed 7 --drop-superseded
--region-delay fra=1.5 --region-delay syd=2 --batch 5 --retries forever --stamps --timeout-seconds 1
--backoff-seconds 0.1 --linger-seconds 0.2 --port 9000 --listen ::1 --max-body-bytes 10
"""


def test_every_option_is_read() -> None:
    options = parsed(*OPTIONS.split())
    assert options.buckets == ("photos-in", "photos-out")
    assert {bucket: target.url for bucket, target in options.notify.items()} == {
        "photos-in": "http://127.0.0.1:1/x?a=b"
    }
    assert options.disorder == Disorder(0.2, 0.3, 0.05, 0.04, 3, 7, {"fra": 1.5, "syd": 2}, drop_superseded=True)
    assert options.posting == Posting(5, 0.2, 1, None, 0.1, stamps=True)
    assert (options.port, options.listen, options.max_body_bytes) == (9000, "::1", 10)


def test_a_filter_may_hold_an_equals_sign() -> None:
    expression = 'WHERE `key` REGEXP "^a=b"'
    options = parsed("--bucket", "abc", "--notify", "abc=http://127.0.0.1:1/", "--filter", f"abc={expression}")
    assert options.notify["abc"].filter == expression


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("--port 70000", "0<=x<=65535"),
        ("--drop 1.5", "0<=x<=1"),
        ("--hold -1", "0<=x<=1"),
        ("--hold nan", "not a number"),
        ("--hold-seconds 1e9", "0<=x<=86400"),
        ("--batch 0", "x>=1"),
        ("--retries -1", "forever"),
        ("--bucket Photos", "no bucket name"),
        ("--bucket photos --notify photos=ftp://x", "web_hook"),
        ("--bucket photos --notify photos=http://user:pass@host/", "credentials belong in auth"),
        ("--bucket photos --notify photos=http://host/ --filter photos=x", "REGEXP"),
        ("--bucket photos --filter photos=x", "give --notify"),
        ("--notify photos=http://host/", "give --bucket"),
        ("--region-delay far", "NAME=VALUE"),
        ("--region-delay far=soon", "'soon'"),
        ("--region-delay f_r=1", "no region name"),
        ("--listen example.com", "no IP address"),
    ],
)
def test_a_wrong_option_is_refused_with_a_reason(argv: str, reason: str) -> None:
    result = CliRunner().invoke(command, argv.split())
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_wrong_webhook_is_refused_without_showing_its_token() -> None:
    argv = ["--bucket", "abc", "--notify", "abc=ftp://127.0.0.1:9/"]
    result = CliRunner().invoke(command, argv, env={"YURT_NOTIFY_TOKEN": "s3cret"})
    assert result.exit_code == 2
    assert "web_hook" in result.stderr
    assert "s3cret" not in result.output


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(command, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use. Give another --port" in result.output


def test_help_names_every_option() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    for option in ("--region-delay", "--duplicates", "--reorder", "--drop", "--hold-seconds", "--batch", "--seed"):
        assert option in result.stdout
