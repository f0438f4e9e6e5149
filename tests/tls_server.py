"""Runs a TLS server whose certificate a private authority issued, in front of a plain TCP server or of none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


class TlsServer:
    """Hands on what it decrypts to a port of this machine; without one it ends each connection.

    ``authority`` is the file of the authority's certificate, ``certificate`` the one of the server's own with its key.
    Where it ``asks_clients``, they need a certificate of the same authority. ``plain_port`` speaks no TLS.
    """

    def __init__(self, folder: Path, behind: int = 0, *, asks_clients: bool = False) -> None:
        self.authority = folder / "authority.pem"
        self._behind = behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate = _certified(folder, self.authority)
        self._context.load_cert_chain(self.certificate)
        if asks_clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(self.authority)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._plain = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.plain_port: int = self._plain.getsockname()[1]

    def __enter__(self) -> Self:
        for serve in (self._serve, self._serve_plain):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in (self._listener, self._plain):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._hand_on, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve_plain(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._plain.accept()[0]
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                connection.close()

    def _hand_on(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as inner:
            if self._behind:
                with socket.create_connection(("127.0.0.1", self._behind)) as outer:
                    threading.Thread(target=_pump, args=(outer, inner), daemon=True).start()
                    _pump(inner, outer)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _certified(folder: Path, authority: Path) -> Path:
    """Write the authority's certificate, and one file with the server's key and chain."""
    now = datetime.now(UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    leaf = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca = (
        builder(root, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .sign(root_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())  # Python 3.13 wants it
    certificate = (
        builder(leaf, key.public_key())
        .add_extension(names, critical=False)
        .add_extension(issuer, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    authority.write_bytes(ca.public_bytes(Encoding.PEM))
    chain = folder / "server.pem"
    chain.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
        + ca.public_bytes(Encoding.PEM)
    )
    return chain
