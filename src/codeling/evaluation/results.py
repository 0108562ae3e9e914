"""Scores over records, with intervals, and again without the problems found in training data.

A record is the JSON object of one problem. Its key ``found`` lists matches in the training data; it
is None where the model has no provenance index. This module must not know suites.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from codeling.evaluation.metrics.pass_at_k import ratio

Record = dict[str, Any]
Value = Callable[[Record], float | tuple[float, float] | None]
"""A problem's contribution: a number, or a numerator and a denominator; None for nothing."""


def score(name: str, records: Sequence[Record], value: Value, seed: int) -> dict[str, Any] | None:
    """One score over the records that contribute to it; None where no record does.

    ``without_found`` is the score without the records found in the training data: None where the
    model has no index, or no record is left.
    """
    pairs = [(record, _pair(part)) for record in records if (part := value(record)) is not None]
    if not pairs:
        return None
    total = ratio([above for _, (above, _) in pairs], [below for _, (_, below) in pairs], seed)
    assert total is not None, "there is a pair"
    without = None
    if all(record["found"] is not None for record, _ in pairs):
        clean = [pair for record, pair in pairs if not record["found"]]
        rest = ratio([above for above, _ in clean], [below for _, below in clean], seed)
        without = asdict(rest) if rest else None
    return {"name": name, **asdict(total), "without_found": without}


def scores(
    records: Sequence[Record], values: Sequence[tuple[str, Value]], seed: int
) -> list[dict[str, Any]]:
    """Every score that a record contributes to, in order."""
    found = [score(name, records, value, seed) for name, value in values]
    return [each for each in found if each is not None]


def _pair(part: float | tuple[float, float]) -> tuple[float, float]:
    return part if isinstance(part, tuple) else (part, 1.0)


def table_row(score: Record) -> tuple[str, str, str, str, str]:
    """A score as text: name, value, interval, number of problems, value without found problems."""
    show = _as_number if score["name"].startswith("bits") else _as_percent
    interval = score["interval_95"]
    without = score["without_found"]
    return (
        score["name"],
        show(score["value"]),
        f"{show(interval[0]).removesuffix(' %')}–{show(interval[1])}" if interval else "",
        f"{score['num_problems']:,}",
        f"{show(without['value'])} of {without['num_problems']:,}" if without else "",
    )


def table_by_row(scores: Sequence[Record], columns: Sequence[str]) -> list[list[str]]:
    """A line per row of scores that are named ``COLUMN, ROW``: the row, then a cell per column.

    The first column also has its interval.
    """
    cells: dict[str, dict[str, str]] = {}
    for each in scores:
        column, _, row = each["name"].partition(", ")
        _, value, interval, *_ = table_row(each)
        shown = f"{value} ({interval.removesuffix(' %')})" if interval else value
        cells.setdefault(row, {})[column] = shown if column == columns[0] else value
    return [[row, *(found.get(column, "") for column in columns)] for row, found in cells.items()]


def _as_number(value: float) -> str:
    return f"{value:.4f}"


def _as_percent(value: float) -> str:
    return f"{100 * value:.1f} %"
