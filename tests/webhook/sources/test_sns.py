"""Messages of Amazon SNS: whose are believed, and which addresses are called for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from tests.polling import until
from tests.webhook.sources.fuzz import mutated, noise
from tests.webhook.sources.sns_service import FORGED, TODAY, TOPIC, SnsService, certificate, key, sns_service
from webhook.sources.sns import MAX_ANSWER_BYTES, BadSignature, NoSnsMessage, Sns, Trust, UntrustedTopic
from webhook.sources.sns_calls import NEW_NAMES_A_MINUTE, NEW_NAMES_OF_ONE_SENDER, SnsUnavailable


@contextlib.asynccontextmanager
async def opened(*topics: str) -> AsyncIterator[tuple[SnsService, Sns]]:
    async with sns_service() as service:
        sns = Sns(service.trust(*topics))
        try:
            yield service, sns
        finally:
            await sns.aclose()


async def opened_text(sns: Sns, message: Any) -> bytes | None:
    return await sns.open(json.dumps(message).encode())


@pytest.mark.parametrize("version", ["1", "2"])
async def test_what_was_published_comes_out_of_a_signed_message(version: str) -> None:
    async with opened() as (service, sns):
        for more in ({}, {"Subject": "Amazon S3 Notification"}, {"Subject": None}):
            message = service.notification('{"Records": ["é🏕"]}\n', SignatureVersion=version, **more)
            assert await opened_text(sns, message) == '{"Records": ["é🏕"]}\n'.encode()


async def test_the_canonical_text_is_that_of_the_guide() -> None:
    """Written out, so that this service and the reader cannot be wrong together."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    async with opened() as (service, _):
        message = service.notification("M", Subject="S", MessageId="I", Timestamp="T")
        text = f"Message\nM\nMessageId\nI\nSubject\nS\nTimestamp\nT\nTopicArn\n{TOPIC}\nType\nNotification\n"
        key().public_key().verify(b64decode(message["Signature"]), text.encode(), PKCS1v15(), SHA256())
        message = service.confirmation(MessageId="I", Timestamp="T", Message="M", SubscribeURL="U", Token="O")
        text = (
            "Message\nM\nMessageId\nI\nSubscribeURL\nU\nTimestamp\nT\nToken\nO\n"
            f"TopicArn\n{TOPIC}\nType\nSubscriptionConfirmation\n"
        )
        key().public_key().verify(b64decode(message["Signature"]), text.encode(), PKCS1v15(), SHA256())


@pytest.mark.parametrize("field", ["Message", "MessageId", "Timestamp", "Subject"])
async def test_whatever_is_signed_cannot_be_changed(field: str) -> None:
    async with opened() as (service, sns):
        message = service.notification("hello", Subject="greeting")
        with pytest.raises(BadSignature):
            await opened_text(sns, {**message, field: message[field] + "x"})
        with pytest.raises(BadSignature):
            await opened_text(sns, {name: value for name, value in message.items() if name != "Subject"})


async def test_a_notification_cannot_be_made_a_confirmation() -> None:
    async with opened() as (service, sns):
        message = service.notification("hello")
        with pytest.raises(BadSignature):
            await opened_text(sns, {**service.confirmation(), **message, "Type": "SubscriptionConfirmation"})
        assert not [call for call in service.calls if "Confirm" in call]


@pytest.mark.parametrize("signature", ["", "!!!", "AAAA", b64encode(bytes(256)).decode(), "é"])
async def test_wrong_signatures(signature: str) -> None:
    async with opened() as (service, sns):
        with pytest.raises(BadSignature):
            await opened_text(sns, service.notification("hello", Signature=signature))


@pytest.mark.parametrize("version", ["", "3", "1 ", "2.0"])
async def test_unknown_signature_versions(version: str) -> None:
    async with opened() as (service, sns):
        with pytest.raises(BadSignature, match="SignatureVersion"):
            await opened_text(sns, service.notification("hello", SignatureVersion=version))


async def test_another_key_or_another_certificate_is_no_good() -> None:
    async with opened() as (service, sns):
        other = generate_private_key(65537, 2048)
        with pytest.raises(BadSignature):
            await opened_text(sns, service.notification("hello", signer=other))
        with pytest.raises(BadSignature):
            await opened_text(sns, service.notification("hello", SigningCertURL=service.serve(certificate(other))))


async def test_certificates_that_are_none_or_too_weak() -> None:
    weak, curve = generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())
    async with opened() as (service, sns):
        for pem in (
            b"",
            b"hello",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            certificate(curve),
        ):
            with pytest.raises(BadSignature):
                await opened_text(sns, service.notification("hello", SigningCertURL=service.serve(pem)))
        url = service.serve(certificate(weak))
        with pytest.raises(BadSignature, match="2048"):
            await opened_text(sns, service.notification("hello", Signature=FORGED, SigningCertURL=url))


async def test_certificates_out_of_their_time() -> None:
    day = timedelta(days=1)
    async with opened() as (service, sns):
        for begins, ends in ((TODAY - 2 * day, TODAY - day), (TODAY + day, TODAY + 2 * day)):
            url = service.serve(certificate(begins=begins, ends=ends))
            with pytest.raises(BadSignature, match="not valid now"):
                await opened_text(sns, service.notification("hello", SigningCertURL=url))


