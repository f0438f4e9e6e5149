"""Serves the app: ``python -m photo_app``. Its settings come from the environment, see the README."""

from __future__ import annotations

import os
import sys

from photo_app.app import AlbumApp
from photo_app.serving import AlbumServer
from photo_app.settings import AlbumSettings, AlbumSettingsError


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    host, _, port = os.environ.get("PHOTO_APP_LISTEN", "127.0.0.1:8000").rpartition(":")
    try:
        settings = AlbumSettings.from_environment()
    except AlbumSettingsError as error:
        sys.exit(f"photo_app: {error}")
    if not host or not port.isdecimal():
        sys.exit("photo_app: set PHOTO_APP_LISTEN to host and port, such as 127.0.0.1:8000")
    AlbumServer(AlbumApp(settings), host=host.strip("[]"), port=int(port)).run()


if __name__ == "__main__":
    main()
