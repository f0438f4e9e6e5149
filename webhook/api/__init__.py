"""Serves HTTP: notifications, the worker protocol, and the endpoints for administrators."""
