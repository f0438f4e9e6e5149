"""Deterministic simulation: the real code in a simulated world, where one seed decides everything that happens.

The project's own code runs: the sources' parsers, the receiver and its batcher, the ledger's Python, leases, publishing
on both sides, the deletion checker, the sweep, and a worker's lease tasks. Simulated are their dependencies: time
(``loop``), the network and its faults (``process``), the global store (``bucket``), its notification hub (``hub``), and
PostgreSQL's statements (``statements``), which ``mirror`` compares with the real ones.

``python -m tests.simulation --seed N`` replays one history, ``--seeds N`` runs many.
"""
