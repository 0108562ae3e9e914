"""The curves of a run as SVG that stands in a page, in the page's own colours.

matplotlib draws in stand-in colours that are then replaced by CSS variables, so a curve follows
the page from light to dark. The same numbers give the same bytes. matplotlib is imported where
it is used: training runs without it. This module must not read files.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

MAX_POINTS = 600
"""Of one curve; more steps than that are averaged in equal stretches."""
SMOOTHING = 0.03
"""Stretch that the loss is averaged over, as a share of the run."""

_STAND_INS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--second)",
    "#060606": "var(--third)",
}
_INK, _MUTED, _LINE, _ACCENT, _SECOND, _THIRD = _STAND_INS
_STYLE = {
    "svg.hashsalt": "codeling",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.color": _LINE,
    "ytick.labelcolor": _MUTED,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Plot:
    """One curve or more over tokens."""

    name: str
    """Of letters and dashes; begins every id in :attr:`svg`."""
    title: str
    unit: str
    svg: str
    is_wide: bool


Line = Mapping[str, Any]
"""One line of ``metrics.jsonl``."""


def plots(
    steps: Sequence[Line],
    validations: Sequence[Line],
    test_bits_per_byte: float | None = None,
) -> list[Plot]:
    """Every plot there are numbers for.

    :raises ImportError: there is no matplotlib.
    """
    from matplotlib.figure import Figure  # noqa: F401  (fails before anything is drawn)

    found = []
    losses = _points(steps, "loss")
    measured = _points(validations, "loss")
    if losses or measured:
        found.append(_loss(losses, measured))
    if bits := _points(validations, "bits_per_byte"):
        found.append(_bits_per_byte(bits, test_bits_per_byte))
    for name, key, title, unit in (
        ("rate", "learning_rate", "Learning rate", "share of its peak"),
        ("norm", "gradient_norm", "Gradient norm", "before clipping"),
        ("speed", "tokens_per_second", "Speed", "tokens per second"),
    ):
        if points := _points(steps, key):
            found.append(_small(name, title, unit, points))
    return found


def smoothed(values: Sequence[float], share: float = SMOOTHING) -> list[float]:
    """Mean over a stretch around each value, ``share`` of all values long and shorter towards
    both ends, so that it does not lag behind."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = int(share * len(values) / 2)
    result = []
    for middle in range(len(values)):
        reach = min(half, middle, len(values) - 1 - middle)
        begin, end = middle - reach, middle + reach + 1
        result.append((sums[end] - sums[begin]) / (end - begin))
    return result


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most :data:`MAX_POINTS` points: means of equal stretches."""
    if len(points) <= MAX_POINTS:
        return list(points)
    result = []
    for number in range(MAX_POINTS):
        begin = number * len(points) // MAX_POINTS
        part = points[begin : (number + 1) * len(points) // MAX_POINTS]
        result.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return result


def short_number(value: float, _position: object = None) -> str:
    """1234567 → 1.23M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _points(lines: Sequence[Line], key: str) -> list[tuple[float, float]]:
    """(tokens, value) of every line that has a finite number there."""
    found = []
    for line in lines:
        x, y = line.get("tokens"), line.get(key)
        if not (isinstance(x, int | float) and isinstance(y, int | float)):
            continue
        if math.isfinite(x) and math.isfinite(y):
            found.append((float(x), float(y)))
    return found


def _loss(losses: list[tuple[float, float]], measured: list[tuple[float, float]]) -> Plot:
    def draw(axes: Any) -> None:
        if losses:
            axes.plot(*zip(*thinned(losses), strict=True), color=_LINE, linewidth=1.0)
            smooth = smoothed([y for _, y in losses])
            curve = thinned([(x, y) for (x, _), y in zip(losses, smooth, strict=True)])
            axes.plot(*zip(*curve, strict=True), color=_ACCENT, label="training, smoothed")
            early = curve[len(curve) // 20 :]
            highest = max(y for _, y in [*early, *measured])
            lowest = min(y for _, y in [*losses, *measured])
            margin = 0.06 * max(highest - lowest, 1e-9)
            axes.set_ylim(lowest - margin, highest + margin)
        if measured:
            axes.plot(
                *zip(*measured, strict=True),
                color=_SECOND, marker="o", markersize=3.5, linewidth=1.0, label="validation",
            )  # fmt: skip
        axes.legend(loc="upper right")

    return _draw("loss", "Loss", "nats per token", draw, is_wide=True)


def _bits_per_byte(points: list[tuple[float, float]], test: float | None) -> Plot:
    def draw(axes: Any) -> None:
        axes.plot(
            *zip(*points, strict=True),
            color=_SECOND, marker="o", markersize=3.5, label=f"validation {points[-1][1]:.3f}",
        )  # fmt: skip
        if test is not None:
            axes.axhline(test, color=_THIRD, linewidth=1.2, dashes=(4, 3), label=f"test {test:.3f}")
        axes.margins(y=0.12)
        axes.legend(loc="upper right")

    return _draw("bits", "Bits per byte", "of held-out text", draw, is_wide=True)


def _small(name: str, title: str, unit: str, points: list[tuple[float, float]]) -> Plot:
    def draw(axes: Any) -> None:
        axes.plot(*zip(*thinned(points), strict=True), color=_ACCENT, linewidth=1.2)
        values = sorted(y for _, y in points)
        top = values[-1] if name == "rate" else values[int(0.99 * (len(values) - 1))]
        axes.set_ylim(0, 1.08 * top or 1)

    return _draw(name, title, unit, draw, is_wide=False)


def _draw(name: str, title: str, unit: str, draw: Any, *, is_wide: bool) -> Plot:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE, "backend": "svg"}):
        figure = Figure(figsize=(5.6, 2.9) if is_wide else (3.9, 2.3), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
        axes.set_xlabel("tokens")
        axes.xaxis.set_major_locator(MaxNLocator(5 if is_wide else 4))
        axes.xaxis.set_major_formatter(FuncFormatter(short_number))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(short_number))
        axes.grid(axis="x", visible=False)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return Plot(name, title, unit, _for_page(out.getvalue(), name, f"{title}, {unit}"), is_wide)


def _for_page(svg: str, name: str, label: str) -> str:
    """A file's SVG as an element of a page: no header, no links, ids of its own, our colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box, "matplotlib writes one"
    opening = f'<svg role="img" aria-label="{label}" {view_box.group()}>'
    svg = opening + svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
