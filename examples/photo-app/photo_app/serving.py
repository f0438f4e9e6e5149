"""Serves the app with uvicorn, and ends the streams of open pages before it stops: they would hold it up."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from photo_app.app import AlbumApp


class AlbumServer(uvicorn.Server):
    """One server of the app."""

    def __init__(self, app: AlbumApp, **settings: Any) -> None:
        super().__init__(uvicorn.Config(app.asgi, log_level="warning", timeout_graceful_shutdown=5, **settings))
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving. Uvicorn calls it once ``should_exit`` is set."""
        self._app.end_streams()
        await super().shutdown(sockets)
