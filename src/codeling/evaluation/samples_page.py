"""``evaluation.html``: every problem and every sample of a result, coloured by outcome.

One page a result beside its ``evaluation.json``, and one above them with all scores. Everything
shown is escaped, completions most of all: they are whatever a model wrote. The same files give the
same bytes. This module must not know how anything was measured.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from codeling.evaluation.harness import RESULTS, SuiteResult, finished_results
from codeling.evaluation.results import table_row
from codeling.manifest import write_bytes
from codeling.report.page import Section, escape, frame, short_bytes, table

PAGE_NAME = "evaluation.html"
MAX_SHOWN = 8
"""Samples of one problem whose text is on the page, at least one of each outcome among them."""
MAX_DOCUMENTS = 500
"""Rows of the table of documents."""

Values = Mapping[str, Any]
_FOOTER = "Written by codeling from evaluation.json, which holds all samples."
_HEAD = ["score", "value", "95 % interval", "problems", "unseen"]
_COLOURS = {
    "passed": "right",
    "exact": "right",
    "parses": "near",
    "own words": "right",
    "copied": "wrong",
    "timeout": "late",
    "out_of_memory": "late",
    "crashed": "late",
}
"""Outcome → class of the page's style; any other outcome is wrong."""


class _Sample(NamedTuple):
    outcome: str
    detail: str
    text: str


def write_page(out: Path) -> Path:
    """Write the page of every result below ``out``, and the one above them; its path.

    :raises StorageError: it cannot be written.
    """
    found = finished_results(out)
    for done in found:
        page = render(done.values)
        write_bytes(done.folder / PAGE_NAME, page.encode("utf-8", errors="replace"))
    path = out / PAGE_NAME
    write_bytes(path, overview(found).encode("utf-8", errors="replace"))
    return path


def overview(found: Sequence[SuiteResult]) -> str:
    """The scores of all results, each with a link to its page."""
    sections = []
    for done in found:
        result, name = done.values, done.folder.name
        link = f"{RESULTS}/{name}/{PAGE_NAME}"
        about = f"{_data(result)}; {_sampling(result)}"
        body = (
            f'<p class="quiet">{escape(about)} '
            f'<a href="{escape(link)}">every sample</a></p>'
            f'<div class="card scroll">{_scores(result)}</div>'
        )
        sections.append(Section(name, done.suite, Markup(body)))  # noqa: S704
    names = sorted({str(done.values["model"]["name"]) for done in found})
    return frame(
        kind="codeling evaluation", name=", ".join(names) or "nothing yet", sections=sections,
        footer="Written by codeling from the results beside it.",
    )  # fmt: skip


def render(result: Values) -> str:
    """One result as a page."""
    problems = result["problems"]
    tiles = [
        (score["name"], value, f"95 %: {interval}" if interval else "")
        for score in result["scores"][:6]
        for _, value, interval, *_ in [table_row(score)]
    ]
    parts = [("scores", "Scores", f'<div class="card scroll">{_scores(result)}</div>')]
    if body := _remarks(result):
        parts.append(("remarks", "Remarks", body))
    if problems and "nats" in problems[0]:
        parts.append(("documents", "Documents", _documents(problems)))
    else:
        parts.append(("problems", "Problems", _problems(problems)))
    parts.append(("settings", "Settings", _settings(result)))
    return frame(
        kind="codeling evaluation",
        name=f"{result['model']['name']}: {result['suite']}",
        summary=f"{_data(result)}; {_sampling(result)}",
        tiles=tiles,
        sections=[Section(name, title, Markup(body)) for name, title, body in parts],  # noqa: S704
        footer=_FOOTER,
    )


def _scores(result: Values) -> str:
    return table(_HEAD, [table_row(score) for score in result["scores"]], numbers=range(1, 5))


def _data(result: Values) -> str:
    return f"{result['num_problems']:,} problems of {result['data']['name']}"


def _sampling(result: Values) -> str:
    settings = result["settings"]
    if "n" not in settings:
        return f"seed {settings['seed']}"
    if settings["temperature"] == 0:
        how = "greedy"
    else:
        top_p = f", top p {settings['top_p']}" if settings["top_p"] else ""
        how = f"temperature {settings['temperature']}{top_p}, seed {settings['seed']}"
    samples = "one sample" if settings["n"] == 1 else f"{settings['n']:,} samples"
    return f"{samples} of each, {how}"


def _remarks(result: Values) -> str:
    """What a reader of the scores has to know."""
    parts = []
    num_found = result["contamination"]["num_found"]
    if num_found is not None:
        parts.append(
            f"<p>{num_found:,} of {result['num_problems']:,} problems have a passage that stands "
            "in the training data; the last column leaves them out.</p>"
        )
    for key, title, name in (
        ("references_failed", "Reference solutions that fail their own test", "task_id"),
        ("left_out", "Rows that are no problem", "name"),
    ):
        if rows := result.get(key):
            cells_of = [
                [row[name], row.get("outcome", ""), row.get("detail", row.get("reason", ""))]
                for row in rows
            ]
            head = ["problem", "outcome", "reason"]
            parts.append(f'<div class="card scroll">{table(head, cells_of, caption=title)}</div>')
    return f'<div class="stack">{"".join(parts)}</div>' if parts else ""


