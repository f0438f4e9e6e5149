"""Times as cameras and programs write them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.handlers.photo.metadata.timestamps import capture_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024:05:04 16:41:42", "2024-05-04T16:41:42"),
        ("2024:05:04 16:41:42\0\0", "2024-05-04T16:41:42"),
        ("  2024:05:04  16:41:42  ", "2024-05-04T16:41:42"),
        ("2024-05-04 16:41:42", "2024-05-04T16:41:42"),
        ("2024/05/04 16:41:42", "2024-05-04T16:41:42"),
        ("2024.05.04 16:41:42", "2024-05-04T16:41:42"),
        ("2024:05:04T16:41:42", "2024-05-04T16:41:42"),
        ("2024:05:04:16:41:42", "2024-05-04T16:41:42"),
        ("2024:05:04 16.41.42", "2024-05-04T16:41:42"),
        ("2024:5:4 6:1:2", "2024-05-04T06:01:02"),
        ("2024: 5: 4  6: 1: 2", "2024-05-04T06:01:02"),
        ("20240504T164142Z", "2024-05-04T16:41:42+00:00"),
        ("20240504 164142+0200", "2024-05-04T16:41:42+02:00"),
        ("2013:07:12 16:54", "2013-07-12T16:54:00"),
        ("2018-01-20T11:46:00Z", "2018-01-20T11:46:00+00:00"),
        ("2018-01-20t11:46:00z", "2018-01-20T11:46:00+00:00"),
        ("2018-01-20T11:46:00 UTC", "2018-01-20T11:46:00+00:00"),
        ("2025:01:08 07:18:55+0200", "2025-01-08T07:18:55+02:00"),
        ("2025:01:08 07:18:55 -03:30", "2025-01-08T07:18:55-03:30"),
        ("2025:01:08 07:18:55+2", "2025-01-08T07:18:55+02:00"),
        ("2025:01:08 07:18:55GMT+05:45", "2025-01-08T07:18:55+05:45"),
        ("2025:01:08 07:18:55 CET", "2025-01-08T07:18:55"),
        ("2018:06:26 17:46:33.847", "2018-06-26T17:46:33.847"),
        ("2018:06:26 17:46:33,5", "2018-06-26T17:46:33.500"),
        ("2018:06:26 17:46:33.0", "2018-06-26T17:46:33"),
        ("2018:06:26 17:46:33.123456789+09:00", "2018-06-26T17:46:33.123456+09:00"),
        ("2015:08:22 24:08:19", "2015-08-22T00:08:19"),
        ("2015:08:22 24:00:00", "2015-08-22T00:00:00"),
        ("2015-08-22T24:00:00", "2015-08-23T00:00:00"),
        ("2016:12:31 23:59:60", "2017-01-01T00:00:00"),
        ("2019:03:01 04:05:06 PM", "2019-03-01T16:05:06"),
        ("2019:03:01 12:05:06 am", "2019-03-01T00:05:06"),
        ("2019:03:01 12:05 p.m.", "2019-03-01T12:05:00"),
        ("2019:03:01", "2019-03-01"),
        ("2019-03-01", "2019-03-01"),
        ("20190301", "2019-03-01"),
        ("2019:03:01   :  :  ", "2019-03-01"),
    ],
)
def test_forms(text: str, expected: str) -> None:
    assert capture_time(text) == expected
    assert datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "    :  :     :  :  ",
        "0000:00:00 00:00:00",
        "0000:00:00",
        "0001:01:01 00:00:00",
        "1970:01:01 00:00:00",
        "1970-01-01T00:00:00Z",
        "1970-01-01",
        "2024:13:04 16:41:42",
        "2024:02:30 16:41:42",
        "2024:05:04 25:41:42",
        "2024:05:04 16:60:42",
        "2024:05:04 16:41:61",
        "2024:05:04 13:05:06 PM",
        "9999:12:31 23:59:60",
        "05/04/2024 16:41:42",
        "2024:05",
        "yesterday",
        "2024:05:04 noon",
        "\u0662\u0660\u0662\u0664:05:04 16:41:42",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert capture_time(text) is None


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (["+02:00"], "+02:00"),
        (["Z"], "+00:00"),
        (["+0530"], "+05:30"),
        ([" -08:00\0"], "-08:00"),
        (["\N{MINUS SIGN}03:00"], "-03:00"),
        (["      ", "+02:00"], "+02:00"),
        (["   :  ", "+02:00"], "+02:00"),
        (["+25:00", "+01:00"], "+01:00"),
        (["+14:00"], "+14:00"),
        (["+14:30"], ""),
        (["+25:00"], ""),
        (["+05:99"], ""),
        (["99:99"], ""),
        (["summer"], ""),
        ([], ""),
    ],
)
def test_offsets_beside_the_time(offsets: list[str], expected: str) -> None:
    assert capture_time("2024:02:21 10:14:22", "", offsets) == f"2024-02-21T10:14:22{expected}"


def test_an_offset_inside_goes_first() -> None:
    assert capture_time("2024:02:21 10:14:22Z", "", ["+02:00"]) == "2024-02-21T10:14:22+00:00"
    assert capture_time("2024:02:21 10:14:22+25:00", "", ["+02:00"]) == "2024-02-21T10:14:22+02:00"


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("809319", ".809319"),
        ("8", ".800"),
        (" 12 ", ".120"),
        ("012345678", ".012345"),
        ("000", ""),
        ("-1", ""),
        ("\0", ""),
    ],
)
def test_fractions_of_a_second_beside_the_time(digits: str, expected: str) -> None:
    assert capture_time("2024:05:04 16:41:42", digits) == f"2024-05-04T16:41:42{expected}"


@given(st.datetimes(min_value=datetime(1971, 1, 1)), st.sampled_from(["%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]))
def test_every_time_comes_back(moment: datetime, form: str) -> None:
    expected = moment if "%f" in form else moment.replace(microsecond=0)
    text = capture_time(expected.strftime(form).rjust(26 if "%f" in form else 19, "0"))
    assert text
    assert datetime.fromisoformat(text) == expected


@given(st.text(alphabet=st.sampled_from("0123456789:-/. T+ZapmA\0\u0665")) | st.text(), st.text(), st.text())
def test_any_text_is_a_time_or_none(text: str, digits: str, offset: str) -> None:
    result = capture_time(text, digits, [offset])
    assert result is None or datetime.fromisoformat(result)
