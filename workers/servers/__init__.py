"""Servers of handlers: run beside the agent, they read inputs and write outputs by URLs of this machine."""
