"""Trusted certificates."""

from __future__ import annotations

import ssl

from workers import tls


def test_all_clients_share_one_context_that_checks_certificates() -> None:
    assert tls.context() is tls.context()
    assert tls.context().verify_mode is ssl.CERT_REQUIRED
    assert tls.context().check_hostname
