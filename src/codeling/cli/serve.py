"""``codeling serve``: complete code for editors and other clients over HTTP."""

from typing import Annotated

import typer

from codeling.cli.model_options import (
    Aggressiveness,
    Device,
    Memory,
    Precision,
    Project,
    threshold_of,
)
from codeling.cli.stages import AsJson

_WITHOUT_ENGINE = ("device", "precision", "memory", "project")
"""Options of the forward passes that are made here."""


def serve(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")
    ] = 8012,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Accept requests without a token, on loopback only."),
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    engine_url: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="URL",
            help="OpenAI-compatible server (vLLM, llama.cpp) of the same model that makes the "
            "forward passes; its key is read from CODELING_ENGINE_TOKEN.",
        ),
    ] = None,
    aggressiveness: Aggressiveness = "normal",
    memory: Memory = "auto",
    project: Project = None,
    deadline: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.05, max=3600, help="Time after which a completion ends."
        ),
    ] = 30.0,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Print one line per request.")
    ] = False,
    log_texts: Annotated[
        bool, typer.Option("--log-texts", help="Also print the texts of requests and answers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve a model to editors: llama.cpp's, OpenAI's, Ollama's and Tabby's requests.

    Only this machine can reach the server unless --host says otherwise. A token is made at each
    start, or taken from the environment variable CODELING_TOKEN.

    Example:  codeling serve runs/demo
    """
    import json
    import os
    from functools import partial

    from codeling.cli.extras import require

    require("serve", "starlette", "uvicorn", "prometheus_client")

    from codeling.cores import use_one_blas_thread

    use_one_blas_thread()
    from codeling.cli.signals import HANDLER
    from codeling.errors import UsageError
    from codeling.model.folder import resolve
    from codeling.run_folder import find_run_folder
    from codeling.serving.editors import greeting
    from codeling.serving.engine_loading import load_engine
    from codeling.serving.http import access
    from codeling.serving.http.server import serve as run
    from codeling.serving.remote_worker import (
        ENGINE_TOKEN_VARIABLE,
        RemoteServer,
        remote_engine,
    )
    from codeling.serving.settings import ServerLimits, ServerSettings

    remote = None
    if engine_url is not None:
        for option in _WITHOUT_ENGINE:
            source = context.get_parameter_source(option)
            is_given = source is not None and source.name != "DEFAULT"
            is_off = option == "memory" and memory == "off"
            if is_given and not is_off:
                raise UsageError(
                    f"--{option} is not for --engine: the forward passes are made there, without "
                    "a memory"
                )
        remote = RemoteServer(engine_url, os.environ.get(ENGINE_TOKEN_VARIABLE))
    resolve(model)
    threshold = threshold_of(aggressiveness)
    token = None if no_token else os.environ.get(access.TOKEN_VARIABLE) or access.new_token()
    settings = ServerSettings(
        host,
        port,
        token,
        threshold,
        log_requests or log_texts,
        log_texts,
        ServerLimits(request_seconds=deadline),
    )

    def started(bound_port: int) -> None:
        url = _url(host, bound_port)
        if as_json:
            facts = {"url": url, "token": token, "model": model, "pid": os.getpid()}
            typer.echo(json.dumps({**facts, "engine": remote.url if remote else None}))
        else:
            typer.echo(greeting(model, url, token, remote.url if remote else None))

    if remote is not None:
        load = partial(remote_engine, model, remote)
    else:
        load = partial(load_engine, model, device, precision, memory, project)
    with HANDLER.draining(settings.limits.drain_seconds + 2):
        run(load, settings, started, find_run_folder(model))


def _url(host: str, port: int) -> str:
    """The URL at which clients on this machine reach the server."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not listened on here
    name = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
