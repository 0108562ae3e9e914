"""The command line: one file a verb. Each parses, calls the rooms below, and prints.

Verbs import what they need when they are called, so that ``codeling --help`` answers at once.
Exit codes: 0 done, 1 failed, 2 wrong use.
"""

import io
import sys
from collections.abc import Callable

import typer

from codeling.cli import complete, corpus, demo, doctor, evaluate, run, tokenizer, trace, train
from codeling.cli.signals import LISTENER, Interrupted
from codeling.errors import CodelingError

app = typer.Typer(
    name="codeling",
    help="Grow a Python code model from nothing: corpus, tokenizer, GPT-2, completions.",
    epilog="Begin with:  codeling demo",
    invoke_without_command=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,  # rich's frames take half of the time that --help may take
    pretty_exceptions_enable=False,
)
app.command("demo", short_help="Go the whole way on this machine's own Python.")(demo.demo)
app.command("run", short_help="Do every stage of a recipe that is not done yet.")(run.run)
app.command("corpus", short_help="Build the corpus alone.")(corpus.corpus)
app.add_typer(tokenizer.app, name="tokenizer", short_help="Learn a tokenizer, or compare several.")
app.command("train")(train.train)
app.command("complete", short_help="Complete Python, or fill in between two texts.")(
    complete.complete
)
app.command("evaluate", short_help="Measure a model by suites anyone can compare.")(
    evaluate.evaluate
)
app.command("trace", short_help="Name the training files with passages of a text.")(trace.trace)
app.command("doctor")(doctor.doctor)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"codeling {version('codeling')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Grow a Python code model from nothing: corpus, tokenizer, GPT-2, completions."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; an error raised on purpose is one line and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows no UTF-8
    complaint, code = _run()
    if complaint:
        sys.stderr.write(f"codeling: {' '.join(complaint.split())}\n")
    sys.exit(code)


_STOPPED = "stopped; what had finished is kept, and the same command goes on from there"

_MEMORY = (
    "out of the accelerator's memory; less is needed with a smaller training.micro_batch_size "
    "(--set), or --batch-size where samples are drawn; --device cpu always has another"
)


def _run() -> tuple[str, int]:
    """What went wrong in one line, or nothing, and the exit code."""
    try:
        LISTENER.listen()
        result = app(standalone_mode=False)
    except Interrupted:
        return _STOPPED, 1
    except Exception as error:
        if LISTENER.interrupted:
            return _STOPPED, 1
        if isinstance(error, CodelingError):
            return str(error), error.exit_code
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for it
            return _MEMORY, 1
        message: Callable[[], str] | None = getattr(error, "format_message", None)
        if message is None:
            raise
        context: typer.Context | None = getattr(error, "ctx", None)  # typer's own complaint
        command = context.command_path if context else "codeling"
        return f"{message().rstrip('.')}; {command} --help says more", 2
    finally:
        LISTENER.leave()
    return "", result if isinstance(result, int) else 0
