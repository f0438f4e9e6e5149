"""The compute plane: runs where the control plane is not, and needs nothing of it but its URL and a token."""
