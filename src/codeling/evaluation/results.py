"""Records of problems to scores: each with its interval, and again without what stood in the
training data.

A record is what is written down of one problem; ``found`` in it says where the problem stands in
the training data, or is None where that cannot be known. This module must not know suites.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from codeling.evaluation.metrics.pass_at_k import ratio

Record = dict[str, Any]
Value = Callable[[Record], float | tuple[float, float] | None]
"""What one problem adds: a number, or one above and one below the line; None for nothing."""


def score(name: str, records: Sequence[Record], value: Value, seed: int) -> dict[str, Any] | None:
    """One score over the records that add to it; None where none does.

    ``without_found`` is the same over the records that do not stand in the training data: null
    where that cannot be known, or where none is left.
    """
    pairs = [(record, _pair(added)) for record in records if (added := value(record)) is not None]
    if not pairs:
        return None
    whole = ratio([above for _, (above, _) in pairs], [below for _, (_, below) in pairs], seed)
    assert whole is not None, "there is a pair"
    without = None
    if all(record["found"] is not None for record, _ in pairs):
        clean = [pair for record, pair in pairs if not record["found"]]
        rest = ratio([above for above, _ in clean], [below for _, below in clean], seed)
        without = asdict(rest) if rest else None
    return {"name": name, **asdict(whole), "without_found": without}


def scores(
    records: Sequence[Record], values: Sequence[tuple[str, Value]], seed: int
) -> list[dict[str, Any]]:
    """Every score that there is something for, in order."""
    found = [score(name, records, value, seed) for name, value in values]
    return [each for each in found if each is not None]


def _pair(added: float | tuple[float, float]) -> tuple[float, float]:
    return added if isinstance(added, tuple) else (added, 1.0)


def cells(score: Record) -> tuple[str, str, str, str, str]:
    """A score for people: name, value, interval, problems, and the value without what was found."""
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


def _as_number(value: float) -> str:
    return f"{value:.4f}"


def _as_percent(value: float) -> str:
    return f"{100 * value:.1f} %"
