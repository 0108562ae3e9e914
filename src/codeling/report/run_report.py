"""``report.html``: one page that shows a run, finished or not, with nothing fetched from anywhere.

It is made of what stands in the run folder (recipe, manifest, corpus report, metrics, samples,
evaluation); what is missing is left out. The same files give the same bytes. Everything that is
shown is escaped, completions most of all: they are whatever a model wrote. This module must not
know how any of these files came to be.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeling.errors import CodelingError
from codeling.manifest import MANIFEST_NAME, write_bytes
from codeling.model.config import GPT2Config
from codeling.recipe import Recipe, read_recipe
from codeling.report.page import (
    completion,
    escape,
    frame,
    short_bytes,
    short_seconds,
    table,
    tile_list,
)
from codeling.report.plots import Plot, plots, short_number

REPORT_NAME = "report.html"
MAX_SOURCES = 30
"""Rows of the table of sources; the rest is one row together."""
MAX_COMPLETIONS = 12
"""Function bodies shown of the parse rate."""

Values = Mapping[str, Any]


def write_report(run_folder: Path) -> bool:
    """Write ``run_folder/report.html``; whether its curves are in it (they need matplotlib).

    :raises StorageError: it cannot be written.
    """
    page, has_plots = render(run_folder)
    write_bytes(run_folder / REPORT_NAME, page.encode("utf-8", errors="replace"))
    return has_plots


def render(run_folder: Path) -> tuple[str, bool]:
    """The page as text, and whether its curves are in it."""
    recipe = _recipe(run_folder / "recipe.toml")
    metrics = _read_lines(run_folder / "metrics.jsonl")
    steps = [line for line in metrics if line.get("kind") == "step"]
    validations = [line for line in metrics if line.get("kind") == "validation"]
    corpus = _read_json(run_folder / "corpus" / "report.json")
    evaluation = _read_json(run_folder / "evaluation.json")
    stages = _read_json(run_folder / MANIFEST_NAME).get("stages", {})
    has_plots = True
    try:
        curves = plots(steps, validations, _get(evaluation, "bits_per_byte", "value"))
    except ImportError:
        curves, has_plots = [], False
    made = [
        ("training", "Training", lambda: _training(curves, validations, has_plots)),
        ("results", "Test results", lambda: _results(evaluation)),
        ("samples", "Samples", lambda: _samples(_read_lines(run_folder / "samples.jsonl"))),
        ("corpus", "Corpus", lambda: _corpus(corpus)),
        ("recipe", "Recipe", lambda: _recipe_text(run_folder / "recipe.toml")),
        ("stages", "Stages", lambda: _stages(stages)),
    ]
    sections = [(name, title, body) for name, title, make in made if (body := _try(make))]
    page = frame(
        kind="codeling run",
        name=run_folder.resolve().name,
        summary=_summary(recipe, corpus),
        tiles=_try(lambda: _tiles(recipe, steps, validations, evaluation)),
        sections=sections,
        footer="Written by codeling from the files of this run folder.",
    )
    return page, has_plots


def _try(make: Callable[[], str]) -> str:
    """A part of the page; empty where a file does not have what it should."""
    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; a torn line is left out, a missing file is empty."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            found.append(values)
    return found


def _recipe(path: Path) -> Recipe | None:
    try:
        return read_recipe(path).resolved()
    except CodelingError:
        return None


def _get(values: Any, *keys: str) -> Any:
    """What stands under ``keys``, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _summary(recipe: Recipe | None, corpus: Values) -> str:
    parts = []
    if recipe:
        model = recipe.model
        parts.append(
            f"GPT-2 with {model.n_layer} layers of width {model.n_embd}, a context of "
            f"{model.context_length:,} tokens and a vocabulary of {recipe.tokenizer.vocab_size:,}"
        )
    train = _get(corpus, "splits", "train")
    if isinstance(train, Mapping) and {"bytes", "repositories"} <= train.keys():
        parts.append(
            f"trained on {short_bytes(train['bytes'])} of Python from {train['repositories']:,} "
            "repositories"
        )
    return ", ".join(parts) + "." if parts else ""


