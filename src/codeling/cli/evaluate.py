"""``codeling evaluate``: score a model on suites that anyone can repeat."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codeling.cli.model_options import Device, Precision, TopK
from codeling.cli.stages import AsJson, parse_path

if TYPE_CHECKING:
    from codeling.evaluation.harness import SuiteResult
    from codeling.evaluation.suites.suite import Suite
    from codeling.memory.mixture import MemoryMixture

SUITE_NAMES = (
    *("bits-per-byte", "completion", "typing", "infilling", "humaneval", "humaneval-plus"),
    *("mbpp", "mbpp-plus", "pandas-eval", "numpy-eval", "memorization"),
)
"""The names of the suites; the registry itself is too slow to import for ``--help``."""


def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Suite: {', '.join(SUITE_NAMES)}. Repeatable."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Run every suite whose data is available.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Data: a file, a folder, or hf://owner/name. NAME= limits it to one suite. "
            "Repeatable.",
            show_default="test split of the run",
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column that holds the texts of a table.")
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="Number of samples per problem.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Sampling temperature; 0 is greedy.",
            show_default="0 for -n 1; 0.2 below -n 100; else 0.8",
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Nucleus sampling: keep the smallest set of tokens whose probability exceeds P.",
            show_default="0.95 if -n is above 1",
        ),
    ] = None,
    top_k: TopK = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Maximum number of new tokens.", show_default="depends on the suite"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Random seed of samples and documents.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Maximum number of problems or functions.",
            show_default="depends on the suite",
        ),
    ] = None,
    max_bytes: Annotated[
        int, typer.Option(metavar="N", help="Maximum bytes of text for bits-per-byte.")
    ] = 1_000_000,
    canaries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=parse_path,
            help="Planted secrets for the suite memorization: JSONL (prefix, secret).",
        ),
    ] = None,
    accept: Annotated[
        str,
        typer.Option(
            metavar="UNIT", help="Suite typing: accept suggestions by word, by line or whole."
        ),
    ] = "word",
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="Suite typing: append to a file, or insert lines with the rest after the cursor.",
        ),
    ] = "append",
    clock: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Suite typing: a suggestion that takes longer is not shown.",
            show_default="no limit",
        ),
    ] = None,
    ask_after: Annotated[
        int,
        typer.Option(
            metavar="N", help="Suite typing: letters of a word after which its end is suggested."
        ),
    ] = 2,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Suite typing: also measure a running server, for example llama.cpp's; its token "
            "is read from CODELING_TOKEN.",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Also measure with the memory beside the model.")
    ] = False,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Number of samples decoded together.")
    ] = 32,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of programs run in parallel.", show_default="all cores"
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=parse_path,
            help="Folder for the results.",
            show_default="the run folder, or evaluations/NAME",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: bits per byte, completion, HumanEval, MBPP, memorization.

    Generated programs run in a sandbox. An interrupted evaluation continues when you run the same
    command again. docs/evaluation.md describes the suites.

    Example:  codeling evaluate runs/demo --suite completion --limit 50
    """
    import json
    import sys

    from codeling.errors import UsageError
    from codeling.evaluation.suites.registry import SUITES, find_suite

    if bool(suite) == every:
        raise UsageError(f"give --suite NAME or --all; the suites are {', '.join(SUITES)}")
    names = SUITES if every else dict.fromkeys(suite or ())
    suites = [find_suite(name) for name in names]
    if engine is not None:
        suites = [_with_server(each, engine) for each in suites]
    by_suite: dict[str, str] = {}
    shared: list[str] = []
    for address in data or ():
        name, equals, path = address.partition("=")
        if equals and name in SUITES:
            by_suite[name] = path
        else:
            shared.append(address)

    from codeling.cli.screen import Screen
    from codeling.cli.signals import HANDLER
    from codeling.evaluation.data.lookup import DataSources
    from codeling.evaluation.harness import EvaluatedModel, evaluate_suites
    from codeling.evaluation.samples_page import write_page
    from codeling.evaluation.sandbox import Sandbox
    from codeling.evaluation.suites.suite import EvaluationSettings, TypingSettings
    from codeling.memory.loading import load_memory

    settings = EvaluationSettings(
        n=n,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        max_new_tokens=max_new_tokens,
        seed=seed,
        limit=limit,
        max_bytes=max_bytes,
        batch_size=batch_size,
        typing=TypingSettings(accept, mode, clock, ask_after),
        canaries=canaries,
    )
    screen = Screen()
    evaluated = EvaluatedModel.load(model, out, device, precision)
    passes: list[tuple[MemoryMixture | None, list[Suite]]] = [(None, suites)]
    if memory:  # the suite typing has rows with it and without it
        loaded = load_memory(model, evaluated.engine.tokenizer)
        others = [each for each in suites if each.name != "typing"]
        passes = [(None, others)] * bool(others) + [(loaded, suites)]
    done = []
    with HANDLER.resumable(lambda: any(evaluated.out.glob("evaluation/*/*.json*"))):
        for evaluated.engine.memory, measured in passes:
            for each in evaluate_suites(
                evaluated,
                measured,
                DataSources(by_suite, shared, column=column),
                settings,
                lambda programs: Sandbox(programs.packages, workers, programs.limits),
                screen,
                skip_missing=every,
            ):
                page = write_page(evaluated.out)
                done.append(each)
                if not each.is_new:
                    screen.note(f"{each.suite}: unchanged, skipped")
    if as_json:
        answer = {
            "model": model,
            "results": [
                {"folder": str(each.folder), **_without_problems(each.values)} for each in done
            ],
        }
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        return
    _show(done)
    if done:
        typer.echo(f"samples: {page}")


def _with_server(suite: "Suite", url: str) -> "Suite":
    """The suite typing with the suggestions of the server at ``url``; another suite as it is."""
    from codeling.evaluation.suites.typing import SuggestionServer, TypingSuite
    from codeling.serving.client import CompletionServer
    from codeling.serving.http.access import TOKEN_VARIABLE

    if suite.name != "typing":
        return suite
    server = CompletionServer(url, os.environ.get(TOKEN_VARIABLE))
    return TypingSuite(SuggestionServer(server.url, server.complete))


def _without_problems(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "problems"}


def _show(done: "Sequence[SuiteResult]") -> None:
    """Print the scores as a table."""
    from rich.console import Console
    from rich.table import Table

    from codeling.evaluation.results import table_by_row, table_row
    from codeling.export.scores import suite_label

    tables = []
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("suite")
    table.add_column("score", overflow="fold")
    for title in ("value", "95 % interval", "problems", "unseen"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in done:
        values = each.values
        name = suite_label(values)
        if "columns" in values:  # many scores per row
            tables.append(Table(box=None, pad_edge=False, header_style="bold"))
            tables[-1].add_column(name, no_wrap=True)
            for title in values["columns"]:
                tables[-1].add_column(title, justify="right")
            for row in table_by_row(values["scores"], values["columns"]):
                tables[-1].add_row(*row)
            continue
        for number, score in enumerate(values["scores"]):
            table.add_row("" if number else name, *table_row(score))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # one line per score
    for shown in [table] * bool(table.rows) + tables:
        console.print(shown)
