from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.store_endpoint import Addressing, in_host, is_loopback, normalised, origin_of


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://t3.storage.dev", "https://t3.storage.dev"),
        (" https://t3.storage.dev/\n", "https://t3.storage.dev"),
        ("HTTPS://T3.Storage.DEV/", "https://t3.storage.dev"),
        ("https://store:443", "https://store"),
        ("https://store:443/", "https://store"),
        ("https://store:80", "https://store:80"),
        ("http://store:80", "http://store"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://store:443", "http://store:443"),
        ("http://store:09000", "http://store:9000"),
        ("https://store:/", "https://store"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[2001:DB8::1]:9000", "http://[2001:DB8::1]:9000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://project.supabase.co/storage/v1/s3/", "https://project.supabase.co/storage/v1/s3"),
        ("t3.storage.dev", "https://t3.storage.dev"),
        ("minio.example.com:9000", "https://minio.example.com:9000"),
        ("localhost:9000", "http://localhost:9000"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_an_endpoint_is_read_as_it_is_written(written: str, read: str) -> None:
    assert normalised(written) == read
    assert normalised(read) == read


@pytest.mark.parametrize(
    "written",
    [
        "", "https://", "://x", "ftp://hidden", "https://hidden:pw@host", "hidden@host", "https://host/hidden?x",
        "https://host?hidden", "https://host#hidden", "https://host:99999", "https://host:hidden", "https://[::1",
        "https://host/a b", "https://host/%41", "https://ho st",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_without_showing_it(written: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) ") as refused:
        normalised(written)
    assert "hidden" not in str(refused.value)


hosts = st.sampled_from(["Store", "s3.example.com", "MINIO.store.svc", "127.0.0.1", "[::1]", "bücher.example", "a.b."])


@given(
    st.sampled_from(["http", "https", "HTTPS"]),
    hosts,
    st.none() | st.sampled_from([80, 443, 9000, 1]),
    st.sampled_from(["photos-in", "photos.in", "Photos", "photos_in"]),
    st.sampled_from(["auto", "virtual", "path"]),
)
def test_the_host_that_is_signed_is_the_host_that_is_sent(
    scheme: str, host: str, port: int | None, bucket: str, addressing: str
) -> None:
    origin, prefix = origin_of(f"{scheme}://{host}{f':{port}' if port else ''}/", bucket, addressing)
    sent = httpx.Request("GET", f"{origin}{prefix}/key")
    assert sent.headers["host"] == urlsplit(origin).netloc
    assert bucket in f"{sent.headers['host']}{sent.url.path}"


@pytest.mark.parametrize(
    ("endpoint", "bucket", "addressing", "origin", "prefix"),
    [
        ("https://t3.storage.dev", "photos-in", "auto", "https://photos-in.t3.storage.dev", ""),
        ("https://s3.eu-west-1.amazonaws.com", "photos-in", "auto", "https://photos-in.s3.eu-west-1.amazonaws.com", ""),
        ("https://notamazonaws.com", "photos-in", "auto", "https://notamazonaws.com", "/photos-in"),
        ("http://minio.svc.cluster:9000", "photos-in", "auto", "http://minio.svc.cluster:9000", "/photos-in"),
        ("https://s3.example.com", "photos-in", "virtual", "https://photos-in.s3.example.com", ""),
        ("http://minio:9000", "photos-in", "virtual", "http://photos-in.minio:9000", ""),
        ("http://127.0.0.1:9000", "photos-in", "virtual", "http://127.0.0.1:9000", "/photos-in"),
        ("http://[::1]:9000", "photos-in", "virtual", "http://[::1]:9000", "/photos-in"),
        ("https://t3.storage.dev", "photos-in", "path", "https://t3.storage.dev", "/photos-in"),
        ("https://t3.storage.dev", "photos.example.com", "virtual", "https://t3.storage.dev", "/photos.example.com"),
        ("https://t3.storage.dev", "Photos", "virtual", "https://t3.storage.dev", "/Photos"),
        ("https://t3.storage.dev", "photos_in", "auto", "https://t3.storage.dev", "/photos_in"),
        ("https://p.supabase.co/storage/s3", "photos-in", "virtual", "https://p.supabase.co", "/storage/s3/photos-in"),
    ],
)  # fmt: skip
def test_where_a_bucket_stands(endpoint: str, bucket: str, addressing: Addressing, origin: str, prefix: str) -> None:
    assert origin_of(endpoint, bucket, addressing) == (origin, prefix)
    assert in_host(endpoint, bucket, addressing) == (bucket in urlsplit(origin).netloc)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:9", True), ("http://127.9.9.9", True), ("http://LOCALHOST", True), ("http://[::1]:9", True),
        ("http://s3.localhost:9", True), ("http://localhost.example.com", False), ("http://10.0.0.1", False),
        ("http://[", False),
    ],
)  # fmt: skip
def test_what_leads_to_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here
