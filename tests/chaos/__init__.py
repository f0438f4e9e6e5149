"""Chaos with real processes: two replicas, agents, PostgreSQL and a bucket, while they are killed, stopped and cut off.

``python -m tests.chaos`` runs it; ``make chaos`` is its long form, ``tests/chaos/test_chaos.py`` its short one. What is
written, killed and cut off, and when, comes from a seed. How it interleaves is up to the machine. Linux only: it reads
``/proc``.
"""
