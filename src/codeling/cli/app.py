"""The commands of the command line: one module for each.

A command parses its arguments, calls the packages below, and prints. It imports what it needs when
it is called, so that ``codeling --help`` answers at once.
"""

from functools import partial

import typer

from codeling.cli import (
    adapt,
    complete,
    corpus,
    course,
    demo,
    doctor,
    evaluate,
    export,
    inspect,
    lsp,
    run,
    serve,
    tokenizer,
    trace,
    train,
    watch,
)
from codeling.cli.usage import Command

app = typer.Typer(
    name="codeling",
    epilog="Start with:  codeling demo",
    invoke_without_command=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,  # rich's frames would take half of the time allowed for --help
    pretty_exceptions_enable=False,
)
_command = partial(app.command, cls=Command)
_command("demo", short_help="Train a small model on the Python of this machine.")(demo.demo)
_command("run", short_help="Run all stages of a recipe.")(run.run)
_command("corpus", short_help="Build the corpus of a recipe.")(corpus.corpus)
app.add_typer(tokenizer.app, name="tokenizer", short_help="Train a tokenizer, or compare several.")
_command("train", short_help="Train the model of a recipe.")(train.train)
_command("adapt", short_help="Train a model on one of your projects.")(adapt.adapt)
_command("watch", short_help="Show a run in the browser while it trains.")(watch.watch)
_command("complete", short_help="Complete Python, or fill a gap.")(complete.complete)
_command("serve", short_help="Serve a model to editors.")(serve.serve)
_command("lsp", short_help="Run a language server for an editor.")(lsp.lsp)
_command("evaluate", short_help="Evaluate a model on benchmark suites.")(evaluate.evaluate)
_command("trace", short_help="Find the training files that a text shares passages with.")(
    trace.trace
)
_command("inspect", short_help="Print a model's sizes, training data and scores.")(inspect.inspect)
_command("export", short_help="Write a model for llama.cpp, CTranslate2 or the Hub.")(export.export)
_command("course", short_help="Open six lessons as notebooks.")(course.course)
_command("doctor", short_help="Check this machine, and suggest what to install.")(doctor.doctor)


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
    """Train a Python code model from scratch: corpus, tokenizer, GPT-2, completions."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(2)