def _tiles(
    recipe: Recipe | None,
    steps: Sequence[Values],
    validations: Sequence[Values],
    evaluation: Values,
) -> str:
    tiles: list[tuple[str, str, str]] = []
    if bits := _get(evaluation, "bits_per_byte"):
        tiles.append(("Test bits per byte", f"{bits['value']:.3f}", _interval(bits, 3)))
    elif validations:
        last = validations[-1]
        more = f"at step {last['step']:,}"
        tiles.append(("Validation bits per byte", f"{last['bits_per_byte']:.3f}", more))
    if rate := _get(evaluation, "parse_rate"):
        tiles.append(("Bodies that parse", f"{100 * rate['value']:.1f} %", _interval(rate, 1, 100)))
    if recipe:
        model = recipe.model
        sizes = recipe.tokenizer.vocab_size, model.context_length, model.n_layer
        shape = GPT2Config(*(int(size or 0) for size in (*sizes, model.n_head, model.n_embd)))
        tiles.append(("Parameters", short_number(shape.num_parameters), f"size {model.size}"))
    if steps:
        last = steps[-1]
        tiles.append(("Tokens trained on", short_number(last["tokens"]), f"{last['step']:,} steps"))
        speeds = [s["tokens_per_second"] for s in steps if s.get("tokens_per_second")]
        busy = [s["mfu"] for s in steps if s.get("mfu")]
        of_peak = f"{100 * statistics.median(busy):.0f} % of the machine's peak" if busy else ""
        tiles.append(("Training time", short_seconds(last["seconds"]), ""))
        if speeds:
            speed = short_number(statistics.median(speeds))
            tiles.append(("Tokens per second", speed, of_peak))
    return tile_list(tiles)


def _interval(values: Values, digits: int, scale: float = 1) -> str:
    if not values.get("interval_95"):
        return ""
    low, high = (scale * end for end in values["interval_95"])
    return f"95 %: {low:.{digits}f} to {high:.{digits}f}"


def _training(curves: Sequence[Plot], validations: Sequence[Values], has_plots: bool) -> str:
    parts = []
    if curves:
        figures = "\n".join(
            f'<figure class="card{" wide" if plot.is_wide else ""}">'
            f"<figcaption>{escape(plot.title)} <span>{escape(plot.unit)}</span></figcaption>"
            f"\n{plot.svg}\n</figure>"
            for plot in curves
        )
        parts.append(f'<div class="plots">{figures}</div>')
    elif not has_plots:
        parts.append('<p class="quiet">The curves need matplotlib, which is not installed.</p>')
    if validations:
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
        numbers = table(head, rows, numbers=range(5))
        parts.append(
            f'<div class="card" style="margin-top:12px"><details><summary>Validation in numbers'
            f"</summary>{numbers}</details></div>"
        )
    return "\n".join(parts)


def _results(evaluation: Values) -> str:
    rows = []
    if bits := evaluation.get("bits_per_byte"):
        of = (
            f"{short_bytes(bits['num_bytes'])}, {bits['num_documents']:,} files of "
            f"{bits['num_repositories']:,} repositories, none of it trained on; {bits['precision']}"
        )
        rows.append(["Bits per byte", f"{bits['value']:.4f}", _interval(bits, 4), of])
        rows.append(["Nats per token", f"{bits['nats_per_token']:.4f}", "", "the same text"])
    rate = evaluation.get("parse_rate")
    if rate:
        of = (
            f"{rate['num_completions']:,} function bodies: {rate['num_parsed']:,} parse, "
            f"{rate['num_broken']:,} do not, {rate['num_empty']:,} empty; "
            f"{rate['num_out_of_tokens']:,} ran out of tokens"
        )
        value = f"{100 * rate['value']:.1f} %"
        rows.append(["Bodies that parse", value, _interval(rate, 1, 100), of])
    if not rows:
        return ""
    measures = table(["measure", "value", "interval", "measured on"], rows, numbers=(1,))
    parts = [f'<div class="card scroll">{measures}</div>']
    if rate:
        shown = _choose(rate["samples"])
        items = "".join(
            f"<details><summary>{escape(sample['repository'])}: {escape(sample['path'])} "
            f'<span class="outcome {escape(sample["outcome"])}">{escape(sample["outcome"])}</span>'
            f"</summary>{completion(sample)}</details>"
            for sample in shown
        )
        parts.append(
            f'<div class="card" style="margin-top:12px"><h3>{len(shown)} of the '
            f"{rate['num_completions']:,} bodies</h3>{items}</div>"
        )
    return "\n".join(parts)


def _choose(samples: Sequence[Values]) -> list[Values]:
    """At most :data:`MAX_COMPLETIONS`, evenly spread over all, so outcomes are not chosen."""
    count = min(MAX_COMPLETIONS, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]


def _samples(samples: Sequence[Values]) -> str:
    by_step: dict[int, list[Values]] = {}
    for sample in samples:
        by_step.setdefault(int(sample["step"]), []).append(sample)
    if not by_step:
        return ""
    latest = max(by_step)
    items = "".join(
        f"<details{' open' if step == latest else ''}><summary>Step {step:,}</summary>"
        f"{''.join(map(completion, by_step[step]))}</details>"
        for step in sorted(by_step, reverse=True)
    )
    return (
        '<p class="quiet">The prompt is grey; what the model wrote is marked.</p>'
        f'<div class="card">{items}</div>'
    )


