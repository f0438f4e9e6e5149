"""The start command: short, the same for all machines, and read by old Pythons."""

from __future__ import annotations

import ast

from webhook.bootstrap.start_command import start_command


def test_it_is_read_by_every_python_that_an_image_may_have() -> None:
    program, option, text = start_command()
    assert (program, option) == ("python3", "-c")
    ast.parse(text, feature_version=(3, 4))


def test_it_is_short_and_plain() -> None:
    _, _, text = start_command()
    assert len(text) < 4_000
    assert text.isascii()
    assert '"""' not in text
    # Kubernetes would replace the one, and Docker's shells are not there for the other.
    assert "$(" not in text
    assert "`" not in text
