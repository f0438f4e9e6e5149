"""Plays Amazon SNS: signs messages with a certificate that it serves, and counts confirmations."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.polling import until
from webhook.sources.sns import Trust

TOPIC = "arn:aws:sns:us-east-1:123456789012:uploads"
FORGED = b64encode(bytes(256)).decode()
"""As long as a signature of SNS."""
TODAY = datetime.now(UTC)
_SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
"""In the order of the alphabet, as the guide says. Each kind of message has some of them."""

_names = itertools.count(1)


@functools.cache
def key(bits: int = 2048) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


def certificate(
    signer: RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    begins: datetime = TODAY - timedelta(days=1),
    ends: datetime = TODAY + timedelta(days=1),
) -> bytes:
    """Make a self-signed certificate, as PEM."""
    signer = signer or key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder(name, name, signer.public_key(), x509.random_serial_number(), begins, ends)
        .sign(signer, SHA256())
        .public_bytes(Encoding.PEM)
    )
    return bytes(made)


@dataclass
class SnsService:
    """Running SNS on loopback."""

    origin: str
    responses: dict[str, bytes] = field(default_factory=dict)
    """Whole HTTP responses by path; others are 404."""
    calls: list[str] = field(default_factory=list)
    """Targets of the requests that came."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: responses are given."""
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    """Open connections."""

    def trust(self, *topics: str) -> Trust:
        return Trust(frozenset(topics or {TOPIC}), self.origin)

    def serve(self, body: bytes, path: str = "", head: str = "200 OK") -> str:
        """Serve a body. Returns its URL."""
        path = path or f"/SimpleNotificationService-{next(_names):032x}.pem"
        self.responses[path] = _response(head, body)
        return self.origin + path

    def notification(self, message: Any, **more: Any) -> dict[str, Any]:
        """A signed message around what was published."""
        text = message if isinstance(message, str) else json.dumps(message)
        return self.message("Notification", Message=text, **more)

    def confirmation(self, kind: str = "SubscriptionConfirmation", **more: Any) -> dict[str, Any]:
        """A signed message that requests the confirmation of a subscription, or reports its end."""
        self.responses["/"] = _response("200 OK", b"<done>")
        token = "2336412f37fb687f5d51e6e2425dacbb"
        confirm_url = f"{self.origin}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}"
        fields = {
            "Message": f"You have chosen to subscribe to the topic {TOPIC}.",
            "Token": token,
            "SubscribeURL": confirm_url,
        }
        return self.message(kind, **{**fields, **more})

    def message(self, kind: str, *, signer: RSAPrivateKey | None = None, **more: Any) -> dict[str, Any]:
        fields = {
            "Type": kind,
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Timestamp": "2012-05-02T00:54:06.655Z",
            "SignatureVersion": "2",
            "UnsubscribeURL": f"{self.origin}/?Action=Unsubscribe",
            **more,
        }
        if "SigningCertURL" not in fields:
            fields["SigningCertURL"] = self.serve(certificate())
        names = [name for name in _SIGNED if fields.get(name) is not None]
        text = "".join(f"{name}\n{fields[name]}\n" for name in names).encode()
        how = SHA1() if fields["SignatureVersion"] == "1" else SHA256()
        fields.setdefault("Signature", b64encode((signer or key()).sign(text, PKCS1v15(), how)).decode())
        return fields

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection."""
        self.open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            self.calls.append(target)
            await self.held.wait()
            path = target.partition("?")[0]
            writer.write(self.responses.get(path, _response("404 Not Found")))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.open.discard(writer)


def _response(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextlib.asynccontextmanager
async def sns_service() -> AsyncIterator[SnsService]:
    """Run SNS on loopback."""
    service = SnsService("")
    server = await asyncio.start_server(service.respond, "127.0.0.1", 0)
    service.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    service.held.set()
    try:
        yield service
    finally:
        server.close()

        async def hung_up() -> bool:
            return not service.open

        await until(hung_up)
