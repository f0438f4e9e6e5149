"""Calls of functions: each is an object with its arguments, which one event makes due as any other."""
