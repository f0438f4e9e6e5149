"""``yurt setup`` against the local bucket, which has the notification calls of Tigris."""

from __future__ import annotations

from botocore.exceptions import ClientError

from tests.webhook.cli.shell import Shell


def test_setup_shows_first_and_changes_nothing(shell: Shell) -> None:
    result = shell.yurt("setup", "--url", "https://yurt.example.com")
    assert result.returncode == 0, result.stderr
    assert "https://yurt.example.com/v1/notifications/tigris" in result.stdout
    assert "Nothing was changed" in result.stdout
    assert shell.stack.keys.webhook not in result.stdout
    assert shell.yurt("setup", "--url", "https://other.example.com").stdout.count(f"now:   {shell.stack.url}") == 1


def test_setup_sets_the_notifications_and_reads_them_back(shell: Shell) -> None:
    url = shell.stack.url
    result = shell.yurt("setup", "--url", url, "--yes")
    assert result.returncode == 0, result.stderr
    assert "read back as planned" in result.stdout
    assert 'REGEXP \\"^uploads/\\"' in result.stdout


def test_setup_needs_to_know_where_the_store_reaches_it(shell: Shell) -> None:
    result = shell.yurt("setup")
    assert result.returncode == 2
    assert "server.public_url" in result.stderr


def test_a_secret_that_the_control_plane_does_not_take_is_not_given_to_the_store(shell: Shell) -> None:
    url = shell.stack.url
    result = shell.yurt("setup", "--url", url, "--yes", YURT_WEBHOOK_SECRETS="a secret of another time")
    assert result.returncode == 1
    assert "does not take this secret" in result.stderr
    assert "another time" not in result.stdout + result.stderr
    assert "read back" not in result.stdout


def test_a_control_plane_that_cannot_be_tried_from_here_is_said(shell: Shell) -> None:
    result = shell.yurt("setup", "--url", "http://127.0.0.1:1")
    assert result.returncode == 0
    assert "could not be tried from here" in result.stdout


ORIGIN = "https://app.example.com"


def cors_origins(shell: Shell, bucket: str) -> list[str]:
    try:
        rules = shell.stack.s3().get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError:
        return []
    return [origin for rule in rules for origin in rule["AllowedOrigins"]]


def test_cors_is_left_as_it_is_unless_asked(shell: Shell) -> None:
    before = cors_origins(shell, "photos-in")
    result = shell.yurt("setup", "--url", shell.stack.url, "--yes")
    assert result.returncode == 0, result.stderr
    assert "CORS rules set" not in result.stdout
    assert "Bucket photos-in, present CORS rules: " in result.stdout
    assert cors_origins(shell, "photos-in") == before


def test_cors_is_shown_first_then_set_beside_other_rules(shell: Shell) -> None:
    theirs = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"]}
    shell.stack.s3().put_bucket_cors(Bucket="photos-out", CORSConfiguration={"CORSRules": [theirs]})
    shown = shell.yurt("setup", "--url", shell.stack.url, "--cors-origin", ORIGIN)
    assert shown.returncode == 0, shown.stderr
    assert f"add    GET, HEAD, POST, PUT from {ORIGIN}" in shown.stdout
    assert "keep   GET from https://other.example" in shown.stdout
    assert cors_origins(shell, "photos-out") == ["https://other.example"]
    result = shell.yurt("setup", "--url", shell.stack.url, "--cors-origin", ORIGIN, "--yes")
    assert result.returncode == 0, result.stderr
    assert cors_origins(shell, "photos-out") == ["https://other.example", ORIGIN]
    assert cors_origins(shell, "photos-in") == [ORIGIN]
    assert "(as they are)" in shell.yurt("setup", "--url", shell.stack.url, "--cors-origin", ORIGIN).stdout


def test_what_is_no_origin_is_refused_before_anything_is_set(shell: Shell) -> None:
    result = shell.yurt("setup", "--url", shell.stack.url, "--cors-origin", "app.example.com", "--yes")
    assert result.returncode == 2
    assert "'app.example.com' is no origin" in result.stderr
    assert "read back" not in result.stdout


def test_abandoned_uploads_are_removed_by_a_rule(shell: Shell) -> None:
    s3 = shell.stack.s3()
    shown = shell.yurt("setup", "--url", shell.stack.url)
    assert "Bucket photos-in: abandoned multipart uploads are removed after 7 days" in shown.stdout
    result = shell.yurt("setup", "--url", shell.stack.url, "--yes")
    assert result.returncode == 0, result.stderr
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket="photos-in")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert "7 days (as it is)" in shell.yurt("setup", "--url", shell.stack.url).stdout
