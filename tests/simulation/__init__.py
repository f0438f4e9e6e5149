"""Deterministic simulation: the real code in a world of its own, where one seed decides everything that happens.

What runs is the project itself: the sources' parsers, the receiver and its batcher, the ledger's Python, leases,
publishing on both sides, the absence checker, the sweep, and a worker's whole run. What is simulated is what they stand
on: time (``loop``), the network and its faults (``process``), the global store (``bucket``), its notification hub
(``hub``), and PostgreSQL's statements (``statements``), which ``mirror`` holds to the real ones.

``python -m tests.simulation --seed N`` replays one history, ``--seeds N`` runs many.
"""
