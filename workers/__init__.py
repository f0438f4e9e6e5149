"""The compute plane: all that runs on a worker's machine, which needs only the control plane's URL and a token."""
