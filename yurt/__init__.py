"""Functions in the cloud: what an app imports to define them, and to call them from elsewhere.

::

    import yurt

    @yurt.function(requirements=["pillow"], on="s3://photos-in/uploads/", output="s3://photos-out/sizes/")
    def size(photo: yurt.File) -> dict:
        from PIL import Image

        width, height = Image.open(photo.path).size
        return {"width": width, "height": height}

``yurt deploy app.py`` puts it where each upload below ``on`` is handled by it. ``size.remote(yurt.File("cat.jpg"))``
runs it on a worker and returns its value; ``size(yurt.File("cat.jpg"))`` is a plain call.
"""

from __future__ import annotations

from yurt.decorator import Function, function, models
from yurt.errors import CallTimeout, DefinitionError, NotReachable, RemoteError, YurtError
from yurt.file import File

__all__ = [
    "CallTimeout",
    "DefinitionError",
    "File",
    "Function",
    "NotReachable",
    "RemoteError",
    "YurtError",
    "function",
    "models",
]