async def test_no_other_address_is_called_whatever_a_message_says() -> None:
    async with opened() as (service, sns):
        path = "/SimpleNotificationService-01.pem"
        service.serve(certificate(), path)
        origin = service.origin
        for url in (
            origin.replace("127.0.0.1", "localhost") + path,
            origin.replace("http://", "https://") + path,
            origin.replace("http://", "http://user@") + path,
            f"http://evil.example/{origin}{path}",
            origin + ".evil.example" + path,
            origin + "@evil.example" + path,
            origin + "\\@evil.example" + path,
            origin + path + "?x",
            origin + path + "#x",
            origin + path + "\n",
            origin + "/x" + path,
            origin + "/..%2f" + path,
            origin + "/?Action=Publish&x=.pem",
            origin + "/other.pem",
            " " + origin + path,
            path,
            "",
        ):
            with pytest.raises(BadSignature, match="certificate is not one of SNS"):
                await opened_text(sns, service.notification("hello", SigningCertURL=url))
        assert service.calls == []
        assert await opened_text(sns, service.notification("hello", SigningCertURL=origin + path)) == b"hello"


def test_amazons_own_addresses() -> None:
    arns = {f"arn:{p}:sns:{r}:123456789012:t": r for p, r in (("aws", "us-east-1"), ("aws-us-gov", "us-gov-west-1"))}
    china = "arn:aws-cn:sns:cn-north-1:123456789012:t"
    trust = Trust(frozenset({*arns, china}))
    for arn, region in arns.items():
        assert trust.origin_of(arn) == f"https://sns.{region}.amazonaws.com"
    assert trust.origin_of(china) == "https://sns.cn-north-1.amazonaws.com.cn"


async def test_other_topics_are_refused_before_anything_is_called() -> None:
    async with opened() as (service, sns):
        for topic in ("", TOPIC + "x", TOPIC.upper(), TOPIC.replace("12", "21"), "x" * 10_000):
            with pytest.raises(UntrustedTopic, match="sns_topics"):
                await opened_text(sns, service.notification("hello", TopicArn=topic))
            with pytest.raises(UntrustedTopic):
                await opened_text(sns, service.confirmation(TopicArn=topic))
            with pytest.raises(UntrustedTopic):
                sns.expect({"x-amz-sns-topic-arn": topic})
        with pytest.raises(UntrustedTopic):
            sns.expect({})
        assert service.calls == []


async def test_a_subscription_is_confirmed_by_one_call() -> None:
    async with opened() as (service, sns):
        message = service.confirmation()
        assert await opened_text(sns, message) is None
        assert service.calls[1:] == [message["SubscribeURL"].removeprefix(service.origin)]


async def test_a_subscription_that_ended_is_not_confirmed_anew() -> None:
    async with opened() as (service, sns):
        assert await opened_text(sns, service.confirmation("UnsubscribeConfirmation")) is None
        assert len(service.calls) == 1  # for the certificate


async def test_no_other_address_is_called_to_confirm_even_if_it_is_signed() -> None:
    async with opened() as (service, sns):
        for url in (
            "http://evil.example/?Action=ConfirmSubscription&Token=1",
            service.origin + "@evil.example/?Action=ConfirmSubscription&Token=1",
            service.origin + "/x?Action=ConfirmSubscription&Token=1",
            service.origin + "/?Action=Publish&Token=1",
            service.origin + "/?Action=ConfirmSubscription&Token=1#x",
            service.origin + "/?Action=ConfirmSubscription&Token=1\r\nx: y",
            None,
        ):
            with pytest.raises(BadSignature, match="SubscribeURL"):
                await opened_text(sns, service.confirmation(SubscribeURL=url))
        assert not [call for call in service.calls if not call.endswith(".pem")]


async def test_a_redirect_is_not_followed_and_an_error_means_send_it_again() -> None:
    async with opened() as (service, sns):
        elsewhere = service.serve(certificate())
        for head in (f"302 Found\r\nlocation: {elsewhere}", "500 Internal Server Error", "404 Not Found", "nonsense"):
            url = service.serve(certificate(), head=head)
            with pytest.raises(SnsUnavailable):
                await opened_text(sns, service.notification("hello", SigningCertURL=url))
        assert len(service.calls) == 4
        message = service.confirmation()
        service.serve(b"", "/", "403 Forbidden")
        with pytest.raises(SnsUnavailable, match="403"):
            await opened_text(sns, message)


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with opened() as (service, sns):
        url = service.serve(b"x" * (MAX_ANSWER_BYTES + 1))
        with pytest.raises(SnsUnavailable, match="more than"):
            await opened_text(sns, service.notification("hello", SigningCertURL=url))


async def test_nobody_there_means_send_it_again() -> None:
    async with opened() as (service, sns):
        message = service.notification("hello")
        await sns.aclose()
        dead = Sns(Trust(frozenset({TOPIC}), "http://127.0.0.1:9"))
        with pytest.raises(SnsUnavailable):
            await opened_text(dead, {**message, "SigningCertURL": "http://127.0.0.1:9/SimpleNotificationService-1.pem"})
        await dead.aclose()


