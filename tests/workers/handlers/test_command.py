"""Handler ``command``, with real programs."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workers.handlers import HandlerError, HandlerUnavailable, Job, OutputFile
from workers.handlers.command import expand, handle


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "input").write_text("content")
    (tmp_path / "output").mkdir()
    return Job(tmp_path / "input", tmp_path / "output", "a/b.jpg", "e", {})


def with_argv(job: Job, *argv: str, key: str = "a/b.jpg") -> Job:
    return Job(job.input, job.output, key, job.etag, {"argv": list(argv)})


def python(job: Job, code: str) -> Job:
    return with_argv(job, sys.executable, "-c", code, "{input}")


def refusal(job: Job) -> HandlerError:
    with pytest.raises(HandlerError) as raised:
        handle(job)
    return raised.value


def test_every_file_is_published(job: Job) -> None:
    result = handle(with_argv(job, "cp", "{input}", "{output}/copy.txt"))
    assert result.outputs == (OutputFile("copy.txt", "text/plain"),)
    assert (job.output / "copy.txt").read_text() == "content"


def test_the_output_folder_is_the_working_directory(job: Job) -> None:
    handle(with_argv(job, "cp", "{input}", "here.txt"))
    assert (job.output / "here.txt").exists()


def test_no_shell_and_one_pass(job: Job) -> None:
    key = "$(touch x) `id`; {output} \"'é"
    expanded = expand(["echo", "--name={key}", "{input}", "{other}", "$HOME"], with_argv(job, key=key))
    assert expanded == ["echo", f"--name={key}", str(job.input), "{other}", "$HOME"]
    handle(with_argv(job, "touch", "--reference={input}", "--", "{key}", key=";id"))
    assert [path.name for path in job.output.iterdir()] == [";id"]


def test_a_model_is_named_by_its_folder(job: Job) -> None:
    with_model = replace(with_argv(job, "cat"), models={"safety": Path("/cache/fef4")})
    argv = ["cat", "{model:safety}/model.onnx", "{model:Safety}", "{key}"]
    assert expand(argv, with_model) == ["cat", "/cache/fef4/model.onnx", "{model:Safety}", "a/b.jpg"]
    with pytest.raises(HandlerUnavailable, match=r"\{model:labels\}: add it to the models of the pipeline"):
        expand(["cat", "{model:labels}"], with_model)


def test_a_key_is_never_an_option(job: Job) -> None:
    error = refusal(with_argv(job, "echo", "{key}", "{input}", key="-rf"))
    assert (error.reason, error.retry) == ("bad-key", False)
    assert "'--name={key}'" in error.message
    assert expand(["rm", "--", "{key}"], with_argv(job, key="-rf")) == ["rm", "--", "-rf"]
    assert expand(["rm", "-n", "--k={key}"], with_argv(job, key="-rf")) == ["rm", "-n", "--k=-rf"]


def test_a_key_with_nul_fits_no_argument(job: Job) -> None:
    assert refusal(with_argv(job, "echo", "{key}", "{input}", key="a\0b")).reason == "bad-key"


@pytest.mark.parametrize(("code", "retry"), [(1, True), (65, False), (66, False), (75, True)])
def test_exit_codes(job: Job, code: int, retry: bool) -> None:
    error = refusal(python(job, f"import sys; print('first'); print('last', flush=True); sys.exit({code})"))
    assert (error.reason, error.retry) == ("command-failed", retry)
    assert error.message.endswith(f"ended with exit code {code}: last")


def test_a_silent_failure_has_a_sentence_too(job: Job) -> None:
    assert refusal(with_argv(job, "false", "{input}")).message == "false ended with exit code 1."


@pytest.mark.parametrize(("name", "reason", "retry"), [("SIGSEGV", "crashed", True), ("SIGXCPU", "cpu-limit", False)])
def test_signals(job: Job, name: str, reason: str, retry: bool) -> None:
    error = refusal(python(job, f"import os, signal; os.kill(os.getpid(), signal.{name})"))
    assert (error.reason, error.retry) == (reason, retry)


def test_a_full_disk_is_not_the_objects_fault(job: Job) -> None:
    with pytest.raises(OSError, match="No space left"):
        handle(python(job, "raise OSError(28, 'No space left on device')"))


def test_too_large_a_file_is_not_the_objects_fault(job: Job) -> None:
    with pytest.raises(OSError, match="too large"):
        handle(with_argv(job, "sh", "-c", "kill -XFSZ $$", "{input}"))


def test_a_missing_program_is_no_fault_of_the_object(job: Job) -> None:
    with pytest.raises(HandlerUnavailable, match="no-such-program cannot be started"):
        handle(with_argv(job, "no-such-program", "{input}"))


def test_what_a_program_leaves_running_does_not_hold_it_up(job: Job) -> None:
    handle(with_argv(job, "sh", "-c", "sleep 30 & echo $! > pid.txt", "{input}"))
    pid = int((job.output / "pid.txt").read_text())
    os.kill(pid, 9)
