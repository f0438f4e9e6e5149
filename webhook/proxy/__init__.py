"""Services: HTTP that scales to zero. Requests wait for a machine, and go through to the server there."""
