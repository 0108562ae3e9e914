"""``codeling watch``: a live page of a run, while it trains or afterwards."""

from pathlib import Path
from typing import Annotated

import typer

from codeling.cli.stages import AsJson, parse_path


def watch(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", parser=parse_path, help="Run folder, finished or not.")
    ],
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")
    ] = 8013,
    as_json: AsJson = False,
) -> None:
    """Show a run in the browser while it trains: curves, rate, time left, samples.

    It only reads, so it can be started and stopped at any time, also for a run of another
    process. Only this machine can reach the page.

    Example:  codeling watch runs/demo
    """
    import json
    import os

    from codeling.cli.extras import require
    from codeling.errors import UsageError
    from codeling.run_folder import find_run_folder

    require("serve", "starlette", "uvicorn", "prometheus_client")
    found = find_run_folder(run)
    if found is None:
        raise UsageError(f"{run}: not a run folder; give one that codeling run has begun")

    from codeling.cli.signals import HANDLER
    from codeling.serving.http.access import new_token
    from codeling.serving.watching.watch_server import HOST, serve_watch

    token = new_token()

    def started(bound_port: int) -> None:
        url = f"http://{HOST}:{bound_port}"
        if as_json:
            typer.echo(json.dumps({"url": url, "token": token, "pid": os.getpid()}))
        else:
            typer.echo(f"watching {found.path}; Ctrl-C stops\n{url}/#token={token}")

    with HANDLER.draining(3):
        serve_watch(found.path, port, token, started)
