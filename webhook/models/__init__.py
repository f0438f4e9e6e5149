"""Models: weights in a bucket, found there by their manifest, and handed to workers by reference."""
