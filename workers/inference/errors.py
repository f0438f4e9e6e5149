"""Errors of models."""

from __future__ import annotations


class UnusableModelError(Exception):
    """A model's folder lacks a file, or holds one that does not fit. The message says which, and what to do."""


class InferenceLost(Exception):
    """The process that runs models has ended, or closed the connection, before it answered."""
