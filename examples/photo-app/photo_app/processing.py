"""All that the app's server does with Yurt: ten lines. A test counts them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

# ── Yurt begins ──
import yurt


class Processing(yurt.AsyncClient):
    """The pipeline ``photos``, for this app."""

    async def ticket_for(self, person: int) -> str:
        """A ticket with which a person's browser uploads, into folders of that person."""
        return (await self.ticket("photos", prefix=f"users/{person}", content_types=["image/*"], uploads=100)).ticket

    async def report(self, key: str) -> dict[str, Any]:
        """State and result of a photo, as ``<yurt-image>`` takes it."""
        return asdict(await self.object("photos", key))

    async def remove(self, key: str) -> None:
        """Delete a photo from the bucket. Its thumbnails follow."""
        await self.delete("photos", key)


verified_callback = yurt.verify_callback
ProcessingError = yurt.YurtError
# ── Yurt ends ──
