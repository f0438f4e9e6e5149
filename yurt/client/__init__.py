"""What an app does with Yurt: it uploads, hands out tickets, waits for results, reads them, listens to events.

``uploads``, ``objects`` and ``events`` hold the protocol, once, as coroutines over a `yurt.transport.Transport`.
``blocking`` and ``asynchronous`` are the two ways to call it.
"""
