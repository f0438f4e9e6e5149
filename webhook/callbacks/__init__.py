"""Callbacks: tells apps over HTTP that objects were settled, from the ledger's outbox."""
