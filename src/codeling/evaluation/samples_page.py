"""``evaluation.html``: every problem and its samples, coloured by outcome.

Each result gets a page beside its ``evaluation.json``, and the folder above gets one with all
scores. Completions are whatever a model wrote, so the templates escape everything. The same results
give the same bytes. This module must not know how anything was measured.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from codeling.evaluation.harness import RESULTS, SuiteResult, finished_results
from codeling.evaluation.keystrokes.typing_page import typing_sections
from codeling.evaluation.results import table_row
from codeling.manifest import write_bytes
from codeling.quantity import quantity
from codeling.report.page import PageSection, frame, macros, short_bytes

PAGE_NAME = "evaluation.html"
MAX_SHOWN = 8
"""Samples per problem whose text is shown; every outcome is among them."""
MAX_DOCUMENTS = 500
"""Rows of the table of documents."""

Values = Mapping[str, Any]
_TEMPLATE = Path(__file__).with_name("templates") / "samples_page.html"
_COLOURS = {
    "passed": "right",
    "exact": "right",
    "parses": "near",
    "own words": "right",
    "copied": "wrong",
    "unjudged": "other",
    "timeout": "late",
    "out of memory": "late",
    "crashed": "late",
}
"""Outcome → class in the page's style; every other outcome is ``wrong``."""
_OUTCOME_TEXT = {"unjudged": "cannot be judged"}
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Iteration|Warning)\b")
_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
_SUITE_LABELS = {"line": "next line", "block": "next block"}


class _Sample(NamedTuple):
    outcome: str
    kind: str
    """The outcome, or the type of the exception: what failures are counted by."""
    detail: str
    text: str
    colour: str


class _Item(NamedTuple):
    """One problem as the template shows it."""

    name: str
    label: str
    """The function, or the kind of prompt."""
    is_found: bool
    summary: str
    reason: str
    colour: str
    prompt: str
    suffix: str
    target: str | None
    samples: Sequence[_Sample]
    shown: Sequence[_Sample]
    place: str


def write_page(out: Path) -> Path:
    """Write the page of every result below ``out`` and the overview; return the overview's path.

    :raises StorageError: a page cannot be written.
    """
    results = finished_results(out)
    for result in results:
        _write(result.folder / PAGE_NAME, render(result.values))
    path = out / PAGE_NAME
    _write(path, overview(results))
    return path


def _write(path: Path, page: str) -> None:
    write_bytes(path, page.encode("utf-8", errors="replace"))


def overview(results: Sequence[SuiteResult]) -> str:
    """The scores of all results, each with a link to its page."""
    template = macros(_TEMPLATE)
    sections = []
    for result in results:
        values, name = result.values, result.folder.name
        body = template.overview(
            f"{_data(values)}; {_sampling(values)}", f"{RESULTS}/{name}/{PAGE_NAME}", _rows(values)
        )
        sections.append(PageSection(name, result.suite, body))
    names = sorted({str(result.values["model"]["name"]) for result in results})
    return frame(
        kind="codeling evaluation",
        name=", ".join(names) or "nothing yet",
        sections=sections,
        footer="Written by codeling from the results in the folder evaluation.",
    )


def render(values: Values) -> str:
    """The page of one result."""
    template = macros(_TEMPLATE)
    sections = [PageSection("scores", "Scores", template.scores(_rows(values)))]
    sentences, tables = _remarks(values)
    if sentences or tables:
        sections.append(PageSection("remarks", "Remarks", template.remarks(sentences, tables)))
    problems = values["problems"]
    if problems and "nats" in problems[0]:
        rows = _document_rows(problems)
        body = template.documents(rows, len(problems) - len(rows))
        sections.append(PageSection("documents", "Documents", body))
    elif problems and "saved" in problems[0]:
        sections += typing_sections(values)
    else:
        items = [_item(record) for record in problems]
        outcomes = template.outcomes(_outcome_rows(items))
        sections.append(PageSection("outcomes", "Outcomes", outcomes))
        sections.append(PageSection("problems", "Problems", template.problems(items)))
    sections.append(PageSection("settings", "Settings", template.settings(_settings(values))))
    return frame(
        kind="codeling evaluation",
        name=f"{values['model']['name']}: {values['suite']}",
        summary=f"{_data(values)}; {_sampling(values)}",
        tiles=[
            (name, value, f"95 %: {interval}" if interval else "")
            for name, value, interval, *_ in _rows(values)[:6]
        ],
        sections=sections,
        footer="Written by codeling from evaluation.json, which holds all samples.",
    )


def _rows(values: Values) -> list[tuple[str, str, str, str, str]]:
    return [table_row(score) for score in values["scores"]]


def _data(values: Values) -> str:
    return f"{quantity(values['num_problems'], 'problem')} of {values['data']['name']}"


def _sampling(values: Values) -> str:
    settings = values["settings"]
    if "n" not in settings:
        return f"seed {settings['seed']}"
    if settings["temperature"] == 0:
        how = "greedy"
    else:
        top_p = f", top p {settings['top_p']}" if settings["top_p"] else ""
        how = f"temperature {settings['temperature']}{top_p}, seed {settings['seed']}"
    samples = quantity(settings["n"], "sample")
    return f"{samples} per problem, {how}"


