"""The plots: the numbers in them, and the SVG that the page gets."""

import math
import random
import sys
from itertools import pairwise
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from codeling.report.plots import (
    MAX_POINTS,
    loss_limits,
    plots,
    smoothed,
    thinned,
    trade_off,
)


def test_smoothing_keeps_a_straight_line() -> None:
    line = [3.0 + 0.5 * x for x in range(500)]
    result = smoothed(line)
    assert result == pytest.approx(line[: len(result)])
    assert len(result) >= 0.98 * len(line)
    assert smoothed([]) == []
    assert smoothed([2.0]) == [2.0]


def test_smoothing_is_a_centred_mean() -> None:
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


def test_smoothing_is_as_strong_at_the_end_as_in_the_middle() -> None:
    noise = random.Random(0)
    values = [3.0 + noise.gauss(0, 0.2) for _ in range(1000)]
    result = smoothed(values)
    jumps = [abs(b - a) for a, b in pairwise(result)]
    assert max(jumps[-15:]) <= max(jumps[100:-15])


@pytest.mark.parametrize("count", [60, 300, 1562])
def test_the_end_of_a_falling_loss_does_not_turn_up(count: int) -> None:
    """Every value of the curve is the mean of a whole window, whatever the noise."""
    turned_up = []
    for seed in range(200):
        noise = random.Random(seed)
        result = smoothed([5.0 - 2.0 * x / count + noise.gauss(0, 0.05) for x in range(count)])
        half = count - len(result)
        before = sum(result[-2 * half : -half]) / half
        turned_up.append(sum(result[-half:]) / half > before)
    assert not any(turned_up)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 20, 40])
def test_a_short_run_is_smoothed_too(count: int) -> None:
    values = [float(x % 2) for x in range(count)]
    assert count - len(smoothed(values)) == count // 8
    if count >= 20:
        assert max(abs(y - 0.5) for y in smoothed(values)[5:]) < 0.5


def test_the_axis_shows_the_first_steps_and_cuts_off_a_late_spike() -> None:
    losses = [(float(n), 8.0 / n) for n in range(1, 201)]
    losses[150] = (151.0, 1000.0)
    curve = smoothed([y for _, y in losses[:150]])
    lowest, highest = loss_limits(losses, curve)
    assert lowest < 8 / 200
    assert 8.0 < highest < 10.0


def test_lines_without_numbers_are_skipped() -> None:
    steps: list[dict[str, Any]] = [
        {"tokens": 1, "loss": None},
        {"tokens": 2, "loss": float("nan")},
        {"tokens": "3", "loss": 1.0},
        {"loss": 1.0},
    ]
    assert plots(steps, []) == []
    assert [plot.name for plot in plots([*steps, {"tokens": 4, "loss": 2.0}], [])] == ["loss"]


def test_plots_use_the_colours_of_the_page() -> None:
    steps = [{"tokens": n, "loss": 1.0 / n, "gradient_norm": 1.0} for n in range(1, 2000)]
    validations = [{"tokens": n, "loss": 1.0, "bits_per_byte": 1.0} for n in (500, 1000)]
    for plot in plots(steps, validations):
        assert "#0" not in plot.svg.replace("#" + plot.name, "")
        assert "var(--ink)" in plot.svg or "var(--muted)" in plot.svg
        assert plot.svg.startswith('<svg role="img"')
        assert "http" not in plot.svg
        assert len(plot.svg) < 100_000


def test_importing_does_not_load_matplotlib() -> None:
    code = "import sys, codeling.report.run_report; sys.exit('matplotlib' in sys.modules)"
    assert run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0


def test_a_trade_off_has_its_axes_and_the_same_bytes_twice() -> None:
    points = [(0.5, 10.0), (5.0, 40.0), (20.0, 45.0)]
    first, second = (trade_off("t", "Saved", points, ("wrong", "saved")) for _ in range(2))
    assert first is not None
    assert first == second
    assert ">wrong<" in first.svg
    assert 'aria-label="Saved, saved"' in first.svg
