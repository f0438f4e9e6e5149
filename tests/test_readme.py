"""The README's commands work in a checkout, and it begins with what Yurt does and shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 30
"""Of a block: a longer one belongs on a page of its own."""
MOST_PICTURE_BYTES = 150 * 1024


def blocks() -> list[str]:
    """Blocks for a shell, without their indentation."""
    found = re.findall(r"^( *)```sh\n(.*?)^\1```$", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_it_begins_with_a_sentence_and_a_picture() -> None:
    beginning = README.partition("\n## ")[0]
    sentences = beginning.partition("\n\n")[2]
    assert re.match(r"Yurt [a-z]+ [^.]+: [^.]+\. ", sentences.replace("\n", " "))
    [picture] = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", beginning)
    assert (ROOT / picture).stat().st_size <= MOST_PICTURE_BYTES


def test_no_block_is_long() -> None:
    lengths = [text.count("\n") for _, text in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
    assert max(lengths) <= MOST_LINES


def test_the_first_command_is_the_shortest_path() -> None:
    assert blocks()[0].splitlines() == ["git clone REPOSITORY yurt", "cd yurt", "make demo"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that is like a checkout after its first target: the command is in ``.venv``."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "yurt").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m webhook "$@"\n')
    (binaries / "yurt").chmod(0o755)
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\n')
    return tmp_path


def test_the_way_to_ones_own_bucket_works_as_it_is_written(checkout: Path) -> None:
    """Run every line until the control plane: then the next ones need keys and a bucket."""
    lines = [line for block in blocks() for line in block.splitlines()]
    steps = lines[lines.index(". .venv/bin/activate") : lines.index("yurt serve")]
    assert steps == [". .venv/bin/activate", "yurt init my-yurt", "cd my-yurt", "yurt check"]
    script = "; ".join((steps[0], *steps[1:]))
    ran = subprocess.run(["sh", "-c", script], cwd=checkout, capture_output=True, text=True, check=False, timeout=60)
    assert "AWS_ACCESS_KEY_ID" in ran.stdout + ran.stderr, "it says what to fill in"
    assert "Traceback" not in ran.stdout + ran.stderr
    assert (checkout / "my-yurt" / "yurt.secrets").is_file()
    second = lines[lines.index(". ../.venv/bin/activate") + 1 :]
    ran = subprocess.run(
        ["sh", "-c", f". ../.venv/bin/activate; {second[0]}"],
        cwd=checkout / "my-yurt",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stderr.startswith("yurt: ")


def test_a_python_handler_is_run_as_it_is_written(tmp_path: Path) -> None:
    [written] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "words.py").write_text(written)
    (tmp_path / "input").write_text("one two  three\n")
    (tmp_path / "out").mkdir()
    script = (
        "import pathlib, words; from workers.handlers import Job; "
        "words.count(Job(input=pathlib.Path('input'), output=pathlib.Path('out'), key='k', etag='e', options={}))"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "out" / "words.txt").read_text() == "3\n"
