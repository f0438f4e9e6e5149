"""S3 notifications of each dialect: as documented, and as recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = sorted((Path(__file__).parent / "recorded" / "ceph-rgw").glob("*.json"))


def aws(name: str = "ObjectCreated:Put", **item: Any) -> dict[str, Any]:
    """AWS's record as in "Event message structure" of the Amazon S3 User Guide."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "amzn-s3-demo-bucket",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
            },
            "object": {
                "key": "HappyFace.jpg",
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
                **item,
            },
        },
    }


def bridged(detail_type: str = "Object Created", **item: Any) -> dict[str, Any]:
    """An event of EventBridge as in "EventBridge event message structure" of the Amazon S3 User Guide."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::amzn-s3-demo-bucket"],
        "detail": {
            "version": "0",
            "bucket": {"name": "amzn-s3-demo-bucket"},
            "object": {
                "key": "example-key",
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189",
                **item,
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }


def minio(name: str = "s3:ObjectCreated:Put", **item: Any) -> dict[str, Any]:
    """A record as MinIO makes them; deletes have neither size nor eTag."""
    fields = {"key": "images%2Fmy+photo.jpg", "versionId": "1", "sequencer": "18D2A8C5B7E1F300", **item}
    if not name.startswith("s3:ObjectRemoved:"):
        fields = {"size": 8, "eTag": "74b87337454200d4d33f80c4663dc5e5", "contentType": "image/jpeg", **fields}
    return {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2024-01-22T10:11:12.131Z",
        "eventName": name,
        "userIdentity": {"principalId": "minio"},
        "requestParameters": {"principalId": "minio", "region": "", "sourceIPAddress": "10.0.0.1"},
        "responseElements": {"x-amz-request-id": "17AC9E", "x-minio-origin-endpoint": "http://minio:9000"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": "inbox", "ownerIdentity": {"principalId": "minio"}, "arn": "arn:aws:s3:::inbox"},
            "object": fields,
        },
        "source": {"host": "10.0.0.1", "port": "", "userAgent": "MinIO (linux; amd64)"},
    }


def ceph(name: str = "ObjectCreated:Put", **item: Any) -> dict[str, Any]:
    """A record as Ceph makes them: the first recorded one, with fields replaced."""
    fields: dict[str, Any] = json.loads(recorded(RECORDED[0])["body"])["Records"][0]
    fields["eventName"] = name
    fields["s3"]["object"].update(item)
    return fields


def recorded(path: Path) -> dict[str, Any]:
    [request] = json.loads(path.read_text(encoding="utf-8"))["requests"]
    return dict(request)
