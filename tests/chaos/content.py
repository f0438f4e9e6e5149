"""What is uploaded: each content says which one it is, so that a result shows what it was made from.

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
    """How long the handler takes with it."""
    filler: int
    """Bytes after the first line."""

    def encode(self) -> bytes:
        """One line of JSON, then bytes that nobody looks at."""
        return json.dumps(asdict(self)).encode() + b"\n" + bytes(self.number % 256 for _ in range(self.filler))

    @classmethod
    def decode(cls, encoded: bytes) -> UploadContent:
        """Read what ``encode`` wrote. Raises ValueError on anything else."""
        said = cls(**json.loads(encoded.partition(b"\n")[0]))
        if said.encode() != encoded:
            raise ValueError("the content is torn")
        return said

    @property
    def etag(self) -> str:
        """As S3 has it for one PUT."""
        return hashlib.md5(self.encode(), usedforsecurity=False).hexdigest()


def facts(encoded: bytes) -> bytes:
    """What the output `FACTS` has to hold for an input."""
    said = UploadContent.decode(encoded)
    return json.dumps({"key": said.key, "number": said.number, "sha256": hashlib.sha256(encoded).hexdigest()}).encode()
