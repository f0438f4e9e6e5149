"""The ``photo`` handler: makes pictures for the web, and their metadata, from a photo with libvips."""
