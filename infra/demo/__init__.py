"""What ``yurt demo`` does: makes photos, uploads them, watches, verifies every result, and shows them on one sheet."""
