"""``yurt models`` as people run it, against a real bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.local.running import KEYS, RunningBucket
from webhook.cli.machines import loading_of


@dataclass(frozen=True)
class ModelShell:
    """A folder with a configuration, and the keys of a store."""

    folder: Path
    endpoint: str

    def yurt(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``yurt models``; an empty variable is taken out of the environment."""
        given = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL_S3": self.endpoint, **KEYS, **environment}
        return subprocess.run(
            [sys.executable, "-m", "webhook", "models", *argv], cwd=self.folder, capture_output=True, text=True,
            env={name: value for name, value in given.items() if value}, timeout=60, check=False,
        )  # fmt: skip

    def json(self, *argv: str) -> dict[str, object]:
        """The answer of a command that succeeds, as JSON."""
        result = self.yurt(*argv, "--json")
        assert result.returncode == 0, result.stderr
        return dict(json.loads(result.stdout))


@pytest.fixture
def models(store: RunningBucket, tmp_path: Path) -> ModelShell:
    bucket = store.new_bucket(store.s3())
    (tmp_path / "yurt.toml").write_text(
        f'[models.safety]\nsource = "s3://{bucket}/safety"\n'
        '[pipelines.photos]\ninput = "s3://photos-in/"\noutput = "s3://photos-out/"\nmodels = ["safety"]\n'
    )
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return ModelShell(tmp_path, store.endpoint)


def test_a_model_is_published_listed_shown_and_removed(models: ModelShell) -> None:
    assert "yurt models publish safety FILE" in models.yurt("list", "safety").stdout
    dry = models.json("publish", "safety", "model.onnx", "--dry-run")
    assert (dry["sent"], dry["dry_run"], dry["size"]) == (["model.onnx"], True, 7)
    assert models.json("list", "safety")["versions"] == []
    first = models.yurt("publish", "safety", "model.onnx")
    assert "is now the current one (1 files, 7 bytes)" in first.stdout
    assert "unchanged" in models.yurt("publish", "safety", "model.onnx").stdout
    (models.folder / "model.onnx").write_bytes(b"other weights")
    second = models.json("publish", "safety", "model.onnx")
    assert first.stdout.split()[2] == str(dry["root"])[:12] != str(second["root"])[:12]
    shown = models.json("show", "safety")
    assert (shown["root"], [file["path"] for file in shown["files"]]) == (second["root"], ["model.onnx"])  # type: ignore[attr-defined]
    assert "model.onnx" in models.yurt("show", "safety", str(dry["root"])[:8]).stdout
    refused = models.yurt("remove", "safety", str(second["root"])[:12], "--yes")
    assert (refused.returncode, "publish another one first" in refused.stderr) == (2, True)
    asked = models.yurt("remove", "safety", str(dry["root"])[:12])
    assert "give --yes, or see --dry-run" in asked.stderr
    assert "would be deleted" in models.yurt("remove", "safety", str(dry["root"])[:12], "--dry-run").stdout
    assert "2 objects" in models.yurt("remove", "safety", str(dry["root"])[:12], "--yes").stdout
    assert len(models.json("list", "safety")["versions"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "environment", "said"),
    [
        (("publish", "other", "model.onnx"), {}, "has no [models.other] (there are: safety)"),
        (("publish", "safety", "none.onnx"), {}, "there is no file none.onnx"),
        (("publish", "safety", "model.onnx"), {"AWS_SECRET_ACCESS_KEY": ""}, "make an access key"),
        (("publish", "safety", "model.onnx"), {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "check the keys"),
        (("publish", "safety", "model.onnx"), {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "does not answer"),
        (("show", "safety"), {}, "there are 0 versions of safety that is current"),
        (("show", "safety", "abc"), {}, "whose root begins with abc"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    models: ModelShell, argv: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    result = models.yurt(*argv, **environment)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in result.stderr


def test_what_a_machine_loads_is_shown_with_share_and_rate() -> None:
    report = {
        "phase": "weights",
        "model": "safety",
        "done_bytes": 61,
        "total_bytes": 100,
        "bytes_per_second": 480_000_000,
    }
    assert loading_of({"loading": report}) == "weights 61 %, 480.0 MB/s"
    assert loading_of({"loading": {**report, "done_bytes": 0, "total_bytes": 0}}) == "weights 0 %, 480.0 MB/s"
    assert loading_of({"loading": {**report, "phase": "session"}}) == "loads safety"
    assert loading_of({"loading": None}) == ""
