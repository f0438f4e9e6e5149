"""How apps and browsers upload: keys, presigned requests, files in parts."""
