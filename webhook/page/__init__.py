"""The page: what the person who runs a control plane looks at, in a browser."""
