"""Event notifications of Backblaze B2, and their signatures."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

SIGNATURE = "x-bz-event-notification-signature"


def b2_event(name: str = "b2:ObjectCreated:Upload", **more: Any) -> dict[str, Any]:
    """One event; a field given as ``...`` is left out."""
    fields = {
        "accountId": "e85c6a500333",
        "bucketId": "aea8c5bc362ae55070130333",
        "bucketName": "inbox",
        "eventId": "01J8ZK3V0Q5X2N7R9T4W6Y8A0C",
        "eventTimestamp": 1_684_793_309_123,
        "eventType": name,
        "eventVersion": 1,
        "matchedRuleName": "yurt-uploads",
        "objectName": "images/raw/smiley.png",
        "objectSize": 10_495_842,
        "objectVersionId": "4_zaea8c5bc362ae55070130333_f117c7bd5d6c6597c_d20230521_m235957_c001_v0001044_t0052",
        **more,
    }
    return {field: value for field, value in fields.items() if value is not ...}


def b2_test() -> dict[str, Any]:
    """What the console's "Test Rule" sends."""
    no_object = dict.fromkeys(("eventId", "objectName", "objectSize", "objectVersionId"), ...)
    return b2_event("b2:TestEvent", **no_object)


def signed(body: bytes, secret: str) -> str:
    """The signature's header of a body."""
    return f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
