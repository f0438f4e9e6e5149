"""What is defined: owners' sets of definitions, checked together, and the view that all parts read."""
