"""Publishes a folder as a model, as ``yurt models publish`` does, without a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from webhook.config import ModelSettings
from webhook.models.local_files import collect, digested
from webhook.models.publish import ModelPublisher
from webhook.models.version import folder_of

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def publish_folder(s3: S3Client, settings: ModelSettings, folder: Path) -> str:
    """Publish all files below a folder, and make them the current version; return its root.

    Raises StoreError, NoModel, ChangedMeanwhile, OSError.
    """
    files = collect([folder])
    listed = digested(files, lambda _: None)
    publisher = ModelPublisher(s3, settings.source.bucket, folder_of(settings))
    plan = publisher.plan(listed, files)
    publisher.publish(listed, plan, lambda _: None)
    return plan.root
