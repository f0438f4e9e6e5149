"""``yurt check``: each check, and the advice where it fails."""

from __future__ import annotations

import httpx

from tests.webhook.cli.shell import CONFIG, Shell


def test_all_is_well(shell: Shell) -> None:
    result = shell.yurt("check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "conditions are honoured" in result.stdout
    assert "✗" not in result.stdout
    listed = shell.stack.s3().list_objects_v2(Bucket="photos-out").get("Contents", [])
    assert not [item["Key"] for item in listed if "yurt-check" in item["Key"]], "the probe was not deleted"


def test_missing_credentials_say_what_to_set(shell: Shell) -> None:
    result = shell.yurt("check", AWS_SECRET_ACCESS_KEY="", YURT_WEBHOOK_SECRETS="")
    assert result.returncode == 1
    assert "AWS_SECRET_ACCESS_KEY is not set" in result.stdout
    assert "YURT_WEBHOOK_SECRETS is not set" in result.stdout


def test_missing_bucket(shell: Shell) -> None:
    (shell.folder / "elsewhere.toml").write_text(CONFIG.replace("photos-in", "no-such-bucket"))
    result = shell.yurt("check", "--config", "elsewhere.toml")
    assert result.returncode == 1
    assert "there is no bucket 'no-such-bucket'" in result.stdout


def test_store_refusing_writes(shell: Shell) -> None:
    fault = {"method": "PUT", "key_prefix": "results/", "status": 403, "times": 1}
    httpx.post(f"{shell.stack.endpoint}/_yurt/faults", json=fault).raise_for_status()
    result = shell.yurt("check")
    assert result.returncode == 1
    assert "refuses access" in result.stdout
    assert "The keys must be allowed to read, write and delete there" in result.stdout


def test_unreachable_database_shows_no_password(shell: Shell) -> None:
    result = shell.yurt("check", DATABASE_URL="postgresql://yurt:hunter2hunter2@127.0.0.1:1/yurt")
    assert result.returncode == 1
    assert "DATABASE_URL" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr


def test_malformed_database_url_shows_no_password(shell: Shell) -> None:
    result = shell.yurt("check", DATABASE_URL="postgres//yurt:hunter2hunter2@nowhere")
    assert result.returncode == 1
    assert "hunter2" not in result.stdout + result.stderr


def test_wrong_configuration_names_field_and_relation(shell: Shell) -> None:
    (shell.folder / "loop.toml").write_text(CONFIG.replace("s3://photos-out/results/", "s3://photos-in/uploads/done/"))
    result = shell.yurt("check", "--config", "loop.toml")
    assert result.returncode == 1
    assert "pipelines.photos.output" in result.stdout
    assert "every result would be a new input" in result.stdout.replace("\n", " ")


def test_the_way_of_a_notification_is_tried(shell: Shell) -> None:
    shell.notify_of_all_keys()  # `yurt setup` sets a filter
    config = CONFIG.replace('"127.0.0.1:0"', f'"127.0.0.1:0"\npublic_url = "{shell.stack.url}"')
    (shell.folder / "public.toml").write_text(config)
    (shell.folder / "public.secrets").write_text("")
    result = shell.yurt("check", "--config", "public.toml")
    output = " ".join(result.stdout.split())
    assert "notifications of photos-in: filter is '' instead of" in output
    assert "an empty notification to" in output
    other = shell.yurt("check", "--config", "public.toml", YURT_WEBHOOK_SECRETS="a secret of another time")
    assert other.returncode == 1
    assert "does not take this secret" in " ".join(other.stdout.split())


def test_each_provider_of_a_pool_is_asked(shell: Shell) -> None:
    pools = CONFIG.replace('provider = "none"', 'provider = "here"\nmax_usd_per_hour = 0.6\nbudget_usd_per_day = 0.1')
    (shell.folder / "here.toml").write_text(f'{pools}\n[providers.here]\nkind = "local"\n')
    result = shell.yurt("check", "--config", "here.toml", COLUMNS="200")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "✓ provider here: workers are processes on this machine" in result.stdout
    assert "! pool local: pools.local.budget_usd_per_day (0.1) is less than a machine" in result.stdout
