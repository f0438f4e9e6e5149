"""Packs a module with functions, what it imports from its folder and its locked requirements into one file."""
