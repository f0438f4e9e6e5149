"""A mapping whose content is replaced at once, for those who read it and keep no copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LiveMapping(Mapping[Key, Value]):
    """What holds now. A loop over it goes on over what held when it began."""

    def __init__(self, content: Mapping[Key, Value] | None = None) -> None:
        self.now: Mapping[Key, Value] = content or {}
        """The content as it is now: a mapping that never changes."""

    def replace(self, content: Mapping[Key, Value]) -> None:
        """Put another content in the place of the present one. ``content`` must not change any more."""
        self.now = content

    def __getitem__(self, key: Key) -> Value:
        return self.now[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)