async def test_a_certificate_is_fetched_once() -> None:
    async with opened() as (service, sns):
        url = service.serve(certificate())
        for number in range(5):
            message = service.notification(str(number), SigningCertURL=url)
            assert await opened_text(sns, message) == str(number).encode()
        assert len(service.calls) == 1


async def test_forged_messages_neither_call_without_end_nor_keep_known_certificates_from_being_used() -> None:
    async with opened() as (service, sns):
        good = service.notification("hello")
        assert await opened_text(sns, good) == b"hello"
        for _ in range(NEW_NAMES_A_MINUTE - 1):
            with pytest.raises(BadSignature):
                await opened_text(sns, service.notification("hello", Signature=FORGED))
        with pytest.raises(SnsUnavailable, match="in a minute"):
            await opened_text(sns, service.notification("hello", Signature=FORGED))
        assert len(service.calls) == NEW_NAMES_A_MINUTE
        assert await opened_text(sns, good) == b"hello"
        # A confirmation, whose signature is right, has calls of its own.
        assert await opened_text(sns, service.confirmation(SigningCertURL=good["SigningCertURL"])) is None
        assert len(service.calls) == NEW_NAMES_A_MINUTE + 1


async def test_one_sender_of_forged_messages_leaves_calls_for_others() -> None:
    async with opened() as (service, sns):
        for _ in range(NEW_NAMES_OF_ONE_SENDER):
            with pytest.raises(BadSignature):
                await sns.open(json.dumps(service.notification("hello", Signature=FORGED)).encode(), "192.0.2.1")
        with pytest.raises(SnsUnavailable, match="one sender"):
            await sns.open(json.dumps(service.notification("hello", Signature=FORGED)).encode(), "192.0.2.1")
        assert len(service.calls) == NEW_NAMES_OF_ONE_SENDER
        assert await sns.open(json.dumps(service.notification("hello")).encode(), "198.51.100.1") == b"hello"


async def test_a_signature_that_sns_cannot_have_made_causes_no_call() -> None:
    async with opened() as (service, sns):
        for signature in ("", "AAAA", b64encode(bytes(255)).decode(), "!" * 400):
            with pytest.raises(BadSignature):
                await opened_text(sns, service.notification("hello", Signature=signature))
        assert service.calls == []


async def test_messages_that_come_at_once_fetch_their_certificate_once() -> None:
    async with opened() as (service, sns):
        url = service.serve(certificate())
        messages = [service.notification(str(number), SigningCertURL=url) for number in range(8)]
        await asyncio.gather(*(opened_text(sns, message) for message in messages))
        assert len(service.calls) == 1


async def test_few_messages_wait_for_sns_at_a_time() -> None:
    async with opened() as (service, sns):
        service.held.clear()
        messages = [service.notification(str(number)) for number in range(12)]
        tasks = [asyncio.create_task(opened_text(sns, message)) for message in messages]

        async def some_refused() -> bool:
            return sum(task.done() for task in tasks) == 4

        await until(some_refused)
        assert len(service.calls) <= 1
        service.held.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(answer, SnsUnavailable) for answer in answers) == 4
        assert sum(isinstance(answer, bytes) for answer in answers) == 8


def test_which_requests_carry_a_message() -> None:
    assert Sns.wraps({"x-amz-sns-message-type": "Notification"})
    assert not Sns.wraps({})
    assert not Sns.wraps({"x-amz-sns-message-type": "Notification", "x-amz-sns-rawdelivery": "true"})


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"Type": "Notification"}'])
async def test_what_is_no_message(body: bytes) -> None:
    async with opened() as (_, sns):
        with pytest.raises(NoSnsMessage):
            await sns.open(body)


async def test_a_message_of_unknown_type() -> None:
    async with opened() as (service, sns):
        with pytest.raises(NoSnsMessage, match="Party"):
            await opened_text(sns, {**service.notification("hello"), "Type": "Party"})


MESSAGE = {
    "Type": "Notification",
    "MessageId": "1",
    "TopicArn": TOPIC,
    "Message": "{}",
    "Timestamp": "2012-05-02T00:54:06.655Z",
    "SignatureVersion": "1",
    "Signature": FORGED,
    "SigningCertURL": "http://127.0.0.1:9/SimpleNotificationService-1.pem",
    "Token": "1",
    "SubscribeURL": "http://127.0.0.1:9/",
}


@given(noise | mutated([MESSAGE, {**MESSAGE, "Type": "SubscriptionConfirmation"}]) | st.just(b"{}"))
def test_no_body_raises_anything_but_a_refusal(body: bytes) -> None:
    sns = Sns(Trust(frozenset({TOPIC}), "http://127.0.0.1:9"))

    async def open_and_close() -> None:
        try:
            with contextlib.suppress(NoSnsMessage, UntrustedTopic, BadSignature, SnsUnavailable):
                await sns.open(body)
                raise AssertionError("an unsigned message was believed")
        finally:
            await sns.aclose()

    asyncio.run(open_and_close())
