from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.local.exchange import RefusedError
from infra.local.kept import KeptFolderError, KeptObject, KeptObjects
from tests.infra.local.running import running


def described(key: str, size: int = 3) -> KeptObject:
    return KeptObject("photos-in", key, "e1", "2026-06-01T12:00:00.123456+00:00", size, {"content-type": "text/plain"})


def test_objects_survive_a_kill_with_all_that_a_reader_sees(tmp_path: Path) -> None:
    folder = str(tmp_path / "bucket")
    with running("--bucket", "photos-in", "--folder", folder) as first:
        s3 = first.s3()
        s3.put_object(
            Bucket="photos-in", Key="a/é 1.txt", Body=b"one", ContentType="text/plain", Metadata={"colour": "red"}
        )
        s3.put_object(Bucket="photos-in", Key="gone", Body=b"two")
        s3.delete_object(Bucket="photos-in", Key="gone")
        s3.put_object(Bucket="photos-in", Key="twice", Body=b"first")
        s3.put_object(Bucket="photos-in", Key="twice", Body=b"second")
        upload = s3.create_multipart_upload(Bucket="photos-in", Key="parts")["UploadId"]
        part = s3.upload_part(Bucket="photos-in", Key="parts", UploadId=upload, PartNumber=1, Body=b"p")
        s3.complete_multipart_upload(
            Bucket="photos-in",
            Key="parts",
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
        s3.copy_object(Bucket="photos-in", Key="copy", CopySource="photos-in/a/é 1.txt")
        before = {key: s3.head_object(Bucket="photos-in", Key=key) for key in ("a/é 1.txt", "twice", "parts", "copy")}
        os.kill(first.process.pid, signal.SIGKILL)
    with running("--bucket", "photos-in", "--folder", folder) as second:
        s3 = second.s3()
        listed = [item["Key"] for item in s3.list_objects_v2(Bucket="photos-in")["Contents"]]
        assert sorted(listed) == sorted(before)
        for key, known in before.items():
            found = s3.head_object(Bucket="photos-in", Key=key)
            for field in ("ETag", "LastModified", "ContentLength", "ContentType", "Metadata"):
                assert found[field] == known[field], (key, field)
        assert s3.get_object(Bucket="photos-in", Key="twice")["Body"].read() == b"second"


def test_a_renamed_object_is_not_there_twice(tmp_path: Path) -> None:
    folder = str(tmp_path / "bucket")
    with running("--bucket", "photos-in", "--folder", folder) as first:
        s3 = first.s3()
        s3.put_object(Bucket="photos-in", Key="old", Body=b"one")
        s3.meta.events.register(
            "before-call.s3.CopyObject", lambda params, **_: params["headers"].update({"x-tigris-rename": "true"})
        )
        s3.copy_object(Bucket="photos-in", Key="new", CopySource="photos-in/old")
    with running("--bucket", "photos-in", "--folder", folder) as second:
        listed = second.s3().list_objects_v2(Bucket="photos-in")["Contents"]
        assert [item["Key"] for item in listed] == ["new"]


def test_a_part_that_a_crash_left_is_removed_and_a_damaged_file_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = KeptObjects(tmp_path)
    kept.write(described("whole"), b"abc")
    kept.write(described("short", size=9), b"abc")
    (tmp_path / "x.partial").write_bytes(b"half")
    (tmp_path / "stranger").write_bytes(b"hello")
    again = KeptObjects(tmp_path)
    assert not (tmp_path / "x.partial").exists()
    assert [(stored.key, content) for stored, content in again.load()] == [("whole", b"abc")]
    printed = capsys.readouterr().err
    assert "3 bytes instead of 9" in printed
    assert str(tmp_path / "stranger") in printed


def test_other_users_cannot_read_them(tmp_path: Path) -> None:
    KeptObjects(tmp_path / "new").write(described("a"), b"abc")
    [path] = (tmp_path / "new").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    kept = KeptObjects(tmp_path, max_bytes=600)
    kept.check_room(500)
    kept.write(described("a", 400), b"x" * 400)
    with pytest.raises(RefusedError, match="holds at most 600 bytes"):
        kept.check_room(200)
    kept.remove("photos-in", "a")
    kept.remove("photos-in", "a")
    kept.check_room(200)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeptFolderError, match="cannot be kept there"):
        KeptObjects(tmp_path / "file")


def test_without_room_on_the_disk_nothing_is_announced(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    with running("--bucket", "photos-in", "--folder", str(folder)) as local:
        folder.rename(tmp_path / "away")
        with pytest.raises(ClientError, match="could not be kept"):
            local.s3().put_object(Bucket="photos-in", Key="a", Body=b"abc")
        assert local.stats()["pending"] == 0
