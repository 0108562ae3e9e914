"""``codeling evaluate``: what a model is worth, by suites that anyone can run again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from codeling.evaluation.harness import SuiteResult


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder, a Hugging Face folder, or hf://owner/name."
        ),
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A suite; may be given again. See docs/evaluation.md."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every suite that there is data for.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="A file, a folder with the published files in it, or hf://owner/name; "
            "for one suite with its name before it. May be given again.",
            show_default="the run's test split, for suites of texts",
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column of a table that holds the texts.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Samples of each problem.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0: always the likeliest token.",
            show_default="0 for one sample, 0.2 for more, 0.8 for 100 and more",
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Only the likeliest tokens that together have P.",
            show_default="0.95 for more than one sample",
        ),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Only the K likeliest tokens.")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="At most so many tokens a sample.", show_default="by suite"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other samples and documents.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many problems or functions.", show_default="by suite"),
    ] = None,
    max_bytes: Annotated[int, typer.Option(help="Text scored for bits per byte.")] = 1_000_000,
    canaries: Annotated[
        Path | None,
        typer.Option(help="What was planted in the corpus: JSONL with a prefix and a secret."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples decoded together.")] = 32,
    workers: Annotated[
        int | None,
        typer.Option(help="Programs run at once.", show_default="one a processor"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the results go.", show_default="the run folder; else evaluations/NAME"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Measure a model by suites: bits per byte, completion, HumanEval and its kin, memorization.

    What a model wrote is run in a sandbox, or not at all. Stopped, the same command goes on.

    Example:  codeling evaluate runs/demo --suite humaneval --data HumanEval.jsonl.gz
    """
    import json
    import sys

    from codeling.errors import UsageError
    from codeling.evaluation.suites.registry import SUITES, find_suite

    if bool(suite) == every:
        raise UsageError(f"give --suite NAME or --all; the suites are {', '.join(SUITES)}")
    names = SUITES if every else dict.fromkeys(suite or ())
    suites = [find_suite(name) for name in names]
    by_suite: dict[str, str] = {}
    shared: list[str] = []
    for address in data or ():
        name, equals, path = address.partition("=")
        if equals and name in SUITES:
            by_suite[name] = path
        else:
            shared.append(address)

    from codeling.cli.screen import Screen
    from codeling.evaluation.data.lookup import DataSources
    from codeling.evaluation.harness import EvaluatedModel, evaluate_suites
    from codeling.evaluation.samples_page import write_page
    from codeling.evaluation.sandbox import Sandbox
    from codeling.evaluation.suites.suite import EvaluationSettings

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
        canaries=canaries,
    )
    screen = Screen()
    evaluated = EvaluatedModel.load(model, out, device)
    done = []
    for each in evaluate_suites(
        evaluated,
        suites,
        DataSources(by_suite, shared, column=column),
        settings,
        lambda programs: Sandbox(programs.packages, workers, programs.limits),
        screen,
        skip_missing=every,
    ):
        page = write_page(evaluated.out)
        done.append(each)
        if not each.is_new:
            screen.note(f"{each.suite}: measured before, not done again")
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
        typer.echo(f"every sample: {page}")


def _without_problems(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "problems"}


def _show(done: "Sequence[SuiteResult]") -> None:
    """The scores as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    from codeling.evaluation.results import table_row

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("suite")
    table.add_column("score", overflow="fold")
    for title in ("value", "95 % interval", "problems", "unseen"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in done:
        for number, score in enumerate(each.values["scores"]):
            table.add_row("" if number else each.suite, *table_row(score))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # a line a score, whoever reads it
    console.print(table)
