from __future__ import annotations

import pytest

from infra.local.options import Disorder, Posting, parse, token_for


def test_nothing_given_is_orderly_and_on_loopback() -> None:
    options = parse([])
    assert (options.listen, options.port, options.buckets) == ("127.0.0.1", 0, ())
    assert options.disorder == Disorder()
    assert options.posting == Posting()


KNOBS = """
--bucket photos-in --bucket photos-out --bucket photos-in --notify photos-in=http://127.0.0.1:1/x?a=b
--duplicates 0.2 --reorder 0.3 --drop 0.05 --hold 0.04 --hold-seconds 3 --seed 7 --drop-superseded
--region-delay fra=1.5 --region-delay syd=2 --batch 5 --retries forever --stamps --timeout-seconds 1
--backoff-seconds 0.1 --linger-seconds 0.2 --port 9000 --listen ::1 --max-body-bytes 10
"""


def test_every_knob_is_read() -> None:
    options = parse(KNOBS.split())
    assert options.buckets == ("photos-in", "photos-out")
    assert [(bucket, it.url) for bucket, it in options.notify.items()] == [("photos-in", "http://127.0.0.1:1/x?a=b")]
    assert options.disorder == Disorder(0.2, 0.3, 0.05, 0.04, 3, 7, {"fra": 1.5, "syd": 2}, drop_superseded=True)
    assert options.posting == Posting(5, 0.2, 1, None, 0.1, stamps=True)
    assert (options.port, options.listen, options.max_body_bytes) == (9000, "::1", 10)


def test_a_filter_may_hold_an_equals_sign() -> None:
    expression = 'WHERE `key` REGEXP "^a=b"'
    arguments = ["--bucket", "abc", "--notify", "abc=http://127.0.0.1:1/", "--filter", f"abc={expression}"]
    assert parse(arguments).notify["abc"].filter == expression


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--port 70000", "0 to 65535"),
        ("--drop 1.5", "from 0 to 1"),
        ("--hold -1", "from 0 to 1"),
        ("--hold-seconds 1e9", "86400"),
        ("--batch 0", "1 or more"),
        ("--retries -1", "forever"),
        ("--bucket Photos", "no bucket name"),
        ("--bucket photos --notify photos=ftp://x", "web_hook"),
        ("--bucket photos --notify photos=http://user:pass@host/", "credentials belong in auth"),
        ("--bucket photos --notify photos=http://host/ --filter photos=x", "REGEXP"),
        ("--bucket photos --filter photos=x", "give --notify"),
        ("--notify photos=http://host/", "give --bucket"),
        ("--region-delay far", "NAME=VALUE"),
        ("--region-delay f_r=1", "no region name"),
        ("--listen example.com", "no IP address"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_buckets_own_token_goes_before_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_NOTIFY_TOKEN", "for-all")
    monkeypatch.setenv("YURT_NOTIFY_TOKEN_PHOTOS_IN", "its-own")
    assert token_for("photos-in") == "its-own"
    assert token_for("photos-out") == "for-all"
    monkeypatch.delenv("YURT_NOTIFY_TOKEN")
    assert token_for("photos-out") is None
