"""``report.html``: one self-contained page that shows a run, finished or not.

The page is made of the files in the run folder: recipe, manifest, corpus report, metrics, samples
and evaluation. Each section is made separately. A section whose file is missing or damaged says
so; a section that fails for another reason shows the error. The same files give the same bytes.
This module must not know how these files are made.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup

from codeling.errors import CodelingError, InputError
from codeling.manifest import MANIFEST_NAME, write_bytes
from codeling.quantity import quantity
from codeling.recipe import Recipe, read_recipe
from codeling.report import corpus_section, memory_section
from codeling.report.corpus_section import Table
from codeling.report.page import (
    PageSection,
    frame,
    macros,
    short_bytes,
    short_number,
    short_seconds,
)
from codeling.report.plots import plots
from codeling.report.run_files import (
    num_parameters,
    num_split_tokens,
    read_json,
    read_json_lines,
    read_text,
    share_read,
)

REPORT_NAME = "report.html"
MAX_COMPLETIONS = 12
"""Function bodies that the page shows of the parse rate."""

Values = Mapping[str, Any]

_TEMPLATE = Path(__file__).with_name("templates") / "run_report.html"
_FAILURES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, UndefinedError)
"""Errors that a file of unexpected shape can raise; the page then shows the error."""
_VALIDATION_AND_TEST = (
    "Validation and test scores cannot be compared. Validation scores excerpts of about one "
    "context from the validation split, each without the text before it. The test score reads "
    "whole files of the test split, so that almost every token has at least half a context "
    "before it."
)


def write_report(run_folder: Path) -> bool:
    """Write ``run_folder/report.html``. Returns whether it has plots; they need matplotlib.

    :raises StorageError: it cannot be written.
    """
    page, has_plots = render(run_folder)
    write_bytes(run_folder / REPORT_NAME, page.encode("utf-8", errors="replace"))
    return has_plots


def render(run_folder: Path) -> tuple[str, bool]:
    """The page as HTML, and whether it has plots."""
    run = _Run(run_folder)
    made: list[tuple[str, str, Callable[[_Run], Markup]]] = [
        ("training", "Training", _training),
        ("results", "Test results", _results),
        ("samples", "Samples", _samples),
        ("corpus", "Corpus", _corpus),
        ("recipe", "Recipe", _recipe),
        ("stages", "Stages", _stages),
    ]
    try:
        summary, tiles = _summary(run), _tiles(run)
    except _FAILURES as error:
        summary, tiles = f"The summary could not be shown: {_describe(error)}", []
    page = frame(
        kind="codeling run",
        name=run_folder.resolve().name,
        summary=summary,
        tiles=tiles,
        sections=[PageSection(name, title, _section(make, run)) for name, title, make in made],
        footer="Written by codeling from the files of this run folder.",
    )
    return page, run.has_matplotlib


class _Run:
    """The files of a run folder, read when they are needed.

    Every property raises :class:`~codeling.errors.CodelingError` if its file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_matplotlib = True

    @cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.folder / "recipe.toml").resolved()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        return read_json_lines(self.folder, "metrics.jsonl")

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [line for line in self.metrics if line.get("kind") == "step"]

    @property
    def validations(self) -> list[dict[str, Any]]:
        return [line for line in self.metrics if line.get("kind") == "validation"]

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        return read_json(self.folder, "evaluation.json")

    @cached_property
    def corpus(self) -> dict[str, Any]:
        return read_json(self.folder, "corpus/report.json")


def _section(make: Callable[[_Run], Markup], run: _Run) -> Markup:
    body: Markup
    try:
        body = make(run)
    except CodelingError as error:
        body = macros(_TEMPLATE).missing(str(error))
    except _FAILURES as error:
        body = macros(_TEMPLATE).failed(_describe(error))
    return body


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _or_none(read: Callable[[], Any]) -> Any:
    """What ``read`` returns, or None where its file is missing or damaged.

    The section of that file says so.
    """
    try:
        return read()
    except CodelingError:
        return None


