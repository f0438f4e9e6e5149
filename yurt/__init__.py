"""Yurt for apps: functions in the cloud, and uploads, results, events and callbacks of a pipeline.

::

    import yurt

    @yurt.function(requirements=["pillow"], on="s3://photos-in/uploads/", output="s3://photos-out/sizes/")
    def size(photo: yurt.File) -> dict:
        from PIL import Image

        width, height = Image.open(photo.path).size
        return {"width": width, "height": height}

``yurt deploy app.py`` puts it where each upload below ``on`` is handled by it. ``size.remote(yurt.File("cat.jpg"))``
runs it on a worker and returns its value; ``size(yurt.File("cat.jpg"))`` is a plain call.

::

    with yurt.Client("https://yurt.example.com", token) as client:
        photo = client.upload("cat.jpg", pipeline="photos")
        print(client.wait("photos", photo.key).outcome)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yurt.decorator import Function, function, models
from yurt.errors import (
    CallTimeout,
    DefinitionError,
    InvalidCallback,
    KeyTaken,
    NotReachable,
    ObjectUnknown,
    OutputMissing,
    Refused,
    RemoteError,
    UploadInterrupted,
    WaitTimeout,
    YurtError,
)
from yurt.file import File

if TYPE_CHECKING:
    from yurt.callbacks import Callback, verify_callback
    from yurt.client.answers import (
        ErrorInfo,
        EventGap,
        ObjectInfo,
        ObjectSettled,
        OutputInfo,
        ProgressInfo,
        ResultInfo,
        UploadedFile,
        UploadTicket,
    )
    from yurt.client.asynchronous import AsyncClient
    from yurt.client.blocking import Client

__all__ = [
    "AsyncClient",
    "CallTimeout",
    "Callback",
    "Client",
    "DefinitionError",
    "ErrorInfo",
    "EventGap",
    "File",
    "Function",
    "InvalidCallback",
    "KeyTaken",
    "NotReachable",
    "ObjectInfo",
    "ObjectSettled",
    "ObjectUnknown",
    "OutputInfo",
    "OutputMissing",
    "ProgressInfo",
    "Refused",
    "RemoteError",
    "ResultInfo",
    "UploadInterrupted",
    "UploadTicket",
    "UploadedFile",
    "WaitTimeout",
    "YurtError",
    "function",
    "models",
    "verify_callback",
]

_HOMES = {
    "AsyncClient": "yurt.client.asynchronous",
    "Client": "yurt.client.blocking",
    **dict.fromkeys(("Callback", "verify_callback"), "yurt.callbacks"),
}


def __getattr__(name: str) -> object:
    """Import what needs an HTTP client when it is first used: a function's process on a worker starts without it."""
    if name not in __all__:
        raise AttributeError(f"module 'yurt' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES.get(name, "yurt.client.answers")), name)
    globals()[name] = value
    return value
