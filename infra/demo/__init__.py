"""``yurt demo``: makes photos, uploads them, watches the pipeline, verifies every result, shows them on one page."""
