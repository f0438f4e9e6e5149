"""What stands around Yurt: the local bucket, the demo, and set-up for stores and platforms."""
