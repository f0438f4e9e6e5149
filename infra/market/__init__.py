"""A pretend market of rented machines, which speaks Vast.ai's API: for the demo, and for tests."""
