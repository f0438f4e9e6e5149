"""Which addresses callbacks may reach."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from webhook.callbacks.addresses import AddressRefused, Resolve, checked_address


def resolving(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


INSIDE = [
    "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "::", "fd12::1",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "192.0.2.1", "240.0.0.1", "198.18.0.1",
]  # fmt: skip
NEVER = ["169.254.169.254", "fe80::1", "fe80::1%eth0", "100.100.100.200", "fd00:ec2::254", "::ffff:169.254.169.254",
         "64:ff9b::a9fe:a9fe", "168.63.129.16", "224.0.0.1", "ff02::1"]  # fmt: skip


@pytest.mark.parametrize("address", [*INSIDE, *NEVER])
async def test_what_is_inside_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="allow_private"):
        await checked_address("app.example.com", 443, private=False, resolve=resolving(address))


@pytest.mark.parametrize("address", NEVER)
async def test_metadata_services_are_refused_whatever_is_allowed(address: str) -> None:
    with pytest.raises(AddressRefused):
        await checked_address("app.example.com", 443, private=True, resolve=resolving(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fd12::1"])
async def test_private_networks_can_be_allowed(address: str) -> None:
    assert await checked_address("app", 80, private=True, resolve=resolving(address)) == address


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1"])
async def test_what_is_outside_is_called(address: str) -> None:
    assert await checked_address("app.example.com", 443, private=False, resolve=resolving(address)) == address


async def test_of_several_addresses_only_one_that_is_allowed_is_given() -> None:
    resolve = resolving("10.0.0.1", "93.184.215.14")
    assert await checked_address("app.example.com", 443, private=False, resolve=resolve) == "93.184.215.14"


async def test_an_address_in_the_url_is_looked_at_too() -> None:
    with pytest.raises(AddressRefused):
        await checked_address("127.0.0.1", 443, private=False)


async def test_a_name_without_an_address_is_said() -> None:
    with pytest.raises(AddressRefused, match="no address"):
        await checked_address("app.example.com", 443, private=True, resolve=resolving())
    with pytest.raises(AddressRefused, match="does not resolve"):
        await checked_address("no-such-host.invalid", 443, private=True)
