"""Why a model cannot be had on this worker. What the machine itself lacks is an OSError or a `WorkerFault`."""

from __future__ import annotations

from workers.handlers import HandlerUnavailable


class ModelUnavailable(HandlerUnavailable):
    """The model cannot be fetched, whichever the object. The message says why and what to do, and shows no URL."""


class ModelChanged(ModelUnavailable):
    """The objects of a model that nobody published have other content now than when the lease was made."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The model's file {path} has changed in the bucket while it was fetched. The next lease names the new "
            "version; `yurt models publish` makes versions that never change."
        )


class DownloadCancelled(Exception):
    """The caller has stopped the download. What was fetched is kept, and the next one goes on there."""
