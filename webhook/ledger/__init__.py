"""PostgreSQL as the one ledger: objects, leases, workers, quarantine, counters."""