def _corpus(report: Values) -> str:
    if not report:
        return ""
    splits = [
        [
            name,
            f"{values['repositories']:,}",
            f"{values['files']:,}",
            short_bytes(values["bytes"]),
            f"{values['functions']:,}",
        ]
        for name, values in sorted(report["splits"].items(), key=lambda item: -item[1]["bytes"])
    ]
    head = ["split", "repositories", "files", "bytes", "functions"]
    found = max(1, report["totals"]["bytes_found"])
    left = _cards(
        table(head, splits, caption="By split", numbers=range(1, 5)),
        _drops(report["functions_dropped"], "functions", "Functions dropped", None),
    )
    right = _cards(_drops(report["files_dropped"], "files", "Files dropped", found))
    totals = report["totals"]
    intro = (
        f"{totals['files_found']:,} files and {short_bytes(totals['bytes_found'])} found; "
        f"{totals['files']:,} files and {short_bytes(totals['bytes'])} kept, "
        f"{totals['functions']:,} functions in them."
    )
    sources = f'<div class="card scroll sources">{_sources(report["sources"])}</div>'
    return (
        f'<p class="quiet">{escape(intro)}</p><div class="stack">'
        f'<div class="two"><div class="stack">{left}</div><div class="stack">{right}</div></div>'
        f"{sources}</div>"
    )


def _cards(*bodies: str) -> str:
    return "".join(f'<div class="card scroll">{body}</div>' for body in bodies if body)


def _drops(drops: Mapping[str, Values], what: str, caption: str, found: int | None) -> str:
    if not drops:
        return ""
    in_order = sorted(drops.items(), key=lambda item: (-item[1]["bytes"], -item[1][what], item[0]))
    most = max(1, in_order[0][1]["bytes"])
    rows = []
    for reason, values in in_order:
        row = [reason.replace("_", " "), f"{values[what]:,}", short_bytes(values["bytes"])]
        if found:
            share = 100 * values["bytes"] / found
            row.append("< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %")
        rows.append(row)
    bars = [("dropped", values["bytes"] / most) for _, values in in_order]
    head = ["reason", what, "bytes", *(["of all"] if found else [])]
    return table(head, rows, caption=caption, numbers=range(1, len(head)), bars=bars)


def _sources(sources: Sequence[Values]) -> str:
    kept = sorted(
        (source for source in map(_documents, sources) if source["bytes"]),
        key=lambda source: (-source["bytes"], source["repository"]),
    )
    if not kept:
        return ""
    rows, bars = [], []
    for source in kept[:MAX_SOURCES]:
        splits, license_ = source["splits"], source["license"] or "not known"
        amounts = [f"{source['files']:,}", short_bytes(source["bytes"])]
        rows.append([source["repository"], license_, ", ".join(splits), *amounts])
        bars.append(
            (splits[0] if len(splits) == 1 else "mixed", source["bytes"] / kept[0]["bytes"])
        )
    if rest := kept[MAX_SOURCES:]:
        files, num_bytes = (sum(s[key] for s in rest) for key in ("files", "bytes"))
        rows.append([f"{len(rest):,} more", "", "", f"{files:,}", short_bytes(num_bytes)])
        bars.append(("mixed", min(1.0, num_bytes / kept[0]["bytes"])))
    shown = ["train", "validation", "test", *(["mixed"] if "mixed" in dict(bars) else [])]
    key = "".join(f'<span><i class="{split}"></i>{split}</span>' for split in shown)
    by_repository = table(
        ["repository", "license", "split", "documents", "bytes"],
        rows,
        numbers=(3, 4),
        bars=bars,
        optional=(1, 3),
    )
    return f'<h3>By repository</h3><div class="key">{key}</div>{by_repository}'


def _documents(source: Values) -> Values:
    """A source; where its rows were functions, with those in the place of files."""
    functions = {"files": source.get("functions", 0), "bytes": source.get("function_bytes", 0)}
    return {**source, **functions} if source.get("functions_found") else source


def _recipe_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f"<pre><code>{escape(text)}</code></pre>"


def _stages(stages: Mapping[str, Values]) -> str:
    if not stages:
        return ""
    in_order = sorted(stages.items(), key=lambda item: item[1]["finished"])
    rows = []
    for name, stage in in_order:
        num_bytes = sum(output["num_bytes"] for output in stage["outputs"].values())
        rows.append(
            [
                name,
                short_seconds(stage["seconds"]),
                f"{len(stage['outputs']):,}",
                short_bytes(num_bytes),
                stage["finished"].replace("T", " ").replace("Z", " UTC"),
            ]
        )
    head = ["stage", "time", "files", "bytes", "finished"]
    made = table(head, rows, caption="What made what", numbers=(1, 2, 3))
    _, last = in_order[-1]
    versions = [[package, version] for package, version in sorted(last["versions"].items())]
    if last.get("git_commit"):
        versions.append(["git commit", last["git_commit"]])
    made_with = table(["package", "version"], versions, caption="Made with")
    return (
        f'<div class="two"><div class="card scroll">{made}</div>'
        f'<div class="card scroll">{made_with}</div></div>'
    )
