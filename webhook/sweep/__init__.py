"""Comparing listings of buckets with the ledger: backfill, the search for events that were lost, and for deletions."""
