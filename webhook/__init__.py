"""The control plane: hears what changed in a bucket, remembers it, and hands out the work."""
