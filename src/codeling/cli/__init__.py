"""The command line: one file a verb. Each parses, calls the rooms below, and prints.

Verbs import what they need when they are called, so that ``codeling --help`` answers at once.
Exit codes: 0 done, 1 failed, 2 wrong use.
"""

import sys

import typer

from codeling.cli import complete, corpus, demo, doctor, run, tokenizer, trace, train
from codeling.errors import CodelingError

app = typer.Typer(
    name="codeling",
    help="Grow a Python code model from nothing: corpus, tokenizer, GPT-2, completions.",
    epilog="Begin with:  codeling demo",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("corpus")(corpus.corpus)
app.command("tokenizer")(tokenizer.tokenizer)
app.command("train")(train.train)
app.command("complete")(complete.complete)
app.command("trace")(trace.trace)
app.command("doctor")(doctor.doctor)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"codeling {version('codeling')}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Grow a Python code model from nothing: corpus, tokenizer, GPT-2, completions."""


def main() -> None:
    """Run the command line; an error raised on purpose is one line and an exit code."""
    try:
        app()
    except CodelingError as error:
        sys.stderr.write(f"codeling: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
