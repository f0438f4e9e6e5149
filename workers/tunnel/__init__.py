"""The service tunnel: requests for a service's server, and its answers, as frames over WebSockets.

Both sides speak it: the control plane opens streams, the worker answers them.
"""
