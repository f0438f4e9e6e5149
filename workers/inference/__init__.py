"""Runs models in a process of its own, once for a worker: ``python -m workers.inference``.

Handlers' processes prepare the pixels and give it tensors, never a file. So a model is in memory once, stays warm from
photo to photo, and may use a graphics card, which no fork can. What waits for the same model is run together.
"""
