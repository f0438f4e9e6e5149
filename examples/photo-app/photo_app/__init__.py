"""A small photo app on Yurt: people sign in by a name, upload photos, and see them as they become ready."""
