"""Verifies messages of Amazon SNS, in which it wraps S3 notifications, and confirms its subscriptions.

A message is believed for its signature alone, so it needs no secret: the topic has to be one that is configured, and
the certificate has to come from SNS in that topic's own region. So no message makes this process call another address.
A message that is sent twice does no harm: the events in it are known by then.

Source: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import msgspec
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from webhook.sources import UNREADABLE
from webhook.sources.sns_calls import (
    CALL_SECONDS,
    CALLS_A_MINUTE,
    NEW_NAMES_A_MINUTE,
    NEW_NAMES_OF_ONE_SENDER,
    CallBudget,
    SnsUnavailable,
)
from webhook.sources.sns_certificates import UNREADABLE_CERTIFICATE, KeptCertificates, SnsCertificates
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import PAST_PROXIES, why_unreachable

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 2 << 20
"""Largest message: SNS allows 256 KiB of text, and JSON writes a character with up to six."""
MAX_ANSWER_BYTES = 64 * 1024
"""Largest certificate, and largest answer to a confirmation."""
_KEY_BITS = 2048

_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES = {"1": SHA1, "2": SHA256}


class NoSnsMessage(Exception):
    """The body is no message of SNS. SNS itself sends no such body, and repeats nothing that is answered 400."""


class UntrustedTopic(Exception):
    """A topic that is not configured."""


class BadSignature(Exception):
    """The message is not from SNS, or was changed on the way."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The topics whose messages are believed, and where their certificates have to come from."""

    topics: frozenset[str] = frozenset()
    """Amazon Resource Names."""
    origin: str = "https://sns.{region}.{domain}"
    """Scheme and host of SNS in a region."""

    def origin_of(self, topic: str) -> str:
        """The scheme and host of SNS in a topic's region. Raises UntrustedTopic."""
        if topic not in self.topics:
            raise UntrustedTopic(
                f"the topic {topic[:300]!r} is not one of server.sns_topics: add it there, or end the subscription"
            )
        _, partition, _, region, *_ = topic.split(":")
        domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        return self.origin.format(region=region, domain=domain)


class _SnsMessage(msgspec.Struct):
    Type: str
    MessageId: str
    TopicArn: str
    Message: str
    Timestamp: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


_decode = msgspec.json.Decoder(_SnsMessage).decode


