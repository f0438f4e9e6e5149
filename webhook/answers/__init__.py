"""Answers of services that clients fetch later (``Prefer: respond-async``): their bodies wait in a bucket."""