def _problems(records: Sequence[Values]) -> str:
    outcomes = [sample.outcome for record in records for sample in _samples(record)]
    counts = {name: outcomes.count(name) for name in dict.fromkeys(outcomes)}
    key = "".join(
        f'<span><span class="cells {_colour(name)}"><i></i></span>'
        f"{escape(name.replace('_', ' '))} {count:,}</span>"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    items = "".join(_problem(record) for record in records)
    return f'<div class="key">{key}</div><div class="card">{items}</div>'


def _problem(record: Values) -> str:
    samples = _samples(record)
    squares = "".join(
        f'<i class="{_colour(sample.outcome)}" title="{escape(sample.outcome)}"></i>'
        for sample in samples
    )
    found = ' <span class="outcome late">in training data</span>' if record["found"] else ""
    kind = f' <span class="quiet">{escape(record["kind"])}</span>' if "kind" in record else ""
    parts = [f'<pre><code><span class="prompt">{escape(record["prompt"])}</span></code></pre>']
    if record.get("suffix"):
        suffix = escape(record["suffix"])
        parts.append(
            '<p class="answer quiet">and after the gap</p>'
            f'<pre><code><span class="prompt">{suffix}</span></code></pre>'
        )
    if "target" in record:
        parts.append(
            '<p class="answer quiet">what stood there</p>'
            f"<pre><code>{escape(record['target'])}</code></pre>"
        )
    shown = _choose(samples)
    for sample in shown:
        detail = f": {escape(sample.detail)}" if sample.detail else ""
        parts.append(
            f'<p class="answer"><span class="outcome {_colour(sample.outcome)}">'
            f"{escape(sample.outcome.replace('_', ' '))}</span>{detail}</p>"
            f"<pre><code><mark>{escape(sample.text)}</mark></code></pre>"
        )
    if len(shown) < len(samples):
        parts.append(f'<p class="answer quiet">{len(shown)} of {len(samples):,} samples</p>')
    if record["found"]:
        parts.append(f'<p class="answer quiet">{escape(_place(record["found"][0]))}</p>')
    return (
        f'<details><summary><span class="cells">{squares}</span>'
        f"{escape(record['task_id'])}{kind}{found}</summary>{''.join(parts)}</details>"
    )


def _place(place: Values) -> str:
    lines = f"lines {place['lines'][0]} to {place['lines'][1]}"
    where = f"{place['repository']}: {place['path']}:{place['start_line']}-{place['end_line']}"
    return f"{lines} stand in the training data at {where} ({place['license'] or 'not known'})"


def _choose(samples: Sequence[_Sample]) -> list[_Sample]:
    """The first of every outcome, then more in order, :data:`MAX_SHOWN` in all."""
    firsts = {sample.outcome: number for number, sample in reversed(list(enumerate(samples)))}
    order = sorted(firsts.values()) + [n for n in range(len(samples)) if n not in firsts.values()]
    return [samples[number] for number in sorted(order[:MAX_SHOWN])]


def _samples(record: Values) -> list[_Sample]:
    """What the page shows of a record, whichever suite it is of."""
    if "target" in record:
        outcome = "parses" if record["parses"] else "broken"
        outcome = "exact" if record["exact_match"] else outcome
        detail = f"edit similarity {record['edit_similarity']:.2f}"
        return [_Sample(outcome, detail, record["completion"])]
    if "num_copies" in record:
        return [
            _Sample(
                "copied" if sample["copied"] else "own words",
                _place(sample["places"][0]) if sample["places"] else "",
                sample["completion"],
            )
            for sample in record["samples"]
        ]
    return [
        _Sample(
            sample["outcome"],
            "; ".join(filter(None, (sample["detail"], "exact" if sample["exact_match"] else ""))),
            sample["completion"],
        )
        for sample in record["samples"]
    ]


def _colour(outcome: str) -> str:
    return _COLOURS.get(outcome, "wrong")


def _documents(records: Sequence[Values]) -> str:
    by_size = sorted(records, key=lambda r: (-r["num_bytes"], r["task_id"]))[:MAX_DOCUMENTS]
    rows = [
        [
            record["task_id"],
            short_bytes(record["num_bytes"]),
            f"{record['nats'] / math.log(2) / record['num_bytes']:.3f}",
            "yes" if record["found"] else "",
        ]
        for record in by_size
    ]
    head = ["document", "bytes", "bits per byte", "in training data"]
    more = len(records) - len(rows)
    note = f'<p class="quiet">and {more:,} smaller ones</p>' if more > 0 else ""
    return f'<div class="card scroll sources">{table(head, rows, numbers=(1, 2))}{note}</div>'


def _settings(result: Values) -> str:
    shown = {
        "settings": result["settings"],
        "model": result["model"],
        "data": result["data"],
        "training_data": result["training_data"],
        "machine": result["machine"],
    }
    text = json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False)
    return f"<pre><code>{escape(text)}</code></pre>"
