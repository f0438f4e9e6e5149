"""Finds out how to reach a Kubernetes API server: in the cluster by the Pod's service account, else by a kubeconfig.

Of a kubeconfig: server, authority, server name, client certificate, token and token file. Programs that make tokens
(``exec``) are not run: they would have to be given this process's environment, which holds its secrets.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from webhook.fleet.providers import ProviderRefused
from webhook.provider_settings import KubernetesSettings
from workers.outgoing import sends_in_clear

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a Pod finds its token, which is replaced before it expires, and the cluster's authority."""
_FILE_BYTES = 1 << 20
_INSTEAD_HINT = (
    "make a token of a service account and set it as `token` or `tokenFile` of the user: see docs/kubernetes.md"
)
_UNSUPPORTED = {
    "exec": "a program that makes tokens (exec)",
    "auth-provider": "an auth-provider",
    "username": "a user name and password",
    "as": "impersonation (as)",
}


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How one API server is reached."""

    server: str
    """Its URL, without a slash at the end."""
    tls: ssl.SSLContext | bool = True
    """What is trusted, and the client's certificate. True: the authorities that this system trusts."""
    server_name: str = ""
    """Name in the server's certificate, where that is not the URL's host."""
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """File of the token, which is read anew for each request: it is replaced before it expires."""

    def headers(self) -> Mapping[str, str]:
        """The credentials of one request. Raises ProviderRefused where the token's file cannot be read."""
        token = _text(self.token_file, "the token's file").strip() if self.token_file else self.token
        if not token.isascii() or any(character.isspace() for character in token):
            raise ProviderRefused("the Kubernetes token is not one word of ASCII", hint="was it copied whole?")
        return {"Authorization": f"Bearer {token}"} if token else {}


def find_access(settings: KubernetesSettings, service_account: Path = SERVICE_ACCOUNT) -> ClusterAccess:
    """Read how to reach the cluster. Raises ProviderRefused, with what is missing or not supported."""
    if settings.kubeconfig is None:
        return _in_cluster(service_account)
    access = _by_kubeconfig(Path(settings.kubeconfig), settings.context)
    if sends_in_clear(access.server):
        raise ProviderRefused(f"{access.server} would be sent the token unencrypted", hint="use https:// there")
    return access


def _in_cluster(folder: Path) -> ClusterAccess:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        hint = "set kubeconfig, or run the control plane in the cluster"
        raise ProviderRefused("no kubeconfig is set, and this is no Pod of a cluster", hint=hint)
    if not (folder / "token").exists():
        hint = "set automountServiceAccountToken: true for the control plane's Pod"
        raise ProviderRefused(f"there is no token in {folder}", hint=hint)
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    authority = _text(folder / "ca.crt", "the cluster's authority")
    return ClusterAccess(server, _trusting(authority), token_file=folder / "token")


def _by_kubeconfig(path: Path, wanted: str | None) -> ClusterAccess:
    config = _Kubeconfig(path)
    name = wanted or config.current
    context = config.named("contexts", name, "context")
    cluster = config.named("clusters", str(context.get("cluster", "")), "cluster")
    user = config.named("users", str(context["user"]), "user") if context.get("user") else {}
    config.refuse_unsupported(cluster, user)
    return ClusterAccess(
        server=config.server_of(cluster),
        tls=config.tls_of(cluster, user),
        server_name=str(cluster.get("tls-server-name", "")),
        token="" if user.get("tokenFile") else str(user.get("token", "")),
        token_file=config.beside(user["tokenFile"]) if user.get("tokenFile") else None,
    )


class _Kubeconfig:
    """One kubeconfig, whose relative paths start at its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = yaml.safe_load(_text(path, "the kubeconfig"))
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ProviderRefused(f"{path} is no YAML", hint="is it a kubeconfig?") from None
        if not isinstance(content, dict):
            raise ProviderRefused(f"{path} is no kubeconfig")
        self._content = content
        self.current = str(content.get("current-context") or "")

    def named(self, section: str, name: str, kind: str) -> Mapping[str, Any]:
        """The cluster, user or context of a name."""
        entries = self._content.get(section) or []
        known = {str(one["name"]): one.get(kind) for one in entries if isinstance(one, dict) and "name" in one}
        if not isinstance(found := known.get(name), dict):
            there_are = ", ".join(sorted(known)[:10]) or "none"
            message = f"{self._path} has no {kind} {name!r}" if name else f"{self._path} names no {kind}"
            raise ProviderRefused(message, hint=f"there are: {there_are}")
        return found

    def refuse_unsupported(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
        """Refuse what would otherwise be left out silently."""
        for key, words in _UNSUPPORTED.items():
            if user.get(key):
                raise ProviderRefused(f"{self._path}: {words} is not supported", hint=_INSTEAD_HINT)
        if cluster.get("insecure-skip-tls-verify"):
            hint = "set certificate-authority of the cluster to its authority's certificate"
            raise ProviderRefused(f"{self._path}: insecure-skip-tls-verify is not supported", hint=hint)
        if cluster.get("proxy-url"):
            raise ProviderRefused(f"{self._path}: proxy-url is not supported", hint="set HTTPS_PROXY instead")

    def server_of(self, cluster: Mapping[str, Any]) -> str:
        """URL of the API server."""
        server = str(cluster.get("server", "")).rstrip("/")
        if not server.startswith(("https://", "http://")):
            raise ProviderRefused(f"{self._path}: the cluster's server has to be an https:// URL")
        return server

    def tls_of(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | bool:
        """Trust in the cluster's authority, and the client's certificate."""
        authority = self._pem(cluster, "certificate-authority")
        certificate, key = self._pem(user, "client-certificate"), self._pem(user, "client-key")
        if not authority and not certificate:
            return True
        context = _trusting(authority) if authority else ssl.create_default_context()
        if certificate:
            _present(context, certificate, key)
        return context

    def beside(self, path: object) -> Path:
        """A path in the file, relative to it."""
        return self._path.parent / str(path)

    def _pem(self, section: Mapping[str, Any], name: str) -> str:
        """A certificate or key: written in the file in base64, or named by a path."""
        if data := section.get(f"{name}-data"):
            try:
                return base64.b64decode(str(data), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise ProviderRefused(f"{self._path}: {name}-data is not base64 of a PEM file") from None
        return _text(self.beside(section[name]), name) if section.get(name) else ""


def _trusting(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise ProviderRefused("the cluster's authority is no certificate in PEM form") from None


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show a client's certificate. OpenSSL reads it from a file alone: of this user, and gone at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        try:
            # A key that is encrypted would be asked for at the terminal.
            context.load_cert_chain(file.name, password="")
        except (ssl.SSLError, ValueError):
            hint = "is the key of that certificate, in PEM form, and without a passphrase?"
            raise ProviderRefused("the kubeconfig's client certificate or key is not usable", hint=hint) from None


def _text(path: Path, words: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise ProviderRefused(f"{words} {path} has more than {_FILE_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ProviderRefused(f"{words} {path} cannot be read: {why}", hint="is it there, for this user?") from None
