"""Handler ``photo``: pictures for the web from any photo, on libvips."""
