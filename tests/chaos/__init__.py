"""Chaos tests with real processes: two replicas, agents, PostgreSQL and a bucket are killed, stopped and cut off.

``make chaos`` (``python -m tests.chaos``) is the long form, ``tests/chaos/test_chaos.py`` the short one. Writes, faults
and their times come from a seed; how they interleave depends on the machine. Linux only: it reads ``/proc``.
"""
