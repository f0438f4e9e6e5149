"""Runs handlers in child processes with limits, so that a crash, a bomb or a hang ends the child and never the agent.

The boundary protects the agent from what an *input* does to a handler: it bounds time, memory, processes and files, and
ends the processes that a handler leaves behind. On Linux each file's process is jailed too (``child.jail``).

``pool`` keeps template processes warm, at most one for each slot; each forks a process for every file. A template leads
a session of its own, has an environment made from an allow-list, and exchanges length-prefixed JSON (``messages``) over
pipes that no handler holds. ``child`` is the code that runs in it.

Imports nothing here: the child's modules lie below this package, and loading asyncio and pydantic's models for the
agent's side would double the time that a child takes to start.
"""
