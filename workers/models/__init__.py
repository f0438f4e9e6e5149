"""Models: weights that a worker has on its disk before it starts work, fetched from the bucket by reference."""
