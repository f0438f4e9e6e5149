"""Bundles of functions on a worker: their code and what they require, in folders that are named by their content."""
