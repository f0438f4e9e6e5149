"""``python -m webhook`` is ``yurt``."""

from webhook.cli import main

main()
