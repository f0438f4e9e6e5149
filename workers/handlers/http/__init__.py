"""The ``http`` handler: one request to a server on the worker's own machine for each file.

The agent runs the server (`workers.servers`); the request is made in the job's own process, which may connect to the
server's port and nothing else.
"""
