"""``codeling lsp``: a language server on standard input and output."""

from collections.abc import Sequence
from typing import Annotated

import typer

from codeling.cli.model_options import Aggressiveness, Memory, Project, threshold_of


def lsp(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Run folder, Hugging Face folder or hf://owner/name."
        ),
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use a running codeling serve; its token is read from CODELING_TOKEN.",
        ),
    ] = None,
    aggressiveness: Aggressiveness = "normal",
    memory: Memory = "auto",
    project: Project = None,
) -> None:
    """Run a language server for an editor, on standard input and output.

    An editor starts this command: docs/editors.md has its settings.

    Example:  codeling lsp runs/demo
    """
    import os
    from importlib.metadata import version

    from codeling.cli.extras import require

    require("lsp", "pygls", "lsprotocol")

    from codeling.cores import use_one_blas_thread

    use_one_blas_thread()
    from codeling.errors import UsageError
    from codeling.provenance.index import Index, Match
    from codeling.run_folder import find_run_folder
    from codeling.serving.http.access import TOKEN_VARIABLE
    from codeling.serving.lsp.completer import Completer, LocalCompleter, RemoteCompleter
    from codeling.serving.lsp.language_server import CodeServer, Tracer

    if (model is None) == (connect is None):
        raise UsageError("give either MODEL or --connect URL")
    threshold = threshold_of(aggressiveness)
    tracer: Tracer | None = None
    if model is not None:
        from codeling.serving.engine_loading import load_engine
        from codeling.serving.service import Service
        from codeling.serving.settings import ServerLimits
        from codeling.tokenizer.encoders import speed_up_typing

        engine = load_engine(model, memory=memory, project=project)
        speed_up_typing(engine.tokenizer)
        service = Service(engine, ServerLimits(), threshold)
        completer: Completer = LocalCompleter(service)
        run = find_run_folder(model)
        if run is not None and run.provenance.is_dir():
            index = Index.load(run.provenance)

            def trace(text: str, lines: tuple[int, int]) -> Sequence[Match]:
                return index.trace(text, lines=lines)

            tracer = trace
    else:
        remote = RemoteCompleter(connect or "", os.environ.get(TOKEN_VARIABLE))
        remote.check()
        completer = remote
    try:
        CodeServer(completer, tracer, version("codeling")).server.start_io()
    finally:
        completer.close()
