"""``yurt worker``: runs a worker."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Run a worker: lease, fetch, handle, publish, settle.

    Needs YURT_URL and YURT_TOKEN in the environment, nothing else. `yurt invite` makes a token. Optional: YURT_WORK_DIR
    for temporary files, YURT_CACHE_DIR for models, YURT_LABEL for its name in logs, YURT_LOG=json|console.
    """
    from workers.agent import main

    raise SystemExit(main())
