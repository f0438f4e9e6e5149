"""Output places: where results may be written, on which condition, and what is removed from them."""
