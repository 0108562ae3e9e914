"""The sections of a page about typing: saved against wrong, kinds, latency, files in colour.

This module must not know how anything was measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeling.evaluation.results import table_by_row
from codeling.report.page import PageSection, macros
from codeling.report.plots import trade_off

MAX_TYPED = 3
"""Typed files whose text is shown."""

Values = Mapping[str, Any]
_TEMPLATE = Path(__file__).with_name("typing_page.html")


def typing_sections(values: Values) -> Iterator[PageSection]:
    """The sections about a result of the suite ``typing``, beside its scores."""
    template = macros(_TEMPLATE)
    columns = values["columns"]
    body = template.rows(["row", *columns], table_by_row(values["scores"], columns))
    yield PageSection("rows", "Who proposes", body)
    curve = values["curve"]
    if curve:
        points = [(100 * each["wrong"], 100 * each["saved"]) for each in curve]
        rows = [
            [
                f"{each['threshold']:.2f}",
                _percent(each["saved"]),
                _percent(each["accepted"]),
                f"{100 * each['wrong']:.1f}",
            ]
            for each in curve
        ]
        plot = trade_off("curve", "Saved against wrong", points, ("wrong per 100", "% saved"))
        yield PageSection("curve", "Saved against wrong", template.curve(plot, rows))
    yield PageSection("kinds", "Kinds", template.kinds(*_kinds(values["kinds"])))
    yield PageSection("latency", "Latency", template.latency(_latency(values["latency"])))
    yield PageSection("files", "Files", template.files(*_files(values["problems"])))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _kinds(kinds: Values) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of kinds."""
    names = list(dict.fromkeys(score["name"] for scores in kinds.values() for score in scores))
    rows = []
    for row, scores in kinds.items():
        found = {score["name"]: score["value"] for score in scores}
        rows.append([row, *(_percent(found.get(name)) for name in names)])
    return ["row", *names], rows


def _latency(latency: Values) -> list[list[str]]:
    return [
        [
            row,
            f"{each['num_requests']:,}",
            f"{each['p50_ms']:.1f}",
            f"{each['p95_ms']:.1f}",
            _percent(each["reused"]),
        ]
        for row, each in latency.items()
    ]


def _files(
    records: Sequence[Values],
) -> tuple[list[list[str]], list[tuple[str, list[tuple[str, bool]]]]]:
    """Counts of each file that is shown, and the first files with what was accepted."""
    shown = [record for record in records if "text" in record]
    rows = [
        [
            record["task_id"],
            f"{record['characters']:,}",
            f"{100 * record['saved'] / max(1, record['characters']):.0f} %",
            f"{record['shown']:,}",
            f"{record['wrong']:,}",
        ]
        for record in shown
    ]
    return rows, [(record["task_id"], _pieces(record)) for record in shown[:MAX_TYPED]]


def _pieces(record: Values) -> list[tuple[str, bool]]:
    """The typed text in pieces, each with whether it was accepted."""
    pieces, end, first = [], 0, record["begin"]
    for position, length in record["accepted_spans"]:
        start = position - first
        pieces += [
            (record["text"][end:start], False),
            (record["text"][start : start + length], True),
        ]
        end = start + length
    return [*pieces, (record["text"][end:], False)]
