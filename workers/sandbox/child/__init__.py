"""The child's side of the sandbox: ``python -m workers.sandbox.child`` takes one job after the other and runs its
handler.

Imports neither the worker protocol nor asyncio: a child has to be up soon after its predecessor was killed.
"""
