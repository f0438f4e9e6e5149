"""Pushes of Pub/Sub with notifications of Google Cloud Storage."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import Any

CONTENT = b"hello"


MD5 = hashlib.md5(CONTENT).digest()


GENERATION = "1700000000123456"


def metadata(**more: Any) -> dict[str, Any]:
    """An object resource of the JSON API, as in a notification's payload."""
    fields = {
        "kind": "storage#object",
        "id": f"inbox/photos/a b+c.jpg/{GENERATION}",
        "selfLink": "https://www.googleapis.com/storage/v1/b/inbox/o/photos%2Fa%20b%2Bc.jpg",
        "name": "photos/a b+c.jpg",
        "bucket": "inbox",
        "generation": GENERATION,
        "metageneration": "1",
        "contentType": "image/jpeg",
        "timeCreated": "2023-11-14T22:13:20.123Z",
        "updated": "2023-11-14T22:13:20.123Z",
        "storageClass": "STANDARD",
        "size": "5",
        "md5Hash": b64encode(MD5).decode(),
        "crc32c": "mnG7TA==",
        "etag": "CMCVpqmMxIIDEAE=",
        **more,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def push(event_type: str = "OBJECT_FINALIZE", data: Any = ..., **attributes: Any) -> dict[str, Any]:
    """A push of Pub/Sub. ``data`` is text as it is, or anything that becomes JSON in base64."""
    fields = {
        "notificationConfig": "projects/_/buckets/inbox/notificationConfigs/1",
        "eventType": event_type,
        "payloadFormat": "JSON_API_V1",
        "bucketId": "inbox",
        "objectId": "photos/a b+c.jpg",
        "objectGeneration": GENERATION,
        "eventTime": "2023-11-14T22:13:20.123456Z",
        **attributes,
    }
    data = metadata() if data is ... else data
    return {
        "message": {
            "attributes": {name: value for name, value in fields.items() if value is not ...},
            "data": data if isinstance(data, str) else b64encode(json.dumps(data).encode()).decode(),
            "messageId": "136969346945",
            "message_id": "136969346945",
            "publishTime": "2023-11-14T22:13:20.5Z",
            "publish_time": "2023-11-14T22:13:20.5Z",
        },
        "subscription": "projects/my-project/subscriptions/yurt",
        "deliveryAttempt": 5,
    }
