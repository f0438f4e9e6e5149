"""The ledger in PostgreSQL: objects, leases, machines, sweeps, quarantine and counters."""
