"""The configuration: what is refused, and that the refusal names the field, the relation, and no secret."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from webhook.config import Config, Pipeline
from webhook.config_faults import ConfigError
from webhook.config_file import load
from webhook.pool_settings import WISH_SECONDS, Pool
from webhook.secret_settings import Secrets
from webhook.secrets_file import secrets
from workers.handlers.registry import options_model

SAMPLE = Path(__file__).parents[2] / "yurt.toml"
ONE = '[pipelines.photos]\ninput = "s3://photos-in/up/"\noutput = "s3://photos-out/"\n'
Load = Callable[[str], Config]


pytestmark = pytest.mark.usefixtures("empty_environment")


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def load_text(text: str) -> Config:
        path = tmp_path / "yurt.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, options_model)

    return load_text


def refused(loaded: Load, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return str(caught.value)


def test_the_sample_is_valid() -> None:
    config = load(SAMPLE, options_model)
    assert config.pipelines["photos"].input.bucket == "photos-in"
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)


def test_one_pipeline_is_enough(loaded: Load) -> None:
    config = loaded(ONE)
    pipeline = config.pipelines["photos"]
    assert (str(pipeline.input), str(pipeline.output)) == ("s3://photos-in/up/", "s3://photos-out/")
    assert pipeline.handler_limits.cpu_seconds == pipeline.handler_limits.wall_seconds == pipeline.timeout_seconds
    assert set(config.pools) == {"local"}


def test_suffixes_have_no_case_and_limits_of_the_handler_are_told(loaded: Load) -> None:
    text = ONE + 'suffixes = [".JPG"]\nlimits = {cpu_seconds = 7, memory_bytes = 100000000}\n'
    pipeline = loaded(text).pipelines["photos"]
    assert pipeline.suffixes == (".jpg",)
    assert (pipeline.handler_limits.cpu_seconds, pipeline.handler_limits.memory_bytes) == (7, 100_000_000)


# ── one field ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("attempts = 0", "pipelines.photos.attempts: Input should be greater than or equal to 1"),
        ("store_attempts = 0", "pipelines.photos.store_attempts: Input should be greater than or equal to 1"),
        ("absent_checks = 0", "pipelines.photos.absent_checks: Input should be greater than or equal to 1"),
        ("timeout_seconds = 0", "pipelines.photos.timeout_seconds: Input should be greater than 0"),
        ("timeout_seconds = -1", "pipelines.photos.timeout_seconds: Input should be greater than 0"),
        ("timeout_seconds = nan", "pipelines.photos.timeout_seconds: Input should be"),
        ("lease_seconds = inf", "pipelines.photos.lease_seconds: Input should be less than or equal to 604800"),
        ("backoff_seconds = 0", "pipelines.photos.backoff_seconds: Input should be greater than 0"),
        (
            "limits = {memory_bytes = 0}",
            "pipelines.photos.limits.memory_bytes: Input should be greater than or equal to 6",
        ),
        (
            "limits = {input_bytes = 0}",
            "pipelines.photos.limits.input_bytes: Input should be greater than or equal to 1",
        ),
        (
            "limits = {output_bytes = 0}",
            "pipelines.photos.limits.output_bytes: Input should be greater than or equal to",
        ),
        (
            "limits = {output_bytes = 5368709121}",
            "pipelines.photos.limits.output_bytes: Input should be less than or equal",
        ),
        ("limits = {cpu_seconds = 0}", "pipelines.photos.limits.cpu_seconds: Input should be greater than 0"),
        ('suffixes = [""]', "pipelines.photos.suffixes.0: String should have at least 1 character"),
        ('on_delete = "burn"', "pipelines.photos.on_delete: Input should be 'keep', 'remove' or 'trash'"),
        ("restore_days = 366", "pipelines.photos.restore_days: Input should be less than or equal to 365"),
        ('conditions = "some"', "pipelines.photos.conditions: Input should be 'probe', 'quoted', 'unquoted' or 'none'"),
        ("colour = 1", "pipelines.photos.colour: there is no such setting; there are: "),
        ("[pipelines.Photos]", "pipelines.Photos: has to be 1 to 50 of a-z"),
        ("[server]\nlisten = '8080'", "server.listen: has to be host:port"),
        ("[server]\nlisten = 'localhost:65536'", "server.listen: has to be host:port"),
        ("[server]\nlisten = 'a b:80'", "server.listen: has to be host:port"),
        ("[server]\npublic_url = 'ftp://x'", "server.public_url: has to be an http"),
        ("[server]\npublic_url = 'http://x?y'", "server.public_url: has to be an http"),
        ("[server]\nbody_limit_bytes = 0", "server.body_limit_bytes: Input should be greater than or equal to 1024"),
        ("[server]\nbacklog_events = 0", "server.backlog_events: Input should be greater than or equal to 1000"),
        ("[server]\nautoscale_seconds = 0", "server.autoscale_seconds: Input should be greater than or equal to 0.1"),
        ("[server]\nname = 'My Yurt'", "server.name: has to be 1 to 16"),
        (
            "[server]\ncolour = 1",
            "server.colour: there is no such setting; there are: answers, answers_hours",
        ),
        ("[server]\npubic_url = ''", "server.pubic_url: there is no such setting. Did you mean `public_url`?"),
        ("timeout = 5", "pipelines.photos.timeout: there is no such setting. Did you mean `timeout_seconds`?"),
        ("limits = {memory = 5}", "limits.memory: there is no such setting. Did you mean `memory_bytes`?"),
        ("options = {size = [5]}", "pipelines.photos.options.size: there is no such setting. Did you mean `sizes`?"),
        ("[pools.local]\nidle = 5", "pools.local.idle: there is no such setting. Did you mean `idle_seconds`?"),
        ("[pipeline.x]", "pipeline: there is no such setting. Did you mean `pipelines`?"),
        ("[pools.local]\nlimit = -1", "pools.local.limit: Input should be greater than or equal to 0"),
        ("[pools.local]\nslots = 0", "pools.local.slots: Input should be greater than or equal to 1"),
        ("[pools.local]\nslots = 65", "pools.local.slots: Input should be less than or equal to 64"),
        ("[pools.local]\nprovider = 'The Moon'", "pools.local.provider: has to be 1 to 24"),
        ("[pools.local]\nprovider = 'moon'", "no provider 'moon' (there are: local, none)"),
        ("[pools.local]\nidle_seconds = 0", "pools.local.idle_seconds: Input should be greater than 0"),
        ("[colours]", "colours: there is no such setting"),
        ("database_url = 'postgresql://me:hidden@db'", "database_url: there is no such setting"),
    ],
)
def test_a_field_out_of_range_is_named(loaded: Load, lines: str, expected: str) -> None:
    text = lines + "\n" + ONE if lines.startswith("database_url") else ONE + lines
    message = refused(loaded, text)
    assert expected in message
    assert "yurt.toml" in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    "place",
    [
        "photos-in/up",
        "s3://",
        "s3:///up",
        "http://photos-in/up",
        "s3://user:hidden@photos-in/",
        "s3://in/?hidden",
        "s3://-",
    ],
)
@pytest.mark.parametrize("field", ["input", "output"])
def test_a_place_is_a_bucket_and_a_prefix(loaded: Load, place: str, field: str) -> None:
    other = "output" if field == "input" else "input"
    message = refused(loaded, f'[pipelines.photos]\n{field} = "{place}"\n{other} = "s3://elsewhere/"\n')
    assert f"pipelines.photos.{field}" in message
    assert "hidden" not in message


def test_all_faults_are_told_at_once(loaded: Load) -> None:
    message = refused(loaded, ONE + "attempts = 0\ntimeout_seconds = 0\n[pools.local]\nlimit = -1\n")
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "pipelines.photos.timeout_seconds",
        "pipelines.photos.attempts",
        "pools.local.limit",
    ]


def test_there_may_be_no_pipeline_until_an_app_deploys_one(loaded: Load) -> None:
    for text in ("", "[pipelines]"):
        config = loaded(text)
        assert (config.pipelines, list(config.pools)) == ({}, ["local"])


# ── relations ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "timeout_seconds = 60\nlease_seconds = 59",
            "pipelines.photos: lease_seconds (59) may not be less than timeout_seconds (60)",
        ),
        (
            "backoff_seconds = 10\nbackoff_limit_seconds = 9",
            "pipelines.photos: backoff_limit_seconds (9) may not be less than backoff_seconds (10)",
        ),
        ('pool = "gpu"', "pipelines.photos.pool: there is no pool 'gpu' (there are: local)"),
        ('on_delete = "trash"', 'pipelines.photos: on_delete = "trash" needs trash'),
        ('trash = "s3://bin/"', 'pipelines.photos: trash is set, but on_delete is "keep"'),
        ('conditions = "none"', 'pipelines.photos: conditions = "none" needs unconditional = "stage"'),
        ("[pools.local]\nlimit = 2\nminimum = 3", "pools.local: minimum (3) may not be more than limit (2)"),
        (
            "[pools.local]\nsilent_seconds = 30",
            "pools.local: silent_seconds (30) must be more than 30, the longest poll",
        ),
        ("[pools.local]\nboot_seconds = 30", "pools.local: boot_seconds (30) must be more than mint_seconds (30)"),
        ("[pools.gpu]\nprovider = 'none'", "pipelines.photos.pool: there is no pool 'local' (there are: gpu)"),
    ],
)
def test_a_relation_that_is_broken_is_named(loaded: Load, lines: str, expected: str) -> None:
    assert expected in refused(loaded, ONE + lines)


@pytest.mark.parametrize(
    ("trash", "other"),
    [
        ("s3://ups/", "pipelines.photos.input (s3://ups/uploads/)"),
        ("s3://ups/uploads/bin/", "pipelines.photos.input (s3://ups/uploads/)"),
        ("s3://outs/", "pipelines.photos.output (s3://outs/results/)"),
        ("s3://films/bin/", "pipelines.films.input (s3://films/)"),
        ("s3://posters/bin/", "pipelines.films.output (s3://posters/)"),
    ],
)
def test_a_trash_lies_where_nothing_else_does(loaded: Load, trash: str, other: str) -> None:
    pipelines = """
        [pipelines.photos]
        input = "s3://ups/uploads/"
        output = "s3://outs/results/"
        on_delete = "trash"
        trash = "%s"
        [pipelines.films]
        input = "s3://films/"
        output = "s3://posters/"
        """
    assert f"pipelines.photos.trash ({trash}) overlaps {other}" in refused(loaded, pipelines % trash)
    assert loaded(pipelines % "s3://outs/trash/").pipelines["photos"].trash is not None


@pytest.mark.parametrize("place", ["s3://inbox/", "s3://results/answers/"])
def test_answers_of_services_are_apart_from_pipelines(place: str) -> None:
    with pytest.raises(ValueError, match=r"pipelines.photos.(in|out)put \(.*\) overlaps server.answers"):
        Config(
            server={"answers": place}, pools={"local": Pool()},
            pipelines={"photos": {"input": "s3://inbox/", "output": "s3://results/"}},
        )  # fmt: skip


def test_what_yurt_keeps_to_itself_is_not_watched() -> None:
    fields = {"input": "s3://ups/", "output": "s3://outs/"}
    watches = Pipeline.model_validate(fields).watches
    assert watches("ups", "a.yurt-1/b.jpg")
    assert not watches("ups", ".yurt-probe-1")
    assert not watches("ups", "a.jpg/.yurt-17/256.webp")


def test_a_worker_leaves_by_itself_only_after_the_autoscaler_would_have_slain_it() -> None:
    assert Pool().worker_idle_seconds > Pool().idle_seconds
    assert Pool().worker_idle_seconds > Pool().idle_seconds + WISH_SECONDS
    kept = ({"minimum": 1}, {"learn": True}, {"schedules": [{"cron": "0 8 * * *", "hours": 10}]})
    assert all(Pool.model_validate(settings).worker_idle_seconds > 10 * 3_600 for settings in kept)


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ('cron = "0 25 * * *", hours = 1', "pools.local.schedules.1.cron: has to be minute, hour, day of month"),
        ('cron = "0 25 * * *", hours = 1', "(Bad hour)"),
        ('cron = "0 8 * * *", hours = 1, time_zone = "Berlin"', "pools.local.schedules.1.time_zone: is no time zone"),
        ('cron = "0 8 * * *", hours = 1, minimum = 4', "schedules.1.minimum (4) may not be more than limit (3)"),
    ],
)
def test_a_schedule_that_cannot_be_is_told_with_its_field(loaded: Load, schedule: str, told: str) -> None:
    pool = '[pools.local]\nlimit = 3\nschedules = [{ cron = "0 8 * * *", hours = 1 }, { %s }]'
    assert told in refused(loaded, f"{ONE}\n{pool % schedule}")


def test_machines_that_are_rented_are_not_trusted_unless_it_is_said(loaded: Load) -> None:
    pools = {"here": Pool(), "by-hand": Pool(provider="none"), "doubted": Pool(trusted=False)}
    found = loaded(ONE).model_copy(update={"pools": pools})
    assert [found.is_trusted(name) for name in pools] == [True, True, False]


@pytest.mark.parametrize(
    ("lines", "boot_seconds"),
    [
        ("", 600),
        ('bootstrap = "python"', 720),
        ('api_url = "http://127.0.0.1:1"', 60),
        ('[pools.local]\nprovider = "gpu"\nboot_seconds = 90', 90),
    ],
)
def test_machines_have_the_time_that_their_kind_needs_to_boot(loaded: Load, lines: str, boot_seconds: float) -> None:
    provider = f'[providers.gpu]\nkind = "vast"\nimage = "x.example/y:1"\n{lines}'
    pool = "" if "[pools" in lines else '[pools.local]\nproviders = ["local", "gpu"]'
    assert loaded(f"{ONE}\n{provider}\n{pool}").pools["local"].boot_seconds == boot_seconds


def test_a_lease_lasts_for_a_few_spans() -> None:
    place = "s3://inbox", "s3://outbox"
    made = [
        Pipeline.model_validate({"input": place[0], "output": place[1], **more}) for more in ({}, {"lease_spans": 5})
    ]
    assert [pipeline.longest_lease_seconds for pipeline in made] == [540, 900]


def test_a_pool_may_be_emptied_but_not_keep_machines_then() -> None:
    assert Pool(limit=0).limit == 0
    with pytest.raises(ValidationError, match="minimum"):
        Pool(limit=0, minimum=1)


def chain(*places: tuple[str, str]) -> str:
    return "".join(
        f'[pipelines.p{number}]\ninput = "s3://{inputs}"\noutput = "s3://{outputs}"\n'
        for number, (inputs, outputs) in enumerate(places)
    )


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ("photos/", "photos/"),
        ("photos/", "photos/results/"),
        ("photos/up/", "photos/up/results/"),
        ("photos/up/", "photos/"),  # the key, with "up/" in front, comes after the output's prefix
        ("photos/up", "photos/upper/"),
    ],
)
def test_a_pipeline_that_watches_its_own_results_is_refused(loaded: Load, inputs: str, outputs: str) -> None:
    message = refused(loaded, chain((inputs, outputs)))
    assert f"pipelines.p0.output (s3://{outputs}) lies in what the pipeline watches (s3://{inputs})" in message


@pytest.mark.parametrize(
    "places",
    [
        [("aaa/", "bbb/"), ("bbb/", "aaa/")],
        [("aaa/in/", "bbb/x/"), ("bbb/", "aaa/in/deeper/")],
        [("aaa/", "bbb/"), ("bbb/", "ccc/"), ("ccc/", "aaa/")],
        [("zzz/", "yyy/"), ("aaa/", "bbb/"), ("bbb/", "ccc/"), ("ccc/", "aaa/")],
    ],
)
def test_pipelines_that_feed_each_other_in_a_circle_are_refused(loaded: Load, places: list[tuple[str, str]]) -> None:
    """By ``pipeline_places``, as part of the whole configuration."""
    message = refused(loaded, chain(*places))
    circle = message.partition("comes back to it: ")[2].partition(",")[0].split(" → ")
    assert circle[0] == circle[-1]
    assert len(set(circle)) == len(circle) - 1 == sum(place[0][0] != "z" for place in places)
    # Each watches what the one before writes, as the message says.
    numbers = [int(name.removeprefix("p")) for name in circle]
    for before, after in pairwise(numbers):
        assert places[after][0].partition("/")[0] == places[before][1].partition("/")[0]
    assert f"pipelines.{circle[0]}.output" in message


@pytest.mark.parametrize(
    "places",
    [
        [("photos/up/", "photos/results/")],
        [("aaa/", "bbb/"), ("bbb/", "ccc/")],
        [("aaa/", "bbb/"), ("aaa/", "ccc/")],
        [("aaa/", "ccc/one/"), ("bbb/", "ccc/two/")],
    ],
)
def test_chains_and_forks_are_fine(loaded: Load, places: list[tuple[str, str]]) -> None:
    assert len(loaded(chain(*places)).pipelines) == len(places)


# ── handlers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            'handler = "video"',
            "pipelines.photos.handler: unknown handler 'video': one of command, function, http, photo, python",
        ),
        ("[pipelines.photos.options]\ncolour = 1", "colour: there is no such setting; there are: "),
        ("[pipelines.photos.options]\nsizes = []", "sizes: List should have at least 1 item"),
        ("[pipelines.photos.options]\nquality = 101", "quality: Input should be less than or equal to 100"),
        ('handler = "python"', "pipelines.photos.options"),
    ],
)
def test_handlers_and_their_options_are_checked(loaded: Load, lines: str, expected: str) -> None:
    message = refused(loaded, ONE + lines)
    assert expected in message
    assert "pipelines.photos." in message


# ── files and the environment ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_missing_or_unreadable_is_named(tmp_path: Path, loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*nowhere\.toml: `yurt init`"):
        load(tmp_path / "nowhere.toml", options_model)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, options_model)
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe9"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "latin.toml", options_model)
    assert "is not TOML: " in refused(loaded, "[pipelines")
    assert "is not TOML: " in refused(loaded, ONE + ONE)


def test_text_is_utf_8_whatever_the_locale(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda _=True: "ascii")
    assert loaded(ONE.replace("/up/", "/Größe/")).pipelines["photos"].input.prefix == "Größe/"


def test_the_environment_takes_the_place_of_single_fields(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_SERVER__LISTEN", "0.0.0.0:9000")
    monkeypatch.setenv("YURT_POOLS__LOCAL__IDLE_SECONDS", "3")
    monkeypatch.setenv("YURT_PIPELINES__PHOTOS__ATTEMPTS", "9")
    monkeypatch.setenv("YURT_WEBHOOK_SECRETS", "not a field of the configuration")
    config = loaded(ONE + "attempts = 2\nstore_attempts = 7\n[server]\nname = 'mine'\n[pools.local]\nlimit = 5\n")
    assert (config.server.listen, config.server.name) == ("0.0.0.0:9000", "mine")
    assert (config.pools["local"].idle_seconds, config.pools["local"].limit) == (3, 5)
    assert (config.pipelines["photos"].attempts, config.pipelines["photos"].store_attempts) == (9, 7)


def test_a_wrong_variable_is_named_and_not_shown(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_SERVER__LISTEN", "hidden")
    assert "server.listen (which YURT_SERVER__LISTEN sets): has to be host:port" in (message := refused(loaded, ONE))
    assert "hidden" not in message
    monkeypatch.delenv("YURT_SERVER__LISTEN")
    monkeypatch.setenv("YURT_PIPELINES", '{"hidden')
    assert "the environment: YURT_PIPELINES has to hold a table" in (message := refused(loaded, ONE))
    assert "hidden" not in message


def test_an_ipv6_address_is_listened_on(loaded: Load) -> None:
    server = loaded(ONE + "[server]\nlisten = '[::1]:65535'").server
    assert (server.host, server.port) == ("::1", 65535)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = {
    "DATABASE_URL": "postgresql://me:hidden-1@db/yurt",
    "YURT_WEBHOOK_SECRETS": "hidden-2-hidden-2, user:hidden-3-hidden-3 ,,",
    "YURT_ADMIN_TOKEN": "hidden-4-hidden-4",
    "AWS_ACCESS_KEY_ID": "hidden-5",
    "AWS_SECRET_ACCESS_KEY": "hidden-6",
    "AWS_SESSION_TOKEN": "hidden-7",
    "YURT_PUBLISH_ACCESS_KEY_ID": "hidden-8",
    "YURT_PUBLISH_SECRET_ACCESS_KEY": "hidden-9",
}


def test_secrets_come_from_the_environment_and_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    read = secrets(Path("yurt.toml"))
    assert read.webhook_secrets == ("hidden-2-hidden-2", "user:hidden-3-hidden-3")
    assert read.yurt_admin_token.get_secret_value() == "hidden-4-hidden-4"
    for shown in (repr(read), str(read), read.model_dump_json(), f"{read.yurt_webhook_secrets}"):
        assert "hidden" not in shown


@pytest.mark.parametrize("endpoint", ["ftp://hidden", "https://", "https://hidden:pw@host", "https://host/hidden?x"])
def test_a_wrong_endpoint_is_refused_without_showing_anything(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(ConfigError, match="the environment:\n  AWS_ENDPOINT_URL_S3: ") as caught:
        secrets(Path("yurt.toml"))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("missing", ["YURT_PUBLISH_ACCESS_KEY_ID", "YURT_PUBLISH_SECRET_ACCESS_KEY"])
def test_half_of_a_key_for_publishing_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRET, missing: ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="both, or neither") as caught:
        secrets(Path("yurt.toml"))
    assert "hidden" not in str(caught.value)


def test_variables_that_are_set_to_nothing_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "DATABASE_URL"):
        monkeypatch.setenv(name, "")
    assert secrets(Path("yurt.toml")) == Secrets()
    assert secrets(Path("yurt.toml")).aws_endpoint_url_s3 == "https://t3.storage.dev"


def test_configuration_does_not_change(loaded: Load) -> None:
    config = loaded(ONE)
    with pytest.raises(ValidationError):
        config.server.listen = "127.0.0.1:1"  # type: ignore[misc]


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1", "ap-southeast-12", "mx-central-1"])
def test_topics_are_named_in_full(loaded: Load, region: str) -> None:
    partition = {"us-gov-west-1": "aws-us-gov", "cn-north-1": "aws-cn"}.get(region, "aws")
    topic = f"arn:{partition}:sns:{region}:123456789012:uploads_of-2026"
    assert loaded(f'{ONE}[server]\nsns_topics = ["{topic}"]\n').server.sns_topics == (topic,)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "uploads",
        "arn:aws:s3:::photos-in",
        "arn:aws:sqs:us-east-1:123456789012:uploads",
        "arn:aws:sns:us-east-1:123456789012:",
        "arn:aws:sns:us-east-1:123456789012:uploads.fifo",
        "arn:aws:sns:us-east-1:123456789012:uploads:0b7d2d5c",
        "arn:aws:sns:evil.example/:123456789012:uploads",
        "arn:aws:sns:us-east-1@evil:123456789012:uploads",
        "arn:aws:sns:{x}:123456789012:uploads",
        "arn:aws:sns:us-east-1:12345678901:uploads",
    ],
)
def test_what_is_no_topic(loaded: Load, topic: str) -> None:
    assert "sns_topics" in refused(loaded, f'{ONE}[server]\nsns_topics = ["{topic}"]\n')
