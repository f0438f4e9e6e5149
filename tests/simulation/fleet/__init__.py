"""Simulated days of machines that are rented: the real autoscaler against providers that fail and lie.

The autoscaler, its loops, the market and the breakers are the project's own code. The ledger's side is the fleet in
memory, which keeps the same contract as the one on PostgreSQL (``tests/webhook/fleet/fleet_contract.py``). Providers,
machines and load are simulated in virtual time, and every decision is a function of the seed.
"""
