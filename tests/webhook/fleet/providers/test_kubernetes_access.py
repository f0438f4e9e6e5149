"""How the cluster is found: service account files, and what a kubeconfig may say."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tls_server import TlsServer
from webhook.fleet.providers import ProviderRefused
from webhook.fleet.providers.kubernetes_access import ClusterAccess, find_access
from webhook.provider_settings import KubernetesSettings


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    with TlsServer(tmp_path) as server:
        return server.authority


def found(folder: Path, cluster: dict[str, Any], user: dict[str, Any], context: str | None = None) -> ClusterAccess:
    content = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://c.example:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(content))
    return find_access(settings(kubeconfig=str(folder / "config"), context=context))


def settings(**fields: Any) -> KubernetesSettings:
    return KubernetesSettings.model_validate({"kind": "kubernetes", "image": "yurt:0.2", **fields})


def test_in_a_cluster_the_token_is_read_again_for_each_request(
    tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    (tmp_path / "ca.crt").write_bytes(authority.read_bytes())
    (tmp_path / "token").write_text("first\n")
    access = find_access(settings(), tmp_path)
    assert access.server == "https://[fd00::1]:6443"
    assert access.headers() == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert access.headers() == {"Authorization": "Bearer second"}
    (tmp_path / "token").unlink()
    with pytest.raises(ProviderRefused, match="cannot be read"):
        access.headers()


def test_outside_of_a_cluster_a_kubeconfig_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ProviderRefused, match="set kubeconfig"):
        find_access(settings(), tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ProviderRefused, match="automountServiceAccountToken"):
        find_access(settings(), tmp_path)


def test_an_authority_may_stand_in_the_file_or_beside_it(tmp_path: Path, authority: Path) -> None:
    data = base64.b64encode(authority.read_bytes()).decode()
    for cluster in ({"certificate-authority-data": data}, {"certificate-authority": authority.name}):
        access = found(tmp_path, cluster, {"token": "t"})
        assert isinstance(access.tls, ssl.SSLContext)
        assert access.server == "https://c.example:6443"
        assert access.headers() == {"Authorization": "Bearer t"}


def test_a_secret_is_not_in_the_representation(tmp_path: Path) -> None:
    assert "s3cret" not in repr(found(tmp_path, {}, {"token": "s3cret"}))


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({}, {"exec": {"command": "aws"}}, r"a program that makes tokens \(exec\) is not supported"),
        ({}, {"auth-provider": {"name": "gcp"}}, "an auth-provider is not supported"),
        ({}, {"username": "u", "password": "s3cret"}, "a user name and password is not supported"),
        ({"insecure-skip-tls-verify": True}, {}, "insecure-skip-tls-verify is not supported"),
        ({"proxy-url": "http://p"}, {}, "set HTTPS_PROXY instead"),
        ({"server": "c.example"}, {}, "has to be an https:// URL"),
        ({"server": "http://c.example"}, {"token": "s3cret"}, "unencrypted"),
        ({"certificate-authority-data": "%"}, {}, "certificate-authority-data is not base64"),
        ({"certificate-authority": "none.pem"}, {}, r"none\.pem cannot be read"),
        ({"certificate-authority-data": "eA=="}, {}, "no certificate in PEM form"),
        ({}, {"client-certificate-data": "eA==", "client-key-data": "eA=="}, "client certificate or key is not usable"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProviderRefused, match=said) as raised:
        found(tmp_path, cluster, user)
    assert "s3cret" not in str(raised.value)


def test_an_unknown_context_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ProviderRefused, match=r"no context 'there' \(there are: here\)"):
        found(tmp_path, {}, {}, context="there")


@pytest.mark.parametrize("text", ["", "{", "[1]", "a: &a [*a]", "x" * (2 << 20), "current-context: 5"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(ProviderRefused):
        find_access(settings(kubeconfig=str(tmp_path / "config")))


def test_a_token_of_several_words_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ProviderRefused, match="one word") as raised:
        found(tmp_path, {}, {"token": "two words"}).headers()
    assert "two words" not in str(raised.value)
