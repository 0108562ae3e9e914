"""The memory section of the report: bits per byte and shares of the probability by source.

Everything comes from the part ``memory`` of ``evaluation.json``. This module must not read files.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codeling.quantity import quantity
from codeling.report.corpus_section import Table
from codeling.report.page import short_bytes

Values = Mapping[str, Any]


class Shares(NamedTuple):
    """A bar: the share of each source in the tokens' probability at some positions."""

    label: str
    parts: Sequence[tuple[str, float]]
    """(name, share in percent)."""


def summary(memory: Values) -> str:
    """The text that was measured, in a sentence."""
    return (
        f"Whole files of the test split: {short_bytes(memory['num_bytes'])}, "
        f"{quantity(memory['num_documents'], 'file')} of "
        f"{quantity(memory['num_repositories'], 'repository')}. The document is the earlier "
        "text of the same file, the project is the files before it in its repository."
    )


def gains(memory: Values) -> Table:
    """One row per combination of model and sources."""
    alone = memory["rows"][0]["bits_per_byte"]
    rows = []
    for row in memory["rows"]:
        value, interval = row["bits_per_byte"], row["interval_95"]
        rows.append(
            [
                row["name"],
                f"{value:.3f}",
                f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "",
                f"{100 * (value / alone - 1):+.1f} %" if value != alone else "",
            ]
        )
    head = ["model and sources", "bits per byte", "interval", "against the model alone"]
    return Table(head, rows, numbers=(1, 2, 3), optional=(2,))


def shares(memory: Values) -> list[Shares]:
    """The share of each source in the probability, by position in the file."""
    row = max(
        (row for row in memory["rows"] if row["has_model"]), key=lambda row: len(row["sources"])
    )
    names = ["model", *row["sources"]]
    starts = memory["positions"]
    bars = []
    for number, values in enumerate(zip(*row["shares_by_position"], strict=True)):
        if values[0] is None:
            continue
        end = f" to {starts[number + 1] - 1:,}" if number + 1 < len(starts) else " and later"
        parts = [(name, 100 * value) for name, value in zip(names, values, strict=True)]
        bars.append(Shares(f"tokens {starts[number]:,}{end}", parts))
    return bars
