"""The child's side of the sandbox: ``python -m workers.sandbox.child`` takes jobs and runs their handlers, one by one.

Imports neither the worker protocol nor asyncio: both are slow to load, and after a crash the next job waits for a new
child.
"""
