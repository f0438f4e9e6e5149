"""A model in a bucket of the local store, published as people do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from types_boto3_s3.client import S3Client

from webhook.config import ModelSettings
from webhook.models.local_files import collect, digested
from webhook.models.publish import ModelPublisher, Publication
from webhook.models.version import folder_of

FOLDER = "safety/"


def model(bucket: str, prefix: str = "safety", **more: object) -> ModelSettings:
    """Settings of a model in a bucket."""
    return ModelSettings.model_validate({"source": f"s3://{bucket}/{prefix}", **more})


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def published(
    s3: S3Client, bucket: str, folder: Path, files: Mapping[str, bytes], *, prefix: str = "safety"
) -> Publication:
    """Publish these files by way of a folder."""
    local = collect([written(folder, files)])
    manifest = digested(local, lambda _: None)
    publisher = ModelPublisher(s3, bucket, folder_of(model(bucket, prefix)))
    plan = publisher.plan(manifest, local)
    publisher.publish(manifest, plan, lambda _: None)
    return plan
