"""Examples of commands for providers of the kind ``exec``: machines reached by ssh, and SkyPilot. See docs/exec.md."""
