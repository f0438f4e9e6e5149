"""Keys of uploads: whatever a file is called, the key is harmless, watched, and survives a browser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.plane import pipeline
from webhook.config import Pipeline
from webhook.events import MAX_KEY_BYTES
from webhook.uploads.keys import KeyRefused, checked, folder_prefix, new_key, safe_name, ticket_key

PHOTOS = Pipeline(**{**pipeline(), "input": "s3://inbox/uploads/"})


@given(st.text(max_size=400))
def test_any_name_makes_a_key_that_is_watched(name: str) -> None:
    key = new_key(PHOTOS, "users/42", name)
    assert PHOTOS.watches("inbox", key)
    assert key.startswith("uploads/users/42/")
    last = key.rpartition("/")[2]
    assert last.isprintable()
    assert last not in ("", ".", "..")
    assert len(last.encode()) <= 200


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("IMG 0042.JPG", "IMG 0042.JPG"),
        ("C:\\Users\\me\\naïve 🏕.jpeg", "naïve 🏕.jpeg"),
        ("../../etc/passwd", "passwd"),
        ("a?b#c%2e.jpg", "a_b_c_2e.jpg"),
        ("a\r\nb\x00.jpg", "a__b_.jpg"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("..", "file"),
        (".yurt-7", "yurt-7"),
        ("", "file"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
    ],
)
def test_names_become_tidy_and_keep_their_suffix(name: str, made: str) -> None:
    assert safe_name(name) == made


def test_each_upload_has_a_key_of_its_own() -> None:
    assert len({new_key(PHOTOS, "", "a.jpg") for _ in range(100)}) == 100
    assert ticket_key(PHOTOS, "uploads/f/", 3, "a.jpg") == "uploads/f/3/a.jpg"


@pytest.mark.parametrize(
    "key",
    [
        "other/a.jpg", "uploads/../a.jpg", "uploads/./a.jpg", "uploads//a.jpg", "uploads/", "uploads/a.jpg/",
        "uploads/.yurt-1/a.jpg", "uploads/a\nb.jpg", "uploads/\u202ea.jpg", "uploads/" + "x" * MAX_KEY_BYTES,
    ],
)  # fmt: skip
def test_keys_that_cannot_be_uploaded_are_refused(key: str) -> None:
    with pytest.raises(KeyRefused):
        checked(PHOTOS, key)


def test_a_pipeline_takes_its_own_suffixes_alone() -> None:
    raw = PHOTOS.model_copy(update={"suffixes": (".nef",)})
    assert checked(raw, "uploads/a.NEF") == "uploads/a.NEF"
    with pytest.raises(KeyRefused, match=r"end in \.nef"):
        checked(raw, "uploads/a.jpg")


def test_a_prefix_ends_in_a_slash() -> None:
    assert folder_prefix(PHOTOS, "users/42") == folder_prefix(PHOTOS, "users/42/") == "uploads/users/42/"
    assert folder_prefix(PHOTOS, "") == "uploads/"
    for wrong in ("/", "../x", "a//b", "a/./b", "/a", "a\x00"):
        with pytest.raises(KeyRefused):
            folder_prefix(PHOTOS, wrong)
