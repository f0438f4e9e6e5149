"""Makes a worker of any image with Python: a container's start command, and what it fetches from the control plane.

The command is `start`, a text on its command line that holds no secret. It fetches and runs `install`, which installs
the worker and its pinned requirements, all with the machine's one-time token, and becomes the worker.
"""