def _summary(run: _Run) -> str:
    sentences = []
    recipe, corpus = _or_none(lambda: run.recipe), _or_none(lambda: run.corpus)
    if recipe:
        model = recipe.model
        # A small corpus gives a smaller vocabulary than the recipe asks for.
        config = _or_none(lambda: read_json(run.folder, "model/config.json")) or {}
        vocab_size = config.get("vocab_size", recipe.tokenizer.vocab_size)
        sentences.append(
            f"GPT-2 with {quantity(model.n_layer, 'layer')} of width {model.n_embd}, a context of "
            f"{model.context_length:,} tokens and a vocabulary of {vocab_size:,}."
        )
    if corpus:
        train = corpus["splits"]["train"]
        by_function = recipe and recipe.corpus.train_on == "functions"
        num_bytes = train["function_bytes" if by_function else "bytes"]
        sentences.append(
            f"The training split has {short_bytes(num_bytes)} of Python from "
            f"{quantity(train['repositories'], 'repository')}."
        )
    steps = _or_none(lambda: run.steps)
    if steps:
        tokens = steps[-1]["tokens"]
        split_tokens = _or_none(lambda: num_split_tokens(run.folder))
        share = f", {share_read(tokens, split_tokens)}" if split_tokens else ""
        sentences.append(f"Training read {quantity(tokens, 'token')}{share}.")
    return " ".join(sentences)


def _tiles(run: _Run) -> list[tuple[str, str, str]]:
    tiles: list[tuple[str, str, str]] = []
    evaluation = _or_none(lambda: run.evaluation)
    steps, validations = _or_none(lambda: run.steps), _or_none(lambda: run.validations)
    if evaluation:
        bits = evaluation["bits_per_byte"]
        tiles.append(("Test bits per byte", f"{bits['value']:.3f}", _interval(bits, 3)))
        if rate := evaluation["parse_rate"]:
            value = f"{100 * rate['value']:.1f} %"
            tiles.append(("Bodies that parse", value, _interval(rate, 1, 100)))
    elif validations:
        last = validations[-1]
        at = f"at step {last['step']:,}"
        tiles.append(("Validation bits per byte", f"{last['bits_per_byte']:.3f}", at))
    if count := _or_none(lambda: num_parameters(run.folder)):
        recipe = _or_none(lambda: run.recipe)
        size = f"size {recipe.model.size}" if recipe else ""
        tiles.append(("Parameters", short_number(count), size))
    if steps:
        last = steps[-1]
        tiles.append(("Tokens read", short_number(last["tokens"]), quantity(last["step"], "step")))
        tiles.append(("Training time", short_seconds(last["seconds"]), ""))
        speeds = [step["tokens_per_second"] for step in steps if step.get("tokens_per_second")]
        utilisations = [step["mfu"] for step in steps if step.get("mfu")]
        if speeds:
            speed = short_number(statistics.median(speeds))
            share = f"{100 * statistics.median(utilisations):.0f} %" if utilisations else ""
            peak = f"{share} of the machine's peak FLOP/s" if share else ""
            tiles.append(("Tokens per second", speed, peak))
    return tiles


def _interval(values: Values, digits: int, scale: float = 1) -> str:
    if not values.get("interval_95"):
        return ""
    low, high = (scale * end for end in values["interval_95"])
    return f"95 %: {low:.{digits}f} to {high:.{digits}f}"


def _training(run: _Run) -> Markup:
    steps, validations = run.steps, run.validations
    if not steps and not validations:
        raise InputError("metrics.jsonl has no step yet")
    note = ""
    try:
        curves = plots(steps, validations)
    except ImportError:
        run.has_matplotlib = False
        curves, note = [], "The plots need matplotlib, which is not installed."
    rows = [
        [
            f"{line['step']:,}",
            f"{line['tokens']:,}",
            f"{line['loss']:.4f}",
            f"{line['bits_per_byte']:.4f}",
            short_seconds(line["seconds"]),
        ]
        for line in validations
    ]
    head = ["step", "tokens", "nats per token", "bits per byte", "time"]
    body: Markup = macros(_TEMPLATE).training(curves, note, Table(head, rows, numbers=range(5)))
    return body


