"""The curves: what they are made of, and what the page gets."""

import math
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from codeling.report.plots import MAX_POINTS, plots, short_number, smoothed, thinned


def test_smoothing_keeps_what_is_straight() -> None:
    line = [3.0 + 0.5 * x for x in range(500)]
    assert smoothed(line) == pytest.approx(line)
    assert smoothed([]) == []
    assert smoothed([2.0]) == [2.0]


def test_smoothing_is_the_mean_around() -> None:
    values = [math.sin(x) for x in range(1000)]
    result = smoothed(values, share=0.01)
    assert result[500] == pytest.approx(sum(values[495:506]) / 11)
    assert result[2] == pytest.approx(sum(values[:5]) / 5)


@pytest.mark.parametrize("count", [0, 1, MAX_POINTS, MAX_POINTS + 1, 7 * MAX_POINTS, 5000])
def test_thinning_keeps_the_mean_and_the_order(count: int) -> None:
    points = [(float(x), float(x * x)) for x in range(count)]
    result = thinned(points)
    assert len(result) == min(count, MAX_POINTS)
    assert [x for x, _ in result] == sorted(x for x, _ in result)
    if count % MAX_POINTS == 0 and count:
        assert sum(y for _, y in result) / len(result) == pytest.approx(
            sum(y for _, y in points) / count
        )


@pytest.mark.parametrize(
    "value, expected",
    [(0, "0"), (0.25, "0.25"), (999, "999"), (1500, "1.5k"), (3_932_160, "3.93M"), (2e9, "2B")],
)
def test_short_numbers(value: float, expected: str) -> None:
    assert short_number(value) == expected


def test_lines_without_numbers_are_left_out() -> None:
    steps: list[dict[str, Any]] = [
        {"tokens": 1, "loss": None},
        {"tokens": 2, "loss": float("nan")},
        {"tokens": "3", "loss": 1.0},
        {"loss": 1.0},
    ]
    assert plots(steps, []) == []
    assert [plot.name for plot in plots([*steps, {"tokens": 4, "loss": 2.0}], [])] == ["loss"]


def test_colours_are_the_pages_own() -> None:
    steps = [{"tokens": n, "loss": 1.0 / n, "gradient_norm": 1.0} for n in range(1, 2000)]
    validations = [{"tokens": n, "loss": 1.0, "bits_per_byte": 1.0} for n in (500, 1000)]
    for plot in plots(steps, validations, 0.9):
        assert "#0" not in plot.svg.replace("#" + plot.name, "")
        assert "var(--ink)" in plot.svg or "var(--muted)" in plot.svg
        assert plot.svg.startswith('<svg role="img"')
        assert "http" not in plot.svg
        assert len(plot.svg) < 100_000


def test_importing_does_not_load_matplotlib() -> None:
    code = "import sys, codeling.report.run_report; sys.exit('matplotlib' in sys.modules)"
    assert run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0