class Sns:
    """Verifies and unwraps messages of trusted topics, and confirms subscriptions to them."""

    def __init__(self, trust: Trust, kept: KeptCertificates | None = None) -> None:
        """``kept`` is where good certificates outlive this process."""
        self._trust = trust
        self._http: httpx.AsyncClient | None = None
        self._certificates = SnsCertificates(kept)
        self._confirmations = CallBudget(CALLS_A_MINUTE)
        self._new_names = CallBudget(NEW_NAMES_A_MINUTE, NEW_NAMES_OF_ONE_SENDER)

    @staticmethod
    def wraps(headers: Mapping[str, str]) -> bool:
        """Whether a request carries a message of SNS. With raw delivery it is the published text, unsigned."""
        return "x-amz-sns-message-type" in headers and headers.get("x-amz-sns-rawdelivery", "").lower() != "true"

    def expect(self, headers: Mapping[str, str]) -> None:
        """Refuse an untrusted topic by the request's headers, before its body is read. Raises UntrustedTopic."""
        self._trust.origin_of(headers.get("x-amz-sns-topic-arn", ""))

    async def open(self, body: bytes, sender: str = "") -> bytes | None:
        """Return the published text; None where the message is about the subscription.

        ``sender`` is the address that it came from, empty where it cannot be told from others.

        Raises:
            NoSnsMessage: it is no message.
            UntrustedTopic: its topic is not configured.
            BadSignature: it was not signed by SNS, or the certificate is not valid now.
            SnsUnavailable: SNS does not answer.

        """
        message = _read(body)
        origin = self._trust.origin_of(message.TopicArn)
        await self._verify(message, origin, sender)
        if message.Type == "Notification":
            return message.Message.encode("utf-8", "surrogatepass")
        if message.Type == "SubscriptionConfirmation":
            await self._confirm(message, origin)
        else:
            log.warning("subscription ended", topic=message.TopicArn)
        return None

    async def aclose(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.aclose()

    async def _verify(self, message: _SnsMessage, origin: str, sender: str) -> None:
        url = message.SigningCertURL
        if not re.fullmatch(re.escape(origin) + r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem", url):
            raise BadSignature(f"the certificate is not one of SNS at {origin}")
        signature = _signature(message)  # before any call for it
        if (known := await self._certificates.get(url)) is not None:
            _check_signature(message, signature, known)
            return
        async with self._new_names.turn():
            known = await self._certificates.get(url)  # what came before may have fetched it
            pem = None if known else await self._call(url, self._new_names, sender)
            _check_signature(message, signature, known or _certificate(pem or b""))
            # Only after the check, so that forged messages neither fill the memory nor displace a good certificate.
            if pem is not None:
                await self._certificates.add(url, pem)

    async def _confirm(self, message: _SnsMessage, origin: str) -> None:
        url = message.SubscribeURL or ""
        if not re.fullmatch(re.escape(origin) + r"/\?Action=ConfirmSubscription&[A-Za-z0-9&=:%._~+-]{1,4000}", url):
            raise BadSignature(f"SubscribeURL is not a confirmation at {origin}")
        async with self._confirmations.turn():
            await self._call(url, self._confirmations)
        log.info("subscription confirmed", topic=message.TopicArn)

    async def _call(self, url: str, budget: CallBudget, sender: str = "") -> bytes:
        """GET from SNS in the budget's turn. Raises SnsUnavailable."""
        budget.spend(sender)
        try:
            return await self._get(url)
        except httpx.HTTPError as error:
            raise SnsUnavailable(f"SNS does not answer: {why_unreachable(error)}") from None

    async def _get(self, url: str) -> bytes:
        if self._http is None:
            self._http = httpx.AsyncClient(mounts=PAST_PROXIES, timeout=CALL_SECONDS, follow_redirects=False)
        async with self._http.stream("GET", url) as response:
            if response.status_code != 200:
                raise SnsUnavailable(f"SNS answered {response.status_code}")
            try:
                return await read_bounded(response.aiter_bytes(), MAX_ANSWER_BYTES)
            except BodyTooLong:
                raise SnsUnavailable(f"SNS answered with more than {MAX_ANSWER_BYTES} bytes") from None


def _read(body: bytes) -> _SnsMessage:
    """Parse a message. Raises NoSnsMessage."""
    try:
        message = _decode(body)
    except UNREADABLE as error:
        raise NoSnsMessage(f"not an SNS message: {error}") from None
    if message.Type not in _SIGNED:
        raise NoSnsMessage(f"not an SNS message: unknown Type {message.Type[:100]!r}")
    return message


def _certificate(pem: bytes) -> x509.Certificate:
    """Read what SigningCertURL leads to. Raises BadSignature."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except UNREADABLE_CERTIFICATE:
        raise BadSignature("what SigningCertURL leads to is no certificate") from None


def _signature(message: _SnsMessage) -> bytes:
    """Read the signature of a message. Raises BadSignature where no certificate of SNS can have made it."""
    if message.SignatureVersion not in _HASHES:
        raise BadSignature(f"unknown SignatureVersion {message.SignatureVersion[:20]!r}")
    try:
        signature = b64decode(message.Signature, validate=True)
    except ValueError:
        signature = b""
    if len(signature) * 8 < _KEY_BITS:
        raise BadSignature("the signature does not fit the message")
    return signature


def _check_signature(message: _SnsMessage, signature: bytes, certificate: x509.Certificate) -> None:
    """Check that the certificate's key signed the message. Raises BadSignature."""
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise BadSignature("the certificate is not valid now. Is this machine's clock right?")
    kind = _HASHES[message.SignatureVersion]
    try:
        _key_of(certificate).verify(signature, _signed_text(message), PKCS1v15(), kind())
    except (ValueError, InvalidSignature):
        raise BadSignature("the signature does not fit the message") from None


def _key_of(certificate: x509.Certificate) -> RSAPublicKey:
    """The certificate's RSA key. Raises BadSignature."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < _KEY_BITS:
        raise BadSignature(f"the certificate's key is not RSA of at least {_KEY_BITS} bits")
    return key


def _signed_text(message: _SnsMessage) -> bytes:
    """The text that SNS signs: names and values of the fields that are there, in order, a newline after each."""
    values = ((name, getattr(message, name)) for name in _SIGNED[message.Type])
    return "".join(f"{name}\n{value}\n" for name, value in values if value is not None).encode()
