"""Machines: how many of them, which must go, and who rents them out."""