def _remarks(values: Values) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Sentences and tables that a reader of the scores needs."""
    sentences = []
    num_found = values["contamination"]["num_found"]
    if num_found is not None:
        sentences.append(
            f"A passage of {num_found:,} of {quantity(values['num_problems'], 'problem')} is in "
            "the training data; the column unseen excludes these problems."
        )
    if num_unjudged := values.get("num_unjudged"):
        sentences.append(
            f"{num_unjudged:,} of {quantity(values['num_samples'], 'sample')} cannot be judged in "
            "the sandbox; they count as not passed."
        )
    if raised := values.get("raised_limits", {}).get("problems"):
        sentences.append(
            f"{quantity(len(raised), 'problem')} judged with {values['raised_limits']['factor']} "
            f"times the limits, because their reference solutions need them: {', '.join(raised)}."
        )
    tables = []
    if failed := values.get("references_failed"):
        rows = [[row["task_id"], _plain(row["outcome"]), row["detail"]] for row in failed]
        tables.append(("Reference solutions that fail their own test", rows))
    if left_out := values.get("left_out"):
        rows = [[row["name"], "", row["reason"]] for row in left_out]
        tables.append(("Rows that are not a problem", rows))
    return sentences, tables


def _outcome_rows(items: Sequence[_Item]) -> list[list[str]]:
    """Each kind of outcome with its samples, its problems and an example, most frequent first."""
    samples = Counter(sample.kind for item in items for sample in item.samples)
    problems = Counter(kind for item in items for kind in {s.kind for s in item.samples})
    examples: dict[str, str] = {}
    for item in items:
        for sample in item.samples:
            examples.setdefault(sample.kind, f"{item.name}  {sample.detail}".rstrip())
    return [
        [kind, f"{count:,}", f"{problems[kind]:,}", examples[kind]]
        for kind, count in sorted(samples.items(), key=lambda item: (-item[1], item[0]))
    ]


def _item(record: Values) -> _Item:
    samples = _samples(record)
    good = sum(sample.colour == "right" for sample in samples)
    worst = next((sample for sample in samples if sample.colour != "right"), samples[0])
    is_mixed = len(samples) > 1 and good > 0
    summary = f"{good:,} of {len(samples):,} right" if is_mixed else worst.kind
    found = record["found"]
    return _Item(
        name=record["task_id"],
        label=_label(record),
        is_found=bool(found),
        summary=summary,
        reason=worst.detail.removeprefix(summary).lstrip(": ") if good < len(samples) else "",
        colour="right" if good == len(samples) else worst.colour,
        prompt=record["prompt"],
        suffix=record.get("suffix") or "",
        target=record.get("target"),
        samples=samples,
        shown=_select(samples),
        place=_place(found[0]) if found else "",
    )


def _label(record: Values) -> str:
    names = _DEFINITION.findall(record["prompt"])
    function = record.get("entry_point") or (names[-1] if names else "")
    kind = record.get("kind", "")
    return " · ".join(filter(None, (function, _SUITE_LABELS.get(kind, kind))))


def _place(match: Values) -> str:
    lines = f"lines {match['lines'][0]} to {match['lines'][1]}"
    where = f"{match['repository']}: {match['path']}:{match['start_line']}-{match['end_line']}"
    license_ = match["license"] or "licence unknown"
    return f"{lines} are in the training data, at {where} ({license_})"


def _select(samples: Sequence[_Sample]) -> list[_Sample]:
    """The first sample of every outcome, then more in order, :data:`MAX_SHOWN` in all."""
    firsts = {sample.kind: number for number, sample in reversed(list(enumerate(samples)))}
    order = sorted(firsts.values()) + [n for n in range(len(samples)) if n not in firsts.values()]
    return [samples[number] for number in sorted(order[:MAX_SHOWN])]


def _samples(record: Values) -> list[_Sample]:
    """The samples of a record of any suite."""
    if "target" in record:
        outcome = "parses" if record["parses"] else "does not parse"
        outcome = "exact" if record["exact_match"] else outcome
        detail = f"edit similarity {record['edit_similarity']:.2f}"
        return [_sample(outcome, detail, record["completion"])]
    if "num_copies" in record:
        return [
            _sample(
                "copied" if sample["copied"] else "own words",
                _place(sample["places"][0]) if sample["places"] else "",
                sample["completion"],
            )
            for sample in record["samples"]
        ]
    return [
        _sample(
            _plain(sample["outcome"]),
            "; ".join(filter(None, (sample["detail"], "exact" if sample["exact_match"] else ""))),
            sample["completion"],
        )
        for sample in record["samples"]
    ]


def _sample(outcome: str, detail: str, text: str) -> _Sample:
    first_line = (detail.strip().splitlines() or [""])[0]
    exception = _EXCEPTION.match(first_line) if outcome == "failed" else None
    colour = _COLOURS.get(outcome, "wrong")
    outcome = _OUTCOME_TEXT.get(outcome, outcome)
    return _Sample(outcome, exception[0] if exception else outcome, first_line, text, colour)


def _plain(outcome: str) -> str:
    return outcome.replace("_", " ")


def _document_rows(records: Sequence[Values]) -> list[list[str]]:
    """The largest documents."""
    by_size = sorted(records, key=lambda r: (-r["num_bytes"], r["task_id"]))[:MAX_DOCUMENTS]
    return [
        [
            record["task_id"],
            short_bytes(record["num_bytes"]),
            f"{record['nats'] / math.log(2) / record['num_bytes']:.3f}",
            "yes" if record["found"] else "",
        ]
        for record in by_size
    ]


def _settings(values: Values) -> str:
    keys = ("settings", "model", "data", "training_data", "machine")
    shown = {key: values[key] for key in keys}
    return json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False)
