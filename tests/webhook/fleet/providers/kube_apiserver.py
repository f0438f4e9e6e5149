"""Runs a real Kubernetes API server and etcd, which ``KUBEBUILDER_ASSETS`` names.

There is no scheduler, kubelet or controller: see ``kube_place.py``.
"""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.polling import wait_until

ASSETS = "KUBEBUILDER_ASSETS"
MANIFEST = Path(__file__).parents[4] / "infra" / "kubernetes" / "yurt.yaml"
CONTROL_PLANE = "system:serviceaccount:yurt:yurt"
"""The user that the manifest's RoleBinding names."""
WITHOUT_RIGHTS = "system:serviceaccount:yurt-workers:yurt-worker"


@dataclass(frozen=True, slots=True)
class KubeApiServer:
    """One API server, with the manifest of ``infra/kubernetes`` applied."""

    url: str
    authority: Path
    tokens: dict[str, str]
    """By user."""
    folder: Path

    def admin(self) -> httpx.AsyncClient:
        """A client that may do everything."""
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, verify=_trust(self.authority), timeout=20)

    def kubeconfig(self, user: str = CONTROL_PLANE) -> Path:
        """A kubeconfig for a user, whose token lies in a file beside it."""
        name = user.rpartition(":")[2]
        (self.folder / f"{name}.token").write_text(self.tokens[user])
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": str(self.authority)}}],
            "users": [{"name": "u", "user": {"tokenFile": f"{name}.token"}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path


def manifest() -> list[dict[str, Any]]:
    """The objects of the manifest."""
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def path_of(thing: dict[str, Any]) -> str:
    """Where objects of a kind are created."""
    plural = {"NetworkPolicy": "networkpolicies"}.get(thing["kind"], f"{thing['kind'].lower()}s")
    api, namespace = thing["apiVersion"], thing["metadata"].get("namespace")
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


@contextmanager
def kube_apiserver(folder: Path) -> Iterator[KubeApiServer]:
    """Run a server in an empty folder. Skips the test where there is none to run."""
    if not (assets := os.environ.get(ASSETS)):
        pytest.skip(f"{ASSETS} names no folder with kube-apiserver and etcd")
    _keys(folder)
    store, peers, port = (_free_port() for _ in range(3))
    users = {"admin": "system:masters", CONTROL_PLANE: "system:serviceaccounts", WITHOUT_RIGHTS: "x"}
    tokens = {user: secrets.token_hex(16) for user in users}
    lines = [f'{tokens[user]},{user},{user},"{group}"' for user, group in users.items()]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    server = KubeApiServer(f"https://127.0.0.1:{port}", folder / "certs" / "apiserver.crt", tokens, folder)
    with (
        _running(_etcd(Path(assets), folder, store, peers), folder / "etcd.log"),
        _running(_apiserver(Path(assets), folder, store, port), folder / "apiserver.log"),
    ):
        wait_until(lambda: _is_ready(server), seconds=90, pause_seconds=0.2)
        _apply_manifest(server)
        yield server


def _etcd(assets: Path, folder: Path, clients: int, peers: int) -> list[str]:
    url, peer = f"http://127.0.0.1:{clients}", f"http://127.0.0.1:{peers}"
    listen = ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer]
    return [str(assets / "etcd"), "--data-dir", str(folder / "etcd"), *listen, "--unsafe-no-fsync"]


def _apiserver(assets: Path, folder: Path, store: int, port: int) -> list[str]:
    options = {
        "etcd-servers": f"http://127.0.0.1:{store}",
        "cert-dir": folder / "certs",
        "secure-port": port,
        "bind-address": "127.0.0.1",
        "service-cluster-ip-range": "10.0.0.0/24",
        "service-account-key-file": folder / "sa.pub",
        "service-account-signing-key-file": folder / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "authorization-mode": "RBAC",
        "token-auth-file": folder / "tokens.csv",
        "disable-admission-plugins": "ServiceAccount",
    }
    return [str(assets / "kube-apiserver"), *(f"--{name}={value}" for name, value in options.items())]


@contextmanager
def _running(argv: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(argv, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.kill()


def _is_ready(server: KubeApiServer) -> bool:
    try:
        headers = {"Authorization": f"Bearer {server.tokens['admin']}"}
        answer = httpx.get(f"{server.url}/readyz", headers=headers, verify=_trust(server.authority), timeout=5)
    except (httpx.HTTPError, OSError):
        return False
    return answer.status_code == 200


def _apply_manifest(server: KubeApiServer) -> None:
    headers = {"Authorization": f"Bearer {server.tokens['admin']}"}
    with httpx.Client(base_url=server.url, headers=headers, verify=_trust(server.authority), timeout=20) as client:
        for thing in manifest():
            client.post(path_of(thing), json=thing).raise_for_status()


def _trust(authority: Path) -> Any:
    return ssl.create_default_context(cafile=str(authority))


def _keys(folder: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "sa.key").write_bytes(private)
    (folder / "sa.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
