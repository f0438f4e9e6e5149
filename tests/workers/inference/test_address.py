"""A socket can be reached at a path of any length."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from workers.inference.address import MOST_BYTES, short_address


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a long path is refused")
@pytest.mark.parametrize("characters", [1, 200])
def test_a_socket_is_bound_and_reached(tmp_path: Path, characters: int) -> None:
    folder = tmp_path / ("f" * characters)
    folder.mkdir()
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with short_address(path) as address:
            listener.bind(address)
        listener.listen()
        assert path.is_socket()
        with short_address(path) as address:
            assert len(address) <= MOST_BYTES
            client.connect(address)
        listener.accept()[0].close()
