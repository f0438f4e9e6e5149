"""The error for a fault of the worker itself."""


class WorkerFault(Exception):
    """The worker could not do the job for a reason of its own (disk full, no child could be started).

    The object is not to blame: release the lease, do not fail it, and do not take the next one at once.
    """