def _results(run: _Run) -> Markup:
    bits, rate = run.evaluation["bits_per_byte"], run.evaluation["parse_rate"]
    text = (
        f"{short_bytes(bits['num_bytes'])}: {quantity(bits['num_documents'], 'file')} of "
        f"{quantity(bits['num_repositories'], 'repository')}, none of them trained on; "
        f"{bits['precision']}"
    )
    rows = [
        ["Bits per byte", f"{bits['value']:.4f}", _interval(bits, 4), text],
        ["Nats per token", f"{bits['nats_per_token']:.4f}", "", "the same text"],
    ]
    if rate:
        value = f"{100 * rate['value']:.1f} %"
        rows.append(["Bodies that parse", value, _interval(rate, 1, 100), _outcomes(rate)])
    head = ["measure", "value", "interval", "measured on"]
    body: Markup = macros(_TEMPLATE).results(
        Table(head, rows, numbers=(1,)),
        _VALIDATION_AND_TEST if _or_none(lambda: run.validations) else "",
        _choose(rate["samples"]) if rate else [],
        f"{rate['num_completions']:,}" if rate else "",
    )
    if memory := run.evaluation.get("memory"):  # earlier versions did not measure it
        body += macros(_TEMPLATE).memory(
            memory_section.summary(memory),
            memory_section.gains(memory),
            memory_section.shares(memory),
        )
    return body


def _outcomes(rate: Values) -> str:
    """The outcomes of the function bodies, counted.

    Results of older versions lack ``num_stub`` and ``num_functions``.
    """
    bodies = quantity(rate["num_completions"], "body")
    if "num_functions" in rate:
        bodies += f" of {quantity(rate['num_functions'], 'function')}"
    counts = [f"{rate['num_parsed']:,} parsed"]
    if "num_stub" in rate:
        counts = [f"{rate['num_parsed']:,} parsed with code", f"{rate['num_stub']:,} without code"]
    counts += [f"{rate['num_broken']:,} not parsed", f"{rate['num_empty']:,} empty"]
    return f"{bodies}: {', '.join(counts)}; {rate['num_out_of_tokens']:,} reached the token limit"


def _choose(samples: Sequence[Values]) -> list[Values]:
    """At most :data:`MAX_COMPLETIONS` samples, evenly spaced, so that outcomes are not selected."""
    count = min(MAX_COMPLETIONS, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]


def _samples(run: _Run) -> Markup:
    by_step: dict[int, list[Values]] = {}
    for sample in read_json_lines(run.folder, "samples.jsonl"):
        by_step.setdefault(int(sample["step"]), []).append(sample)
    if not by_step:
        raise InputError("samples.jsonl has no sample yet")
    newest_first = [(f"{step:,}", by_step[step]) for step in sorted(by_step, reverse=True)]
    body: Markup = macros(_TEMPLATE).samples(newest_first)
    return body


def _corpus(run: _Run) -> Markup:
    report = run.corpus
    body: Markup = macros(_TEMPLATE).corpus(
        corpus_section.totals(report),
        corpus_section.splits(report),
        corpus_section.dropped_files(report),
        corpus_section.dropped_functions(report),
        corpus_section.sources(report),
    )
    return body


def _recipe(run: _Run) -> Markup:
    text = read_text(run.folder, "recipe.toml")
    note = "" if _or_none(lambda: run.recipe) else "recipe.toml is damaged: it is not a recipe"
    body: Markup = macros(_TEMPLATE).recipe(text, note)
    return body


def _stages(run: _Run) -> Markup:
    stages: Mapping[str, Values] = read_json(run.folder, MANIFEST_NAME)["stages"]
    if not stages:
        raise InputError(f"{MANIFEST_NAME} has no finished stage yet")
    in_order = sorted(stages.items(), key=lambda item: item[1]["finished"])
    rows = [
        [
            name,
            short_seconds(stage["seconds"]),
            f"{len(stage['outputs']):,}",
            short_bytes(sum(output["num_bytes"] for output in stage["outputs"].values())),
            stage["finished"].replace("T", " ").replace("Z", " UTC"),
        ]
        for name, stage in in_order
    ]
    _, last = in_order[-1]
    versions = [[package, version] for package, version in sorted(last["versions"].items())]
    if last.get("git_commit"):
        versions.append(["git commit", last["git_commit"]])
    head = ["stage", "time", "files", "bytes", "finished"]
    body: Markup = macros(_TEMPLATE).stages(
        Table(head, rows, caption="Stages", numbers=(1, 2, 3)),
        Table(["package", "version"], versions, caption="Versions"),
    )
    return body
