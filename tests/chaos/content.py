"""Contents of uploads. Each holds its own number, so that a result shows which content it was made from.

Imports nothing of the project: it is loaded in every handler's process.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

COPY = "copy.bin"
"""Output with the input's bytes: its ETag is the input's."""
FACTS = "facts.json"
"""Output with facts about the input."""


@dataclass(frozen=True, slots=True)
class UploadContent:
    """The bytes of one upload."""

    key: str
    number: int
    """Counts the different contents of one key, from 1."""
    work_seconds: float
    """Time that the handler spends on it."""
    filler: int
    """Bytes after the first line."""

    def encode(self) -> bytes:
        """One line of JSON, then filler bytes."""
        return json.dumps(asdict(self)).encode() + b"\n" + bytes(self.number % 256 for _ in range(self.filler))

    @classmethod
    def decode(cls, encoded: bytes) -> UploadContent:
        """Read what ``encode`` wrote. Raises ValueError on anything else."""
        content = cls(**json.loads(encoded.partition(b"\n")[0]))
        if content.encode() != encoded:
            raise ValueError("the content is torn")
        return content

    @property
    def etag(self) -> str:
        """Its ETag in S3 after a single PUT: the MD5."""
        return hashlib.md5(self.encode(), usedforsecurity=False).hexdigest()


def facts(encoded: bytes) -> bytes:
    """The expected content of the output ``FACTS`` for an input."""
    content = UploadContent.decode(encoded)
    return json.dumps(
        {"key": content.key, "number": content.number, "sha256": hashlib.sha256(encoded).hexdigest()}
    ).encode()
